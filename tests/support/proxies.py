"""The example files of `deploy/`, run by the real nginx and Caddy; only ports and paths differ."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

DEPLOY = Path(__file__).parents[2] / "deploy"
AUTHORITY = trustme.CA()

NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""
CADDY = """{{
	admin off
	auto_https disable_redirects
	skip_install_trust
}}
{site}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def issue(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine and its key, in files."""
    issued = AUTHORITY.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(b.bytes() for b in issued.cert_chain_pems))
    return folder / "cert.pem", folder / "key.pem"


def trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def substituted(text: str, changes: Mapping[str, str]) -> str:
    """Fails where an example no longer has what is to be replaced."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(folder: Path, changes: Mapping[str, str], *, site: str | None = None) -> Iterator[int]:
    """oyez.conf with these changes, or another site; its TLS port."""
    port, plain = free_port(), free_port()
    certificate, key = issue(folder)
    usual = {
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen [::]:80;": "",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen [::]:443 ssl;": "",
        "/etc/letsencrypt/live/asr.example.org/fullchain.pem": str(certificate),
        "/etc/letsencrypt/live/asr.example.org/privkey.pem": str(key),
    }
    text = (DEPLOY / "nginx" / "oyez.conf").read_text()
    if site is None:
        site = substituted(text, {**usual, **changes})
    else:
        site = substituted(site, {"PORT": str(port), "CERT": str(certificate), "KEY": str(key)})
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, site=site))
    with running(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], folder, port):
        yield port


@contextmanager
def caddy(folder: Path, changes: Mapping[str, str]) -> Iterator[int]:
    """The Caddyfile with these changes; its TLS port."""
    port = free_port()
    certificate, key = issue(folder)
    usual = {"asr.example.org {": f"https://127.0.0.1:{port} {{\n\ttls {certificate} {key}"}
    text = (DEPLOY / "caddy" / "Caddyfile").read_text()
    site = substituted(text, {**usual, **changes})
    (folder / "Caddyfile").write_text(CADDY.format(site=site))
    with running(["caddy", "run", "--config", str(folder / "Caddyfile")], folder, port):
        yield port


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    if shutil.which(command[0]) is None and not Path("/usr/sbin", command[0]).exists():
        pytest.skip(f"this machine has no {command[0]}")
    paths = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    path = f"{os.environ['PATH']}:/usr/sbin"
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **paths, "PATH": path}
        )
    try:
        deadline = time.monotonic() + 20.0
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} does not listen:\n{(folder / 'output').read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20.0)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
