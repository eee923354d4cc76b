"""An S3 bucket, by boto3 in threads of its own.

boto3 costs 26 MB and a fifth of a second to import, so that happens in a thread, and only where S3 is used.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, TypeVar

from storage.objects.store import ObjectMissing, StoreUnavailable, checked, content_type, is_key

_CHUNK_BYTES = 256 << 10
# HEAD is answered without a body, so there botocore has only the status for a code.
_PLAINLY = {
    "403": "the bucket refuses these credentials",
    "404": "there is no such bucket",
    "NoSuchBucket": "there is no such bucket",
    "NoCredentialsError": "no credentials are set (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
    "EndpointConnectionError": "nobody answers at its address",
}

Result = TypeVar("Result")


class S3Store:
    """Objects under `<bucket>/<prefix>`.

    Credentials and region, where not given, come from boto3's standard chain. `endpoint_url` is for servers other
    than AWS; `public_endpoint_url` is theirs as the outside sees it, since a presigned URL holds for one host only.
    `url_for` makes the URLs of keys for a time in seconds instead of presigning, for a public bucket or a proxy.
    Presigned URLs hold for 7 days at most, and no longer than the credentials themselves
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html).
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        temp_folder: Path,
        endpoint_url: str | None = None,
        public_endpoint_url: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        url_for: Callable[[str, int], str] | None = None,
        threads: int = 8,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._temp_folder = temp_folder
        self._endpoint_url = endpoint_url
        self._public_endpoint_url = public_endpoint_url
        self._session_options = {
            "region_name": region,
            "aws_access_key_id": access_key_id,
            "aws_secret_access_key": secret_access_key,
        }
        self._url_for = url_for
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="s3")
        self._clients = ExitStack()
        self._client: Any = None  # boto3 makes its clients' classes at run time; there are no types to name
        self._presigner: Any = None

    async def start(self) -> None:
        """Import boto3 and make the clients, so that `url` need not. Talks to nobody but a provider of credentials."""
        try:
            await self._run(self._make_clients)
        except ValueError:  # botocore's, and its text holds the URL
            raise StoreUnavailable("the endpoint is not a URL") from None

    async def put(self, key: str, source: Path) -> None:
        await self._run(self._put, checked(key), source)

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[Path]:
        with NamedTemporaryFile(dir=self._temp_folder, suffix=f".{checked(key).rpartition('.')[2]}") as file:
            await self._run(self._get, key, file)
            yield Path(file.name)

    async def delete(self, key: str) -> None:
        address = self._address(checked(key))
        with suppress(ObjectMissing):  # some servers mind, AWS does not
            # One by one: DeleteObjects always sends checksums, and not every server knows it.
            await self._run(lambda: self._client.delete_object(**address))

    def url(self, key: str, *, ttl_seconds: int) -> str:
        if self._url_for is not None:
            return self._url_for(checked(key), ttl_seconds)
        with _plain_errors():
            url: str = self._presigner.generate_presigned_url(
                "get_object", Params=self._address(checked(key)), ExpiresIn=ttl_seconds
            )
        return url

    async def keys(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        pages = await self._run(self._pages, self._prefix + prefix)
        while (page := await self._run(next, pages, None)) is not None:
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self._prefix)
                if is_key(key):
                    yield key, int(entry["LastModified"].timestamp() * 1000)

    async def tidy(self) -> None:
        """Nothing is ever half there: one PUT makes an object."""

    async def check(self) -> None:
        await self._run(lambda: self._client.head_bucket(Bucket=self._bucket))

    async def close(self) -> None:
        """Close the connections. What still runs in a thread ends there; botocore's time-outs bound it."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._clients.close()

    def _address(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        def call() -> Result:
            with _plain_errors():
                return work(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    # --- in the threads ---

    def _make_clients(self) -> None:
        import boto3  # noqa: PLC0415 - see above
        from botocore.config import Config  # noqa: PLC0415

        config = Config(
            signature_version="s3v4",  # boto3 would presign by SigV2 in us-east-1
            max_pool_connections=self._threads,
            tcp_keepalive=True,
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 4},
            # The newer default sends checksums as a trailer, which many S3-compatible servers refuse.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if self._endpoint_url else "virtual"},
            user_agent_extra="talking-photo-bot",
        )
        # Clients may be shared between threads, sessions may not: this is the only place that has one.
        session = boto3.session.Session(**self._session_options)

        def client(endpoint_url: str | None) -> Any:
            return self._clients.enter_context(closing(session.client("s3", endpoint_url=endpoint_url, config=config)))

        self._client = client(self._endpoint_url)
        self._presigner = client(self._public_endpoint_url) if self._public_endpoint_url else self._client

    def _put(self, key: str, source: Path) -> None:
        with source.open("rb") as file:  # one PUT from an open file costs no memory
            self._client.put_object(**self._address(key), Body=file, ContentType=content_type(key))

    def _get(self, key: str, file: IO[bytes]) -> None:
        with closing(self._client.get_object(**self._address(key))["Body"]) as body:
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                file.write(chunk)
        file.flush()

    def _pages(self, prefix: str) -> Iterator[Any]:
        return iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix))


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise botocore's errors and the system's as our own, without the URLs that their texts hold."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - botocore lets some of these through while reading

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "?"))
        if code == "NoSuchKey":
            raise ObjectMissing from None
        raise StoreUnavailable(_PLAINLY.get(code, f"the bucket answers {code}")) from None
    except (BotoCoreError, HTTPError) as error:
        name = type(error).__name__
        raise StoreUnavailable(f"the bucket can't be used: {_PLAINLY.get(name, name)}") from None
    except OSError as error:
        raise StoreUnavailable(f"a temporary file can't be used: {error.strerror}") from None
