"""What S3Store says on the wire, which no S3 server tells us, and what it makes of a bucket that misbehaves."""

import asyncio
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from s3_servers import ACCESS_KEY_ID, SECRET_ACCESS_KEY, s3_store
from storage.objects import S3Store, StoreUnavailable, new_key

KEY = new_key("in", "jpg")
PHOTO = b"a photo" * 50_000


class Bucket(ThreadingHTTPServer):
    """Notes what is put, after refusing it `busy` times; asked for an object it waits for `go_on`, then sends half."""

    daemon_threads = False  # closing it waits for its threads, so that none outlives its test

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"https://127.0.0.1:{self.server_port}"
        self.busy = 0
        self.puts: list[tuple[dict[str, str], bytes]] = []
        self.asked = Event()
        self.go_on = Event()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def do_PUT(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.puts.append((headers, self.rfile.read(int(headers["content-length"]))))
        self.send_response(503 if len(self.server.puts) <= self.server.busy else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.asked.set()
        self.server.go_on.wait(10)
        self.send_response(200)
        self.send_header("Content-Length", str(2 * len(PHOTO)))
        self.end_headers()
        self.wfile.write(PHOTO)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate that it has signed itself, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bucket")])
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket behind TLS, since over plain HTTP boto3 never sends the form that breaks other servers."""
    authority = certificate(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority)
    with Bucket() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def temp_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(PHOTO)
    return path


@pytest.fixture
async def store(bucket: Bucket, temp_folder: Path) -> AsyncIterator[S3Store]:
    async with s3_store(bucket.url, temp_folder=temp_folder) as store:
        yield store


async def test_a_put_is_one_plain_request_that_every_s3_server_understands(
    store: S3Store, bucket: Bucket, photo: Path
) -> None:
    """No trailing checksum, no chunks: R2, B2, GCS and others refuse or misread them."""
    await store.put(KEY, photo)

    [(headers, body)] = bucket.puts
    assert body == PHOTO
    assert headers["content-length"] == str(len(PHOTO))
    assert headers["content-type"] == "image/jpeg"
    assert headers["x-amz-content-sha256"] == sha256(PHOTO).hexdigest()
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert not headers.keys() & {"transfer-encoding", "content-encoding", "x-amz-trailer"}
    assert not [name for name in headers if name.startswith(("x-amz-checksum", "x-amz-sdk-checksum"))]


async def test_a_put_that_is_repeated_sends_the_file_from_its_beginning(
    store: S3Store, bucket: Bucket, photo: Path
) -> None:
    bucket.busy = 1

    await store.put(KEY, photo)

    assert [body for _, body in bucket.puts] == [PHOTO, PHOTO]


async def test_an_object_that_breaks_off_is_no_object(store: S3Store, bucket: Bucket, temp_folder: Path) -> None:
    bucket.go_on.set()

    with pytest.raises(StoreUnavailable) as caught:
        async with store.open(KEY):
            pytest.fail("half an object was opened")

    assert str(caught.value) == "the bucket can't be used: IncompleteReadError"
    assert list(temp_folder.iterdir()) == []


async def test_opening_that_is_cancelled_leaves_no_file(store: S3Store, bucket: Bucket, temp_folder: Path) -> None:
    """The thread cannot be cancelled; once it goes on it finds its file closed, and does not make it anew."""

    async def look() -> None:
        async with store.open(KEY):
            pytest.fail("half an object was opened")

    looking = asyncio.create_task(look())
    await asyncio.to_thread(bucket.asked.wait, 10)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    bucket.go_on.set()
    await store.close()
    for thread in threading.enumerate():
        if thread.name.startswith("s3"):
            await asyncio.to_thread(thread.join, 10)

    assert list(temp_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "root"),
    [
        ({"region": "eu-central-1"}, "https://talkbot.s3.eu-central-1.amazonaws.com/media/"),
        ({"region": "us-east-1"}, "https://talkbot.s3.amazonaws.com/media/"),
        ({"region": "auto", "endpoint_url": "https://r2.example"}, "https://r2.example/talkbot/media/"),
        (
            {"endpoint_url": "http://s3:8333", "public_endpoint_url": "https://media.example"},
            "https://media.example/talkbot/media/",
        ),
    ],
)
async def test_urls_are_signed_by_version_4_for_the_right_host(
    tmp_path: Path, options: dict[str, str], root: str
) -> None:
    async with s3_store(temp_folder=tmp_path, prefix="/media/", **options) as store:
        url = store.url(KEY, ttl_seconds=86_400)

    query = parse_qs(urlsplit(url).query)
    assert url.startswith(f"{root}{KEY}?")
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["86400"]
    assert query["X-Amz-Credential"][0].startswith(f"{ACCESS_KEY_ID}/")
    assert SECRET_ACCESS_KEY not in url


async def test_urls_can_be_made_by_somebody_else(tmp_path: Path) -> None:
    """A public bucket's root, or the bot's own proxy."""
    async with s3_store(temp_folder=tmp_path, url_for=lambda key, ttl: f"https://cdn.example/{key}#{ttl}") as store:
        assert store.url(KEY, ttl_seconds=60) == f"https://cdn.example/{KEY}#60"
        with pytest.raises(ValueError, match="no key"):
            store.url("../secret", ttl_seconds=60)


async def test_missing_credentials_are_told_plainly(
    photo: Path, temp_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    async with s3_store(temp_folder=temp_folder, access_key_id=None, secret_access_key=None) as store:
        with pytest.raises(StoreUnavailable, match="no credentials are set"):
            await store.put(KEY, photo)
        with pytest.raises(StoreUnavailable, match="no credentials are set"):
            store.url(KEY, ttl_seconds=60)


def test_boto3_is_not_imported_where_it_is_not_used() -> None:
    """It costs 26 MB and most of a start's time."""
    program = "import sys, storage.objects; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"

    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)  # noqa: S603 - our own
