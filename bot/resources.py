"""What the service opens before it runs: keys, folders, the store, clients."""

import fcntl
import hmac
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import httpx

import akool
from bot.config import Settings
from bot.media import Studio
from bot.metrics import akool_called
from storage.objects import LocalStore, MediaSigner, ObjectStore, S3Store

_SECRET_BYTES = 32
_ALIVE = "alive"


@dataclass(frozen=True)
class Keys:
    """Keys derived from `APP_SECRET` for each purpose, then those from `APP_SECRET_PREVIOUS`, which only open.

    `fingerprints` tell whether two processes have the same.
    """

    media: tuple[bytes, ...]
    telegram_webhook: tuple[str, ...]
    fingerprints: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> "Keys":
        given = settings.app_secret
        roots = [given.get_secret_value() if given else _kept_secret(settings.data_dir / "app_secret")]
        if settings.app_secret_previous:
            roots.append(settings.app_secret_previous.get_secret_value())

        def derive(purpose: str) -> tuple[bytes, ...]:
            return tuple(hmac.digest(secret.encode(), purpose.encode(), "sha256") for secret in roots)

        return cls(
            media=derive("media"),
            telegram_webhook=tuple(key.hex() for key in derive("telegram webhook")),
            fingerprints=tuple(key.hex() for key in derive("fingerprint")),
        )


def make_folder(data_dir: Path) -> None:
    """Make the folder for all that the bot keeps, faces and voices too, unless it is there; for nobody else to read."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def _kept_secret(path: Path) -> str:
    """The secret that was made here once; several processes that start together end up with the same one."""
    make_folder(path.parent)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text().strip()


@contextmanager
def scratch_folder(data_dir: Path) -> Iterator[Path]:
    """A folder for this process's temporary files; what dead processes left beside it goes.

    Others may share `data_dir` and be alive: each holds a lock in its folder for as long as it lives.
    """
    parent = data_dir / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with (parent / ".lock").open("w") as door:  # nobody looks while a folder is made
            fcntl.flock(door, fcntl.LOCK_EX)
            for left in filter(_is_left_over, parent.iterdir()):
                shutil.rmtree(left, ignore_errors=True)
            folder = Path(stack.enter_context(TemporaryDirectory(dir=parent)))
            alive = stack.enter_context((folder / _ALIVE).open("w"))
            fcntl.flock(alive, fcntl.LOCK_EX)
        yield folder


def _is_left_over(folder: Path) -> bool:
    try:
        with (folder / _ALIVE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return folder.is_dir()
    return True


@asynccontextmanager
async def open_store(settings: Settings, signer: MediaSigner, scratch: Path) -> AsyncIterator[ObjectStore]:
    """The store that `MEDIA_STORE` names. Raises `StoreUnavailable` where it does not work."""
    store = (
        _s3_store(settings, signer, scratch)
        if settings.stores_in_s3
        else LocalStore(Path(settings.media_store), signer)
    )
    try:
        await store.start()
        await store.check()
        yield store
    finally:
        await store.close()


def _s3_store(settings: Settings, signer: MediaSigner, scratch: Path) -> S3Store:
    bucket, _, folder = settings.media_store.removeprefix("s3://").partition("/")
    prefix = folder.strip("/")
    return S3Store(
        bucket,
        prefix,
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        url_for=_delivery(settings, signer, prefix),
        temp_folder=scratch,
    )


def _delivery(settings: Settings, signer: MediaSigner, prefix: str) -> Callable[[str, int], str] | None:
    """How the outside gets S3 objects, where not by presigned URLs."""
    root = settings.media_delivery
    if root == "presign":
        return None
    if root == "proxy":
        return lambda key, ttl_seconds: signer.url(key, ttl_seconds=ttl_seconds)
    return lambda key, _ttl_seconds: f"{root}/{quote(f'{prefix}/{key}'.lstrip('/'))}"


def akool_auth(settings: Settings) -> akool.ApiKey | akool.ClientCredentials:
    """The key where there is one, else client id and secret."""
    if settings.akool_api_key:
        return akool.ApiKey(settings.akool_api_key.get_secret_value())
    return akool.ClientCredentials(settings.callback_id or "", settings.callback_secret or "")


@asynccontextmanager
async def open_akool(settings: Settings) -> AsyncIterator[akool.Client]:
    async with akool.open_client(akool_auth(settings), base_url=settings.akool_api_url, observe=akool_called) as client:
        yield client


@asynccontextmanager
async def open_http() -> AsyncIterator[httpx.AsyncClient]:
    """One client for Telegram's files and updates and for AKOOL's results."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
    async with httpx.AsyncClient(timeout=httpx.Timeout(30, connect=10), limits=limits) as client:
        yield client


@contextmanager
def open_studio() -> Iterator[Studio]:
    studio = Studio()
    try:
        yield studio
    finally:
        studio.close()
