"""An S3 bucket, by boto3 in threads of its own.

boto3 costs 26 MB and a fifth of a second to import, so that happens in a thread, and only where S3 is used.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

from storage.objects.store import ObjectMissing, StoreUnavailable, checked, content_type, is_key

_CHUNK_BYTES = 256 << 10
_MISSING = ("404", "NoSuchKey", "NotFound")

Result = TypeVar("Result")


class S3Store:
    """Objects under `<bucket>/<prefix>`. Call `start` before anything else.

    Credentials and region, where not given, come from boto3's standard chain. `endpoint_url` is for servers other
    than AWS; `public_endpoint_url` is theirs as the outside sees it, since a presigned URL holds for one host only.
    `url_for` replaces presigning, for a public bucket or a proxy.
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
        self._client: Any = None  # boto3 makes its clients' classes at run time; there are no types to name
        self._presigner: Any = None

    async def start(self) -> None:
        """Import boto3 and make the clients. Raises `StoreUnavailable`."""
        await self._run(self._make_clients)

    async def put(self, key: str, source: Path) -> None:
        await self._run(self._put, checked(key), source)

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[Path]:
        with NamedTemporaryFile(dir=self._temp_folder, suffix=f".{key.rpartition('.')[2]}") as file:
            path = Path(file.name)
            await self._run(self._get, checked(key), path)
            yield path

    async def delete(self, key: str) -> None:
        await self._run(lambda: self._client.delete_object(Bucket=self._bucket, Key=self._name(checked(key))))

    def url(self, key: str, *, ttl_seconds: int) -> str:
        if self._url_for is not None:
            return self._url_for(checked(key), ttl_seconds)
        url: str = self._presigner.generate_presigned_url(
            "get_object",
            Params={"Bucket": self._bucket, "Key": self._name(checked(key))},
            ExpiresIn=ttl_seconds,
        )
        return url

    async def keys(self) -> AsyncIterator[tuple[str, int]]:
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix))
        while (page := await self._run(lambda: next(pages, None))) is not None:
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self._prefix)
                if is_key(key):
                    yield key, int(entry["LastModified"].timestamp() * 1000)

    async def check(self) -> None:
        await self._run(lambda: self._client.head_bucket(Bucket=self._bucket))

    async def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _name(self, key: str) -> str:
        return self._prefix + key

    # --- in the threads ---

    def _make_clients(self) -> None:
        import boto3  # noqa: PLC0415 - see above
        from botocore.config import Config  # noqa: PLC0415

        session = boto3.session.Session(**self._session_options)
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
        self._client = session.client("s3", endpoint_url=self._endpoint_url, config=config)
        self._presigner = self._client
        if self._public_endpoint_url:
            self._presigner = session.client("s3", endpoint_url=self._public_endpoint_url, config=config)

    def _put(self, key: str, source: Path) -> None:
        with source.open("rb") as file:  # one PUT from an open file costs no memory
            self._client.put_object(Bucket=self._bucket, Key=self._name(key), Body=file, ContentType=content_type(key))

    def _get(self, key: str, target: Path) -> None:
        body = self._client.get_object(Bucket=self._bucket, Key=self._name(key))["Body"]
        with target.open("wb") as file:
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                file.write(chunk)

    async def _run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run in a thread. Cancelling does not stop it there; botocore's time-outs do."""
        from_thread = asyncio.get_running_loop().run_in_executor(self._executor, lambda: work(*arguments))
        try:
            return await from_thread
        except Exception as error:
            raise _translated(error) from error


def _translated(error: Exception) -> Exception:
    """Botocore's errors as ours; anything else as it is."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError  # noqa: PLC0415 - see above

    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", "?"))
        return ObjectMissing() if code in _MISSING else StoreUnavailable(f"the bucket answers {code}")
    if isinstance(error, BotoCoreError | HTTPClientError | OSError):
        # The text of these may hold URLs, so the name must do.
        return StoreUnavailable(f"the bucket can't be reached: {type(error).__name__}")
    return error
