"""What the process that decodes an uploaded file takes from itself before it reads the file.

Limits of the operating system hold everywhere; on Linux a filter of system calls besides, so that
even code that a file smuggles in can read its file, write to its pipe, use memory and compute, and
nothing else: no socket, no file, no other process.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

STALL_CPU_S = 10
"""Of processor time, in which a block of sound must come."""
NICE = 5
"""Live speech is recognised by the server's own process."""
DESCRIPTORS = 3
"""The upload, the pipe to the server, and stderr."""

MACHINES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""What the kernel calls them."""
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
"""The system calls that decoding needs: their numbers on each of MACHINES."""
POLL = 7
"""On x86_64 only."""
PRLIMIT = (302, 261)
"""Allowed for the process itself."""
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, REFUSE = 0x7FFF_0000, 0x0005_0000 | 1
"""What a filter answers: go on, or EPERM."""
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
CALL_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT = 0, 4, 16


def limit(memory_bytes: int, cpu_s: int) -> None:
    """Limits that hold from now on, also while libraries are loaded. memory_bytes: of address
    space. cpu_s: of processor time in all, at least 2."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the server decides when it ends
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # whoever else needs the memory does not lose it
    with contextlib.suppress(OSError):
        os.nice(NICE)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_AS, memory_bytes)
    _set(resource.RLIMIT_CPU, cpu_s)
    extend_cpu_time()


def extend_cpu_time() -> None:
    """A block of sound came: there may be as much time for the next. What takes longer ends the
    process by SIGXCPU."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(time.process_time()) + STALL_CPU_S
    # at the hard limit the signal is SIGKILL, which does not say why
    soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard - 1)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def confine(pipe: int) -> bool:
    """Everything is loaded: open nothing more, and end when nobody reads the pipe any more.
    Returns whether the filter of system calls is in force."""
    watched = _thread.allocate_lock()
    watched.acquire()
    _thread.start_new_thread(_end_with_reader, (pipe, watched))
    watched.acquire()
    _set(resource.RLIMIT_NPROC, 0)
    _set(resource.RLIMIT_NOFILE, DESCRIPTORS)
    return _filter_calls()


def _set(which: int, value: int) -> None:
    """Soft and hard. A system that does not know one limit may know the others."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(which)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def _end_with_reader(pipe: int, watched: _thread.LockType) -> None:
    _filter_calls()  # each thread has its own
    watch = select.poll()
    watch.register(pipe, 0)
    watched.release()
    watch.poll()
    os._exit(1)


def _filter_calls() -> bool:
    name = os.uname().machine if sys.platform == "linux" and sys.maxsize > 2**32 else ""
    if name not in MACHINES:
        return False
    machine = list(MACHINES).index(name)
    program = _program(machine)
    code = b"".join(
        operation.to_bytes(2, "little") + bytes([if_true, if_false]) + value.to_bytes(4, "little")
        for operation, if_true, if_false, value in program
    )
    code_at = ctypes.create_string_buffer(code, len(code))
    filter_at = _Program(len(program), ctypes.addressof(code_at))
    libc = ctypes.CDLL(None)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    refused: int = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_at), 0, 0)
    return not refused


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _program(machine: int) -> list[tuple[int, int, int, int]]:
    """Classic BPF over `struct seccomp_data`: (operation, jump if true, jump if false, value)."""
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
