"""The programs of `examples/`, each made ready to run: a client's name to its command."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
BUILD_TIMEOUT_S = 600


class ToolMissing(Exception):
    """The machine lacks the client's language."""


@dataclass(frozen=True)
class Program:
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def python_sdk(cache: Path) -> Program:
    return Program([sys.executable, str(EXAMPLES / "python_sdk.py")])


def python_sdk_1_25_6(cache: Path) -> Program:
    """The oldest SDK the service's page allows, in a folder that hides the newest."""
    folder = cache / "dashscope-1.25.6"
    if not (folder / ".built").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
        run([*pip, "--upgrade", "dashscope==1.25.6"], cache)
        (folder / ".built").touch()
    return Program([sys.executable, str(EXAMPLES / "python_sdk.py")], {"PYTHONPATH": str(folder)})


def python_sdk_v2(cache: Path) -> Program:
    return Program([sys.executable, str(EXAMPLES / "python_sdk_v2.py")])


def websocket_client(cache: Path) -> Program:
    return Program([sys.executable, str(EXAMPLES / "websocket_client.py")])


def node_ws(cache: Path) -> Program:
    need("node", "npm")
    folder = build("node", cache, ["npm", "install", "--no-save", "--no-audit", "--no-fund"])
    return Program(["node", str(folder / "client.mjs")])


def java_websocket(cache: Path) -> Program:
    return java("java-websocket", cache)


def java_sdk(cache: Path) -> Program:
    return java("java-sdk", cache)


def java(example: str, cache: Path) -> Program:
    need("java", "javac", "mvn")
    goals = ["compile", "dependency:build-classpath", "-Dmdep.outputFile=target/classpath"]
    target = build(example, cache, ["mvn", "--quiet", "--batch-mode", *goals]) / "target"
    classpath = f"{target / 'classes'}:{(target / 'classpath').read_text()}"
    return Program(["java", "-classpath", classpath, "Client"])


PROGRAMS: dict[str, Callable[[Path], Program]] = {
    "java-sdk": java_sdk,
    "java-websocket": java_websocket,
    "node-ws": node_ws,
    "python-sdk": python_sdk,
    "python-sdk-1.25.6": python_sdk_1_25_6,
    "python-sdk-v2": python_sdk_v2,
    "websocket-client": websocket_client,
}


def need(*tools: str) -> None:
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        raise ToolMissing(f"this machine has no {', '.join(missing)}")


def build(example: str, cache: Path, command: list[str]) -> Path:
    """Copy an example and run its build tool there, unless this very source was built before."""
    folder, stamp = cache / example, cache / example / ".built"
    ignore = shutil.ignore_patterns("target", "node_modules")
    digest = hashlib.sha256()
    for file in sorted((EXAMPLES / example).rglob("*")):
        if file.is_file() and not {"target", "node_modules"} & set(file.parts):
            digest.update(file.read_bytes())
    if not (stamp.exists() and stamp.read_text() == digest.hexdigest()):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(EXAMPLES / example, folder, ignore=ignore)
        run(command, folder)
        stamp.write_text(digest.hexdigest())
    return folder


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
