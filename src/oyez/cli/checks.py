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
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
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

    area: str
    grade: Grade
    words: str
    advice: str = ""
    """What to do, if something is to be done."""


def machine_checks(settings: Settings) -> Iterator[Callable[[], Finding]]:
    """Yield the checks in order. Each takes a second or two at most."""
    yield version
    yield packages
    yield lambda: processor(cpu_flags(), platform.machine())
    yield cores
    yield memory
    yield lambda: disk("cache", settings.cache_dir)
    yield lambda: disk("models", settings.models_dir)
    yield lambda: model(settings)
    yield decoders
    yield microphones
    yield extras
    yield lambda: database(settings)
    yield lambda: port(settings)
    yield clock


def version() -> Finding:
    """Return the versions of oyez and Python, and the system."""
    words = f"{__version__}, Python {platform.python_version()}, {platform.system()}"
    return Finding("oyez", "ok", f"{words} {platform.machine()}")


def packages() -> Finding:
    """Check the versions of the packages that oyez needs."""
    from oyez.server.process.resources import outdated_packages

    found = outdated_packages()
    if found:
        advice = "install oyez again, from requirements/server.txt of its source or with pip"
        return Finding("packages", "fail", f"not what oyez needs: {'; '.join(found)}", advice)
    return Finding("packages", "ok", "each has a version that oyez was made for")


def processor(flags: frozenset[str], machine: str) -> Finding:
    """Check the instruction set. flags: as the kernel names them; empty if unknown."""
    area = "processor"
    if {"avx512_vnni", "avx_vnni"} & flags:
        return Finding(area, "ok", "has VNNI: whole-number products in hardware, the fast way")
    if "avx2" in flags:
        return Finding(area, "ok", "has AVX2 without VNNI: about as fast as float arithmetic")
    if machine.lower() in ("arm64", "aarch64"):
        fast = "asimddp" in flags or sys.platform == "darwin"
        words = "has NEON" + (" with dot products" if fast else " without dot products: slower")
        return Finding(area, "ok", words)
    if not flags:
        return Finding(area, "ok", f"{machine}; its features are not told by this system")
    return Finding(
        area,
        "warn",
        "has no AVX2: recognition will be several times slower",
        "in a virtual machine, let the guest see the host's processor (cpu: host)",
    )


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
    total = os.cpu_count() or share.cores
    words = f"{share.cores} of {total} may be used"
    if share.quota is not None:
        words += f", for the time of {share.quota:g} (container limit): {share.usable} threads"
    if share.quota is not None and share.quota < 1:
        return Finding("cores", "warn", words, "raise the container's limit to one core at least")
    return Finding("cores", "ok", words)


def memory() -> Finding:
    """Check the memory, with the limit of a container."""
    total, available = memory_bytes()
    limit = memory_limit_bytes()
    if total is None:
        return Finding("memory", "ok", "not told by this system; oyez needs about 0.6 GB")
    least = min(number for number in (available, limit, total) if number is not None)
    words = f"{size_text(total)}"
    if available is not None:
        words += f", {size_text(available)} available"
    if limit is not None:
        words += f", limit of the container {size_text(limit)}"
    if least < LEAST_MEMORY_BYTES:
        return Finding("memory", "fail", words, "give it 0.6 GB at least; 1.5 GB is comfortable")
    if least < COMFORTABLE_MEMORY_BYTES:
        return Finding("memory", "warn", words, "1.5 GB is comfortable")
    return Finding("memory", "ok", words)


def disk(area: str, directory: Path) -> Finding:
    """Check that a directory can be written, and has room. area: cache or models."""
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    flag = f"--{area}-dir" if area == "cache" else "--models-dir"
    if not os.access(there, os.W_OK):
        return Finding(area, "fail", f"{directory} cannot be written", f"choose another: {flag}")
    free = shutil.disk_usage(there).free
    words = f"{directory}: {size_text(free)} free"
    if free < LEAST_DISK_BYTES:
        advice = f"make room ({size_text(LEAST_DISK_BYTES)} at least), or choose another: {flag}"
        return Finding(area, "fail", words, advice)
    return Finding(area, "ok", words)


def model(settings: Settings) -> Finding:
    """Check that the model exists and its files are not damaged."""
    from oyez.cli.models import file_faults, model_reports

    if settings.engine == "fake":
        return Finding("model", "ok", "none: the engine is fake")
    reports = {each.name: each for each in model_reports(settings.models_dir, settings.cache_dir)}
    report = reports.get(settings.model)
    if report is None:
        if Path(settings.model).is_dir():
            return Finding("model", "ok", f"{settings.model}: a directory, taken as it is")
        advice = "oyez models list shows those there are"
        return Finding("model", "fail", f"there is no model {settings.model}", advice)
    if faults := file_faults(report, settings.models_dir):
        again = "reinstall oyez" if report.built_in else f"oyez models remove {report.name}, add it"
        return Finding("model", "fail", f"{report.name}: {'; '.join(faults)}", again)
    state = "prepared" if report.prepared else "will be prepared at the first start, under a minute"
    return Finding("model", "ok", f"{report.name}: its files are whole; {state}")


def decoders() -> Finding:
    """Check that FFmpeg can decode the usual formats."""
    import av
    from av import library_versions

    wanted = {"opus", "mp3", "aac", "flac", "vorbis"}
    missing = sorted(wanted - set(av.codecs_available))
    libavcodec = ".".join(map(str, library_versions.get("libavcodec", ())))
    words = f"PyAV {av.__version__}, FFmpeg with libavcodec {libavcodec}"
    if missing:
        advice = "pip install --force-reinstall av"
        return Finding("decoders", "fail", f"{words}: no {', '.join(missing)}", advice)
    return Finding("decoders", "ok", f"{words}: opus, mp3, aac, flac and more")


def microphones() -> Finding:
    """Check that microphones can be used."""
    from oyez.cli.audio_sources import SourceError, input_devices

    try:
        found = input_devices()
    except SourceError as error:
        return Finding("microphones", "warn", "not to be used", str(error).partition("; or ")[0])
    if not found:
        return Finding("microphones", "ok", "PortAudio is there, no microphone is")
    return Finding("microphones", "ok", f"{len(found)}; oyez listen --list-devices shows them")


def extras() -> Finding:
    """Return which optional packages are installed."""
    here = [name for name, (module, _) in EXTRAS.items() if importlib.util.find_spec(module)]
    missing = [f"{name} ({EXTRAS[name][1]})" for name in EXTRAS if name not in here]
    words = f"installed: {', '.join(here) or 'none'}"
    if missing:
        words += f"; not needed by everybody: {', '.join(missing)}"
    return Finding("extras", "ok", words)


def database(settings: Settings) -> Finding:
    """Check that the database can be opened."""
    from oyez.accounts.database import OFF, DatabaseError, NoDatabase, open_database

    if settings.database == OFF:
        return Finding("database", "ok", "off: no keys of its own, no record of usage")
    try:
        opened = open_database(settings.database, create=False)
    except NoDatabase as error:
        if settings.creates_database:
            return Finding("database", "ok", "not there yet; the first start or key makes it")
        return Finding("database", "fail", str(error), "oyez serve would not start without it")
    except DatabaseError as error:
        return Finding("database", "fail", str(error), "see --database in oyez serve --help")
    try:
        return Finding("database", "ok", f"{opened.name} answers")
    finally:
        opened.close()


def port(settings: Settings) -> Finding:
    """Check that the port is free, or used by a server of oyez."""
    from oyez.server.process.listening import ListenError, bind

    where = f"{settings.host}:{settings.port}"
    try:
        with bind(settings.host, settings.port) as listener:
            listener.listen(1)
    except (ListenError, OSError) as error:
        if _answers(settings):
            return Finding("port", "ok", f"{where}: an oyez server is running there")
        reason = str(error).partition(";")[0]
        return Finding("port", "fail", reason, "choose another with --port, or end what uses it")
    return Finding("port", "ok", f"{where} is free")


def clock() -> Finding:
    """Check that the clock was set."""
    now = datetime.now(UTC)
    words = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year < EARLIEST_YEAR:
        advice = "set it: keys expire and usage is counted by the day"
        return Finding("clock", "fail", words, advice)
    return Finding("clock", "ok", words)


def running(settings: Settings) -> Finding:
    """Check that the server with these settings answers that it is healthy."""
    url = _url(settings, "https" if settings.tls_cert else "http")
    try:
        with _open(url) as answer:
            return Finding("server", "ok", f"{url}: {answer.status}")
    except urllib.error.HTTPError as error:
        words = f"{url}: {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        words = f"{url}: {getattr(error, 'reason', error)}"
    return Finding("server", "fail", words, "see its log")


def _answers(settings: Settings) -> bool:
    """Return whether an oyez server listens there, with or without TLS."""
    for scheme in ("http", "https"):
        with (
            contextlib.suppress(OSError, ValueError, http.client.HTTPException),
            _open(_url(settings, scheme)) as answer,
        ):
            return "version" in json.load(answer)
    return False


def _url(settings: Settings, scheme: str) -> str:
    """Return the URL of `/healthz` as this machine reaches it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}/healthz"


def _open(url: str) -> http.client.HTTPResponse:
    any_certificate = ssl.create_default_context()
    any_certificate.check_hostname = False
    any_certificate.verify_mode = ssl.CERT_NONE  # no secret is sent, and only the status is used
    # A proxy of the environment would ask another machine for its own 127.0.0.1.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=any_certificate)
    )
    answer: http.client.HTTPResponse = opener.open(url, timeout=ANSWER_S)
    return answer
