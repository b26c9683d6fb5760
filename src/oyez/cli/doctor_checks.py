"""The checks of `oyez doctor`. Each returns what it found and what to do about it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from oyez import __version__
from oyez.cli.values import size_text
from oyez.runtime.cpu_limits import cpu_share, memory_bytes, memory_limit_bytes
from oyez.settings import Settings

Grade = Literal["ok", "warn", "fail"]

LEAST_MEMORY_BYTES = 600_000_000
COMFORTABLE_MEMORY_BYTES = 1_500_000_000
LEAST_DISK_BYTES = 300_000_000
"""The built-in model needs a little less than this when it is prepared."""
ANSWER_S = 2.0
EARLIEST_YEAR = 2025
EXTRAS = {
    "postgres": ("psycopg", "keys and usage in PostgreSQL"),
    "listen": ("sounddevice", "microphones"),
    "bench": ("jiwer", "oyez bench"),
    "training": ("sklearn", "training of the emotion classifier"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    grade: Grade
    words: str
    advice: str = ""
    """What to do about a warning or a problem."""


def machine_checks(settings: Settings) -> dict[str, Callable[[], Finding]]:
    """Return the checks by area, in order. Each takes a second or two at most."""
    return {
        "oyez": version,
        "packages": packages,
        "processor": lambda: processor(cpu_flags(), platform.machine()),
        "cores": cores,
        "memory": memory,
        "cache": lambda: disk(settings.cache_dir, "--cache-dir"),
        "models": lambda: disk(settings.models_dir, "--models-dir"),
        "model": lambda: model(settings),
        "decoders": decoders,
        "microphones": microphones,
        "extras": extras,
        "database": lambda: database(settings),
        "port": lambda: port(settings),
        "clock": clock,
    }


def version() -> Finding:
    """Return the versions of oyez and Python, and the system."""
    system = f"{platform.system()} {platform.machine()}"
    return Finding("ok", f"{__version__}, Python {platform.python_version()}, {system}")


def packages() -> Finding:
    """Check the versions of the packages that oyez needs."""
    from oyez.server.process.resources import outdated_packages

    if found := outdated_packages():
        advice = "reinstall oyez with pip, or from requirements/server.txt of its source"
        return Finding("fail", f"missing or not supported: {'; '.join(found)}", advice)
    return Finding("ok", "all versions are supported")


def processor(flags: frozenset[str], machine: str) -> Finding:
    """Check the instruction set. flags: as the kernel names them; empty if unknown."""
    if {"avx512_vnni", "avx_vnni"} & flags:
        return Finding("ok", "has VNNI: fast arithmetic with 8-bit integers")
    if "avx2" in flags:
        return Finding("ok", "has AVX2 without VNNI: 8-bit integers are about as fast as floats")
    if machine.lower() in ("arm64", "aarch64"):
        if "asimddp" in flags or sys.platform == "darwin":
            return Finding("ok", "has NEON with dot products")
        return Finding("ok", "has NEON without dot products: slower")
    if not flags:
        return Finding("ok", f"{machine}; this system does not report its features")
    advice = "in a virtual machine, pass the features of the host's processor on (cpu: host)"
    return Finding("warn", "has no AVX2: recognition will be several times slower", advice)


def cpu_flags() -> frozenset[str]:
    """Return the flags of the first core, on Linux and macOS."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.lower().split())
    if sys.platform == "darwin":
        names = ["machdep.cpu.features", "machdep.cpu.leaf7_features"]
        done = subprocess.run(["sysctl", "-n", *names], capture_output=True, text=True, check=False)
        return frozenset(done.stdout.lower().split())
    return frozenset()


def cores() -> Finding:
    """Check how many cores may be used, with the limit of a container."""
    share = cpu_share()
    words = f"{share.cores} of {os.cpu_count() or share.cores} may be used"
    if share.quota is not None:
        words += f", container limit {share.quota:g}: {share.usable} threads"
    if share.quota is not None and share.quota < 1:
        return Finding("warn", words, "raise the container's limit to one core at least")
    return Finding("ok", words)


def memory() -> Finding:
    """Check the memory, with the limit of a container."""
    total, available = memory_bytes()
    if total is None:
        return Finding("ok", "not reported by this system; oyez needs about 0.6 GB")
    sizes = {"{}": total, "{} available": available, "container limit {}": memory_limit_bytes()}
    known = {words: size for words, size in sizes.items() if size is not None}
    words = ", ".join(text.format(size_text(size)) for text, size in known.items())
    if min(known.values()) < LEAST_MEMORY_BYTES:
        return Finding("fail", words, "provide 0.6 GB at least; 1.5 GB is comfortable")
    is_enough = min(known.values()) >= COMFORTABLE_MEMORY_BYTES
    return Finding("ok", words) if is_enough else Finding("warn", words, "1.5 GB is comfortable")


def disk(directory: Path, flag: str) -> Finding:
    """Check that a directory can be written, and has room. flag: chooses another."""
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        return Finding("fail", f"{directory} cannot be written", f"choose another with {flag}")
    free = shutil.disk_usage(there).free
    words = f"{directory}: {size_text(free)} free"
    if free < LEAST_DISK_BYTES:
        advice = f"free {size_text(LEAST_DISK_BYTES)} at least, or choose another with {flag}"
        return Finding("fail", words, advice)
    return Finding("ok", words)


def model(settings: Settings) -> Finding:
    """Check that the model exists and its files are not damaged."""
    from oyez.cli.models import is_prepared, known_models, model_faults
    from oyez.engines import library

    name = settings.model
    if settings.engine == "fake":
        return Finding("ok", "none: the engine is fake")
    known = known_models(settings.models_dir)
    if name not in known:
        if Path(name).is_dir():
            return Finding("ok", f"{name}: a directory, whose files are not checked")
        advice = "oyez models list shows the models of this machine"
        return Finding("fail", f"there is no model {name}", advice)
    if faults := model_faults(known[name], lambda done_bytes: None):
        again = f"oyez models remove {name}, then add it again"
        advice = "reinstall oyez" if name == library.BUILT_IN else again
        return Finding("fail", f"{name}: {'; '.join(faults)}", advice)
    later = "will be prepared at the first start, in less than a minute"
    state = "prepared" if is_prepared(known[name], settings.cache_dir) else later
    return Finding("ok", f"{name}: its files are intact; {state}")


def decoders() -> Finding:
    """Check that FFmpeg can decode the usual formats."""
    import av
    from av import library_versions

    missing = sorted({"opus", "mp3", "aac", "flac", "vorbis"} - set(av.codecs_available))
    libavcodec = ".".join(map(str, library_versions.get("libavcodec", ())))
    words = f"PyAV {av.__version__}, FFmpeg with libavcodec {libavcodec}"
    if missing:
        advice = "pip install --force-reinstall av"
        return Finding("fail", f"{words}: no {', '.join(missing)}", advice)
    return Finding("ok", f"{words}: opus, mp3, aac, flac and more")


def microphones() -> Finding:
    """Check that microphones can be used."""
    from oyez.cli.audio_sources import SourceError, input_devices

    try:
        found = input_devices()
    except SourceError as error:
        return Finding("warn", "cannot be used", str(error).partition("; or ")[0])
    if not found:
        return Finding("ok", "PortAudio is installed; there is no microphone")
    return Finding("ok", f"{len(found)}; oyez listen --list-devices shows them")


def extras() -> Finding:
    """Return which optional packages are installed."""
    here = [name for name, (module, _) in EXTRAS.items() if importlib.util.find_spec(module)]
    missing = [f"{name} ({what})" for name, (_, what) in EXTRAS.items() if name not in here]
    words = f"installed: {', '.join(here) or 'none'}"
    return Finding("ok", words + (f"; not installed: {', '.join(missing)}" if missing else ""))


def database(settings: Settings) -> Finding:
    """Check that the database can be opened."""
    from oyez.accounts.database import OFF, DatabaseError, NoDatabase, open_database

    if settings.database == OFF:
        return Finding("ok", "off: no keys of its own, no record of usage")
    try:
        opened = open_database(settings.database, create=False)
    except NoDatabase as error:
        if settings.creates_database:
            return Finding("ok", "does not exist yet; the first start or key creates it")
        return Finding("fail", str(error), "oyez serve does not start without it")
    except DatabaseError as error:
        return Finding("fail", str(error), "see --database in oyez serve --help")
    with contextlib.closing(opened):
        return Finding("ok", f"{opened.name} can be opened")


def port(settings: Settings) -> Finding:
    """Check that the port is free, or used by a server of oyez."""
    from oyez.server.process.listening import ListenError, bind

    where = f"{settings.host}:{settings.port}"
    try:
        with bind(settings.host, settings.port) as listener:
            listener.listen(1)
    except (ListenError, OSError) as error:
        if _is_oyez(settings):
            return Finding("ok", f"{where}: an oyez server is running there")
        advice = "choose another with --port, or stop the program that uses it"
        return Finding("fail", str(error).partition(";")[0], advice)
    return Finding("ok", f"{where} is free")


def clock() -> Finding:
    """Check that the clock was set."""
    now = datetime.now(UTC)
    words = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year < EARLIEST_YEAR:
        return Finding("fail", words, "set it: keys expire, and usage is counted by day")
    return Finding("ok", words)


def running(settings: Settings) -> Finding:
    """Check that the server with these settings answers that it is healthy."""
    tls = settings.tls_cert is not None
    host = _reachable_host(settings)
    address = f"{f'[{host}]' if ':' in host else host}:{settings.port}"
    url = f"{'https' if tls else 'http'}://{address}/healthz"
    try:
        answer, _ = _healthz(settings, tls=tls)
    except (OSError, http.client.HTTPException) as error:
        return Finding("fail", f"{url}: {error}", "see its log")
    if answer.status == 200:
        return Finding("ok", f"{url}: {answer.status}")
    return Finding("fail", f"{url}: {answer.status} {answer.reason}", "see its log")


def _is_oyez(settings: Settings) -> bool:
    """Return whether an oyez server listens there, with or without TLS."""
    for tls in (False, True):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            return "version" in json.loads(_healthz(settings, tls=tls)[1])
    return False


def _healthz(settings: Settings, *, tls: bool) -> tuple[http.client.HTTPResponse, bytes]:
    """Return the answer at `/healthz` and its body. Raises OSError, HTTPException."""
    host = _reachable_host(settings)
    connection = http.client.HTTPConnection(host, settings.port, timeout=ANSWER_S)
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # no secret is sent, and only the status is used
        connection = http.client.HTTPSConnection(
            host, settings.port, timeout=ANSWER_S, context=context
        )
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer, answer.read()


def _reachable_host(settings: Settings) -> str:
    """Return where this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
