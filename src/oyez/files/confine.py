"""The rights that the process which decodes an uploaded file gives up before it reads the file.

Limits of the operating system hold everywhere. On Linux there is a filter of system calls too:
even code that a file brings in can only read its file, write to its pipe, use memory and compute.
It reaches no socket, no other file and no other process.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import resource
import select
import signal
import struct
import sys
import time

STALL_CPU_S = 10
"""Processor time in which the next block of audio must come."""
NICE = 5
"""Priority of the process. It is lower than the server's, so that live speech comes first."""
DESCRIPTORS = 3
"""How many descriptors there are: the upload, the pipe to the server, and stderr."""

MACHINES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""The kernel's numbers of the machines for which there is a filter."""
CALLS = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62),
    "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66), "ppoll": (271, 73),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "mremap": (25, 216), "madvise": (28, 233), "futex": (202, 98), "membarrier": (324, 283),
    "rseq": (334, 293), "set_robust_list": (273, 99), "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132), "exit": (60, 93), "exit_group": (231, 94), "getpid": (39, 172),
    "gettid": (186, 178), "getrusage": (98, 165), "sysinfo": (99, 179), "getrandom": (318, 278),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "gettimeofday": (96, 169),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
}  # fmt: skip
"""The system calls that decoding needs, with their numbers on each of MACHINES."""
POLL = 7
"""The system call `poll`, which exists on x86_64 only."""
PRLIMIT = (302, 261)
"""The system call `prlimit64`, allowed for the process itself only."""
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, REFUSE = 0x7FFF_0000, 0x0005_0000 | 1
"""Verdicts of a filter: run the system call, or answer EPERM."""
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
"""Operations of classic BPF."""
CALL_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT = 0, 4, 16
"""Offsets in `struct seccomp_data`, in bytes."""


def limit(memory_bytes: int, cpu_s: int) -> None:
    """Set limits that hold from now on, also while libraries are loaded.

    Args:
        memory_bytes: The most address space.
        cpu_s: The most processor time in all, at least 2.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the server decides when this process ends
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # when memory runs out, this process ends first
    with contextlib.suppress(OSError):
        os.nice(NICE)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_AS, memory_bytes)
    _set(resource.RLIMIT_CPU, cpu_s)
    extend_cpu_time()


def extend_cpu_time() -> None:
    """Allow STALL_CPU_S for the next block of audio; call it after each block. If the next block
    takes longer, SIGXCPU ends the process."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(time.process_time()) + STALL_CPU_S
    # At the hard limit the signal is SIGKILL, which does not show the reason.
    soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard - 1)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def confine(pipe: int) -> bool:
    """Give up the right to open anything; call it once everything is loaded.

    From now on the process ends when the reader of the pipe ends. Returns whether the filter of
    system calls is in force.
    """
    # The watching thread starts now, because no thread can be started later.
    watched = _thread.allocate_lock()
    watched.acquire()
    _thread.start_new_thread(_end_with_reader, (pipe, watched))
    watched.acquire()
    _set(resource.RLIMIT_NPROC, 0)
    _set(resource.RLIMIT_NOFILE, DESCRIPTORS)
    return _filter_calls()


def _set(which: int, value: int) -> None:
    """Set the soft and the hard limit. A system that lacks one limit may have the others."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(which)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def _end_with_reader(pipe: int, watched: _thread.LockType) -> None:
    """End the process when nothing reads the pipe any more: the server has ended."""
    _filter_calls()  # each thread has a filter of its own
    watch = select.poll()
    watch.register(pipe, 0)
    watched.release()
    watch.poll()
    os._exit(1)


def _filter_calls() -> bool:
    """Filter the system calls of this thread. Returns False where there is no filter."""
    name = os.uname().machine if sys.platform == "linux" and sys.maxsize > 2**32 else ""
    if name not in MACHINES:
        return False
    machine = list(MACHINES).index(name)
    program = _program(machine)
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *row) for row in program))
    sock_fprog = struct.pack("@HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    refused: int = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, sock_fprog, 0, 0)
    return not refused


def _program(machine: int) -> list[tuple[int, int, int, int]]:
    """Return a filter in classic BPF over `struct seccomp_data`: rows of operation, jump if true,
    jump if false, and value. Jumps count the rows that are skipped."""
    calls = [numbers[machine] for numbers in CALLS.values()] + [POLL] * (machine == 0)
    return [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_IF_EQUAL, 0, len(calls) + 4, list(MACHINES.values())[machine]),
        (LOAD, 0, 0, CALL_AT),
        *((JUMP_IF_EQUAL, len(calls) + 3 - at, 0, call) for at, call in enumerate(calls)),
        (JUMP_IF_EQUAL, 0, 2, PRLIMIT[machine]),
        (LOAD, 0, 0, FIRST_ARGUMENT_AT),
        (JUMP_IF_EQUAL, 1, 0, 0),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
