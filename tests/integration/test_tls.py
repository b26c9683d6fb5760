"""TLS on the server's own port, with the clients people have."""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess
import sys
import wave
from pathlib import Path

import aiohttp
import pytest
import trustme

from clients.programs import EXAMPLES, ToolMissing, node_ws
from support.process import ENVIRONMENT, a_process, later_line, run_to_end
from support.server import MODEL, Client, append, silence, speech

AUTHORITY = trustme.CA()


def issue(folder: Path) -> list[str]:
    """The flags for a new certificate of this machine."""
    issued = AUTHORITY.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(b.bytes() for b in issued.cert_chain_pems))
    return ["--tls-cert", f"{folder}/cert.pem", "--tls-key", f"{folder}/key.pem"]


def trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def shown_certificate(url: str) -> str:
    """What a new client is shown."""
    port = int(url.split(":")[2].split("/")[0])
    return ssl.get_server_certificate(("127.0.0.1", port))


async def test_a_renewed_certificate_disconnects_nobody(tmp_path: Path) -> None:
    flags = issue(tmp_path)
    with a_process(*flags) as (process, url, _):
        assert url.startswith("wss://")
        before = await asyncio.to_thread(shown_certificate, url)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust())) as http:
            async with http.get("https" + url.partition("/api")[0][3:] + "/readyz") as ready:
                assert ready.status == 200
            async with http.ws_connect(f"{url}?model={MODEL}") as socket:
                client = Client(socket)
                await client.send(append(speech(1.0)))
                issue(tmp_path)
                process.send_signal(signal.SIGHUP)
                line = await asyncio.to_thread(later_line, process, "certificate reloaded")
                assert "localhost, 127.0.0.1, until" in line
                assert await asyncio.to_thread(shown_certificate, url) != before
                await client.send(append(silence(1.0)))
                await client.until("completed")
                (tmp_path / "key.pem").write_text("rubbish")
                process.send_signal(signal.SIGHUP)
                await asyncio.to_thread(later_line, process, "the old one stays in force: tls_key")
            async with http.ws_connect(f"{url}?model={MODEL}") as socket:
                await Client(socket).until("created")


def trust_version(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = trust()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
async def test_old_versions_and_plain_text_are_refused(tmp_path: Path) -> None:
    with a_process(*issue(tmp_path)) as (_, url, _):
        url = f"{url}?model={MODEL}"
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.ws_connect(url, ssl=trust_version(ssl.TLSVersion.TLSv1_1))
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await http.ws_connect(url.replace("wss:", "ws:"))
            async with http.ws_connect(url, ssl=trust_version(ssl.TLSVersion.TLSv1_2)) as socket:
                await Client(socket).until("created")


def test_a_bad_certificate_is_reported_before_anything_is_loaded(tmp_path: Path) -> None:
    flags = issue(tmp_path)
    (tmp_path / "key.pem").write_text("rubbish")
    ended = run_to_end("--port", "0", *flags)
    assert ended.returncode == 2
    last_line = ended.stderr.splitlines()[-1]
    assert last_line.startswith(f"oyez: tls_key {tmp_path}/key.pem: holds no private key")
    assert "loading" not in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.clients
@pytest.mark.parametrize("name", ["websocket-client", "node-ws"])
def test_client_programs(name: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if name == "node-ws":
        try:
            command = node_ws(pytestconfig.cache.mkdir("clients")).command
        except ToolMissing as missing:
            pytest.skip(str(missing))
    else:
        command = [sys.executable, str(EXAMPLES / "websocket_client.py")]
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trusting = dict.fromkeys(
        ("WEBSOCKET_CLIENT_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), str(tmp_path / "ca.pem")
    )
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(speech(0.8))
    with a_process(*issue(tmp_path)) as (_, url, _):
        done = subprocess.run(
            [*command, "--url", url, str(tmp_path / "speech.wav")],
            env={**ENVIRONMENT, **trusting},
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.stdout.splitlines()[-1:] == ["END-OK"], done.stderr
    assert "transcription.completed" in done.stdout
