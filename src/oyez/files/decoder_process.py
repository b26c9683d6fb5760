"""Decodes an uploaded file in a process of its own. If FFmpeg crashes, never ends or fills the
memory, only this process and this file are lost.

    async with decoded(file, limits) as media:
        async for samples in media.blocks(): ...

Use it on the event loop only. The process is killed when the block ends, and it ends by itself when
this process ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import av

from oyez.audio.pcm import Samples
from oyez.files.decoder_main import END, OPENED, READY, REFUSED, SOUND
from oyez.files.decoding import BLOCK_BYTES, SAMPLE_BYTES, MediaError
from oyez.files.media import as_samples, run_blocking

COMMAND = (
    "import sys; sys.path += sys.argv[3:]; "
    "from oyez.files import confine; confine.limit(*map(int, sys.argv[1:3])); "
    "from oyez.files.decoder_main import main; main()"
)
"""The limits hold while libraries are loaded too: that takes longer than decoding a short file, and
live speech comes first."""
PACKAGES = [str(Path(file).parents[depth]) for file, depth in ((__file__, 2), (av.__file__, 1))]
"""The folders of oyez and PyAV. No other installed package can be imported."""
MEBIBYTE = 1 << 20
MAX_TEXT_BYTES = 1000
"""The most bytes of an answer that is not audio."""
MAX_LINE_CHARS = 200
"""The last line of stderr is cut to this length in the log."""
HEADER_BYTES = 5
ANSWER_TIMEOUT_S = 60.0
"""How long an answer may take. The process has a low priority, and many may run at a time."""
REAP_S, REAP_INTERVAL_S = 5.0, 0.005
"""How long, and how often, a killed process is waited for."""
CRASHED = "it makes the decoder crash: it is damaged"
TOO_MUCH_TIME = "to decode it takes too much time: it is damaged, or holds next to no sound"


class DecoderError(Exception):
    """The process could not be started, which is a fault of the server and not of the file."""


class DecoderCrash(MediaError):
    """The process ended or gave a wrong answer while it decoded."""

    def __init__(self, message: str, detail: str) -> None:
        """Take the message for people, and how the process ended, for the log. The detail may
        contain text of the file."""
        super().__init__(message)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    memory_bytes: int = 512 * MEBIBYTE
    """The most address space. Python and FFmpeg take 140 MiB of it."""
    cpu_s: int = 600
    """The most processor time for the whole file. A block may take `confine.STALL_CPU_S`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The environment of the process, besides one variable for memory."""


class DecodedFile:
    """A file that is being decoded, and the process that does it. Made by `decoded`."""

    def __init__(self) -> None:
        self.duration_s: float | None = None
        """Length of the audio, if the file announces it."""
        self.notes = 0
        """How many things were wrong with the file although it was used; known at the end."""
        self.is_confined = True
        """Whether the process's system calls are filtered."""
        self.is_ready = False
        """Whether the process has started and reads the file; later faults are the file's."""
        self._answers = asyncio.StreamReader(limit=BLOCK_BYTES)
        self._popen: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.ReadTransport | None = None
        self._stderr = -1

    async def start(self, file: BinaryIO, limits: DecoderLimits) -> None:
        """Start the process and wait until it is ready to read the file. Raises DecoderError."""
        try:
            await run_blocking(self._spawn, file, limits)
            assert self._popen is not None
            self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(self._answers), self._popen.stdout
            )
        except OSError as error:
            raise DecoderError(str(error)) from error
        kind, content = await self._answer()
        if kind != READY:
            raise DecoderError("it answers before it is ready")
        self.is_confined = content == b"1"
        self.is_ready = True

    async def open(self) -> None:
        """Wait until the process has opened the file. Raises MediaError."""
        kind, content = await self._answer()
        if kind != OPENED:
            raise DecoderCrash(CRASHED, "no answer about the file")
        with suppress(ValueError):
            self.duration_s = float(content) if content else None

    async def blocks(self) -> AsyncGenerator[Samples]:
        """Yield the audio once, float32 [n] in [-1, 1], 0 < n <= BLOCK_SAMPLES. Raises MediaError,
        also if a fault or a limit ends the process."""
        while True:
            kind, content = await self._answer()
            if kind == END and content.isdigit():
                self.notes = int(content)
                return
            if kind != SOUND or not content or len(content) % SAMPLE_BYTES:
                raise DecoderCrash(CRASHED, "no sound in an answer")
            yield as_samples(content)

    async def end(self) -> None:
        """Kill the process, whatever it does, and close the pipes."""
        try:
            if self._popen is not None:
                await self._kill()
        finally:
            if self._transport is not None:
                self._transport.close()
            if self._stderr >= 0:
                os.close(self._stderr)

    def _spawn(self, file: BinaryIO, limits: DecoderLimits) -> None:
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        self._stderr, stderr = os.pipe()
        try:
            os.set_blocking(self._stderr, False)
            os.set_blocking(stderr, False)  # it is read only after a crash, so the rest may be lost
            amounts = [str(limits.memory_bytes), str(limits.cpu_s)]
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", COMMAND, *amounts, *PACKAGES],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                env={"MALLOC_ARENA_MAX": "1", **limits.environment},
                cwd="/",
                start_new_session=True,  # a terminal's Ctrl-C is for the server only
            )
        finally:
            os.close(stderr)

    async def _answer(self) -> tuple[bytes, bytes]:
        """Return the kind and the content of the next answer. A file may have taken the process
        over, so an answer that is too long is not read."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                header = await self._answers.readexactly(HEADER_BYTES)
                kind, size = header[:1], int.from_bytes(header[1:], "little")
                if size > (BLOCK_BYTES if kind == SOUND else MAX_TEXT_BYTES):
                    raise DecoderCrash(CRASHED, "an answer that is too long")
                content = await self._answers.readexactly(size)
        except TimeoutError:
            raise self._fault(TOO_MUCH_TIME, f"silent for {ANSWER_TIMEOUT_S:g} s") from None
        except (asyncio.IncompleteReadError, OSError):
            code = await self._kill()
            message = TOO_MUCH_TIME if code == -signal.SIGXCPU else CRASHED
            raise self._fault(message, f"ended with {code}: {self._last_line()}") from None
        if self.is_ready and kind == REFUSED:
            text = content.decode("utf-8", "replace")
            raise MediaError("".join(char if char.isprintable() else " " for char in text))
        return kind, content

    def _fault(self, message: str, detail: str) -> Exception:
        return DecoderCrash(message, detail) if self.is_ready else DecoderError(detail)

    def _last_line(self) -> str:
        """Return the last line of the process's stderr, for the log."""
        with suppress(OSError):
            lines = os.read(self._stderr, 1 << 16).decode("utf-8", "replace").split("\n")
            return next((line for line in reversed(lines) if line.strip()), "")[:MAX_LINE_CHARS]
        return ""

    async def _kill(self) -> int | None:
        """Kill the process and return its exit status; None: it has not ended yet."""
        assert self._popen is not None
        self._popen.kill()
        # The kernel may have to wait for a disk before the process is gone.
        with suppress(TimeoutError):
            async with asyncio.timeout(REAP_S):
                while self._popen.poll() is None:  # noqa: ASYNC110 - the kernel sets no event
                    await asyncio.sleep(REAP_INTERVAL_S)
        return self._popen.returncode


@asynccontextmanager
async def decoded(file: BinaryIO, limits: DecoderLimits) -> AsyncIterator[DecodedFile]:
    """Start to decode a file, which must have a descriptor.

    Raises MediaError if the file cannot be read, DecoderError if the process cannot be started.
    """
    media = DecodedFile()
    try:
        await media.start(file, limits)
        await media.open()
        yield media
    finally:
        await media.end()
