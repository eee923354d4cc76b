"""Where a store's promises end: URLs whose time is over, stores that fail, what is left behind."""

import socket
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx
import pytest

from bot.clock import Clock
from bot.web import Web
from s3_servers import BUCKET, SECRET_ACCESS_KEY, s3_store
from storage.objects import LocalStore, MediaSigner, ObjectStore, S3Store, StoreUnavailable, new_key

KEY = new_key("in", "jpg")
AMZ_DATE = "%Y%m%dT%H%M%SZ"
HOUR_SECONDS = 3600


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"a photo")
    return path


# --- URLs ---


def signed_earlier(url: str, *, seconds: float) -> str:
    """The presigned URL as it would be, had it been signed that long ago.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items() if name != "X-Amz-Signature"}
    signed_at = datetime.strptime(query["X-Amz-Date"], AMZ_DATE).replace(tzinfo=UTC) - timedelta(seconds=seconds)
    query["X-Amz-Date"] = signed_at.strftime(AMZ_DATE)
    access_key_id, _, *scope = query["X-Amz-Credential"].split("/")
    scope.insert(0, query["X-Amz-Date"][:8])
    query["X-Amz-Credential"] = "/".join((access_key_id, *scope))
    canonical_query = urlencode(sorted(query.items()), quote_via=quote, safe="")
    request = f"GET\n{parts.path}\n{canonical_query}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    words = ("AWS4-HMAC-SHA256", query["X-Amz-Date"], "/".join(scope), sha256(request.encode()).hexdigest())
    key = f"AWS4{SECRET_ACCESS_KEY}".encode()
    for step in (*scope, "\n".join(words)):
        key = digest(key, step.encode(), "sha256")
    return parts._replace(query=f"{canonical_query}&X-Amz-Signature={key.hex()}").geturl()


async def test_a_presigned_url_holds_for_its_time_and_no_longer(weed_url: str, tmp_path: Path, photo: Path) -> None:
    async with s3_store(weed_url, temp_folder=tmp_path) as store:
        await store.put(KEY, photo)
        url = store.url(KEY, ttl_seconds=HOUR_SECONDS)

    async with httpx.AsyncClient(trust_env=False) as outside:
        young = await outside.get(signed_earlier(url, seconds=HOUR_SECONDS / 2))
        old = await outside.get(signed_earlier(url, seconds=2 * HOUR_SECONDS))

    assert signed_earlier(url, seconds=0) == url
    assert (young.status_code, old.status_code) == (200, 403)


async def test_a_local_url_gives_the_object_with_its_type_through_the_bot(tmp_path: Path, photo: Path) -> None:
    signer = MediaSigner([b"secret"], "https://bot.example")
    store = LocalStore(tmp_path / "media", signer)
    await store.start()
    await store.put(KEY, photo)
    untouched: dict[str, Any] = dict.fromkeys(field.name for field in fields(Web))
    web = Web(**untouched | {"store": store, "signer": signer, "clock": Clock()})

    async with httpx.AsyncClient(transport=httpx.ASGITransport(web.application())) as outside:
        answer = await outside.get(store.url(KEY, ttl_seconds=60))

    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, b"a photo", "image/jpeg")


# --- stores that fail ---


async def opened(store: ObjectStore) -> bytes:
    async with store.open(KEY) as path:
        return path.read_bytes()


async def listed(store: ObjectStore) -> list[str]:
    return [key async for key, _ in store.keys()]  # noqa: SIM118 - no dict's


async def test_a_bucket_may_hold_what_is_none_of_ours(moto_url: str, tmp_path: Path, photo: Path) -> None:
    """Another bot's objects below our prefix, for one."""
    async with (
        s3_store(moto_url, temp_folder=tmp_path, prefix="ours") as ours,
        s3_store(moto_url, temp_folder=tmp_path, prefix="ours/theirs") as theirs,
    ):
        await ours.put(KEY, photo)
        await theirs.put(new_key("in", "jpg"), photo)

        assert await listed(ours) == [KEY]


Operation = Callable[[ObjectStore, Path], Coroutine[Any, Any, object]]
OPERATIONS: dict[str, Operation] = {
    "put": lambda store, photo: store.put(KEY, photo),
    "open": lambda store, _: opened(store),
    "delete": lambda store, _: store.delete(KEY),
    "keys": lambda store, _: listed(store),
    "check": lambda store, _: store.check(),
}


@pytest.fixture(params=["nobody listens", "no such bucket"])
async def unusable(request: pytest.FixtureRequest, moto_url: str, tmp_path: Path) -> AsyncIterator[S3Store]:
    with socket.socket() as reserved:  # bound, but it does not listen
        reserved.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        url, bucket = (nobody, BUCKET) if request.param == "nobody listens" else (moto_url, "not-there")
        async with s3_store(url, temp_folder=tmp_path, bucket=bucket) as store:
            yield store


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
async def test_a_failing_bucket_is_unavailable_and_neither_text_nor_trace_tells_where_it_is(
    unusable: S3Store, operation: Operation, photo: Path
) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await operation(unusable, photo)

    told = "".join(traceback.format_exception(caught.value))
    assert str(caught.value) in told
    assert "://" not in told
    assert "127.0.0.1" not in told
    assert KEY not in told


@pytest.mark.parametrize("endpoint_url", ["s3.example:8333", "http://", "http://[::1"])
async def test_an_endpoint_that_is_no_url_is_told_plainly_at_start(tmp_path: Path, endpoint_url: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"^the endpoint is not a URL$"):
        async with s3_store(endpoint_url, temp_folder=tmp_path):
            pytest.fail("it was started")


class Strict(BaseHTTPRequestHandler):
    """Minds when somebody deletes what is not there, as Google's S3 does and Amazon's does not."""

    def do_DELETE(self) -> None:
        body = b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def strict_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_deleting_what_is_not_there_is_well_also_where_the_server_minds(strict_url: str, tmp_path: Path) -> None:
    async with s3_store(strict_url, temp_folder=tmp_path) as store:
        await store.delete(KEY)


# --- what is left behind ---


async def test_closing_leaves_no_thread_and_may_come_before_the_start(moto_url: str, tmp_path: Path) -> None:
    await S3Store("bucket", temp_folder=tmp_path).close()

    async with s3_store(moto_url, temp_folder=tmp_path) as store:
        await store.check()
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("s3_")]
    for thread in threads:
        thread.join(timeout=10)

    assert threads
    assert not any(thread.is_alive() for thread in threads)
