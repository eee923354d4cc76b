"""What every store does: the local folder, S3 as moto plays it, S3 as a real server speaks it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from s3_servers import s3_store
from storage.objects import LocalStore, MediaSigner, ObjectMissing, ObjectStore, S3Store, StoreUnavailable, new_key

BIG_BYTES = 10 << 20


@pytest.fixture
def temp_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    return folder


@pytest.fixture(params=["local", "moto", "weed"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, temp_folder: Path) -> AsyncIterator[ObjectStore]:
    if request.param != "local":
        async with s3_store(request.getfixturevalue(f"{request.param}_url"), temp_folder=temp_folder) as bucket:
            yield bucket
        return
    local = LocalStore(tmp_path / "media", MediaSigner([b"secret"], "https://bot.example"))
    await local.start()
    yield local
    await local.close()


@pytest.fixture(params=["moto", "weed"])
async def bucket(request: pytest.FixtureRequest, temp_folder: Path) -> AsyncIterator[S3Store]:
    async with s3_store(request.getfixturevalue(f"{request.param}_url"), temp_folder=temp_folder) as bucket:
        yield bucket


@pytest.fixture
async def weed(weed_url: str, temp_folder: Path) -> AsyncIterator[S3Store]:
    async with s3_store(weed_url, temp_folder=temp_folder) as bucket:
        yield bucket


def file(folder: Path, content: bytes) -> Path:
    path = folder / f"source-{len(list(folder.iterdir()))}"
    path.write_bytes(content)
    return path


async def content(store: ObjectStore, key: str) -> bytes:
    async with store.open(key) as path:
        return path.read_bytes()


async def test_what_was_put_is_opened_as_a_file_with_its_extension(store: ObjectStore, tmp_path: Path) -> None:
    key = new_key("in", "jpg")

    await store.put(key, file(tmp_path, b"a photo"))

    async with store.open(key) as path:
        assert (path.read_bytes(), path.suffix) == (b"a photo", ".jpg")


async def test_a_second_put_replaces_the_first(store: ObjectStore, tmp_path: Path) -> None:
    key = new_key("in", "mp3")

    await store.put(key, file(tmp_path, b"a long first one"))
    await store.put(key, file(tmp_path, b"second"))

    assert await content(store, key) == b"second"


async def test_a_deleted_object_is_missing_and_may_be_deleted_again(store: ObjectStore, tmp_path: Path) -> None:
    key = new_key("out", "mp4")
    await store.put(key, file(tmp_path, b"a video"))

    for _ in range(2):
        await store.delete(key)

        with pytest.raises(ObjectMissing):
            await content(store, key)


async def test_a_failed_put_leaves_what_was_there(store: ObjectStore, tmp_path: Path) -> None:
    key = new_key("in", "jpg")
    await store.put(key, file(tmp_path, b"the old one"))

    with pytest.raises(StoreUnavailable, match="No such file"):
        await store.put(key, tmp_path / "gone")

    assert await content(store, key) == b"the old one"


async def test_ten_megabytes_come_back_whole_and_leave_no_temporary_file(
    store: ObjectStore, tmp_path: Path, temp_folder: Path
) -> None:
    key, video = new_key("out", "mp4"), os.urandom(BIG_BYTES)

    await store.put(key, file(tmp_path, video))

    assert await content(store, key) == video
    assert list(temp_folder.iterdir()) == []


async def test_many_at_once_do_not_mix(store: ObjectStore, tmp_path: Path) -> None:
    """Sixteen keys, and one more that four writers fight for: it is one of theirs, whole."""
    keys, contested = [new_key("in", "jpg") for _ in range(16)], new_key("in", "jpg")
    rivals = [file(tmp_path, bytes([number]) * 300_000) for number in range(4)]

    await asyncio.gather(
        *(store.put(key, file(tmp_path, key.encode())) for key in keys),
        *(store.put(contested, rival) for rival in rivals),
    )

    assert await asyncio.gather(*(content(store, key) for key in keys)) == [key.encode() for key in keys]
    assert await content(store, contested) in [rival.read_bytes() for rival in rivals]


async def test_keys_are_listed_by_prefix_with_their_time_in_milliseconds(store: ObjectStore, tmp_path: Path) -> None:
    photo, video = new_key("in", "jpg"), new_key("out", "mp4")
    for key in (photo, video):
        await store.put(key, file(tmp_path, b"x"))

    found = {key: modified_ms async for key, modified_ms in store.keys(prefix="")}

    assert found.keys() == {photo, video}
    assert all(abs(modified_ms / 1000 - time.time()) < 600 for modified_ms in found.values())
    assert [key async for key, _ in store.keys(prefix="out/")] == [video]


async def test_a_working_store_passes_its_check(store: ObjectStore) -> None:
    await store.check()


async def test_what_is_no_key_gets_nowhere(store: ObjectStore, tmp_path: Path) -> None:
    for key in ("", "../in/x.jpg", "/etc/passwd", f"in/{'a' * 32}.exe", f"in/{'a' * 32}.jpg\n"):
        with pytest.raises(ValueError, match="no key"):
            await store.put(key, file(tmp_path, b"x"))
        with pytest.raises(ValueError, match="no key"):
            await content(store, key)
        with pytest.raises(ValueError, match="no key"):
            await store.delete(key)
        with pytest.raises(ValueError, match="no key"):
            store.url(key, ttl_seconds=60)


# --- S3 only ---


async def test_a_presigned_url_gives_the_object_with_its_type_also_in_parts(bucket: S3Store, tmp_path: Path) -> None:
    for key, media_type in (
        (new_key("in", "jpg"), "image/jpeg"),
        (new_key("in", "mp3"), "audio/mpeg"),
        (new_key("out", "mp4"), "video/mp4"),
    ):
        await bucket.put(key, file(tmp_path, b"0123456789"))
        url = bucket.url(key, ttl_seconds=60)

        async with httpx.AsyncClient() as outside:
            whole = await outside.get(url)
            part = await outside.get(url, headers={"Range": "bytes=2-4"})

        assert (whole.status_code, whole.content, whole.headers["Content-Type"]) == (200, b"0123456789", media_type)
        assert (part.status_code, part.content) == (206, b"234")
        assert urlsplit(url).path.endswith(key)


async def test_a_bucket_that_is_not_there_fails_the_check(moto_url: str, weed_url: str, temp_folder: Path) -> None:
    for url in (moto_url, weed_url):
        async with s3_store(url, temp_folder=temp_folder, bucket="not-there") as store:
            with pytest.raises(StoreUnavailable, match="no such bucket"):
                await store.check()


async def test_a_url_holds_for_its_own_object_only(weed: S3Store, tmp_path: Path) -> None:
    mine, other = new_key("in", "jpg"), new_key("in", "jpg")
    for key in (mine, other):
        await weed.put(key, file(tmp_path, b"x"))
    url = weed.url(mine, ttl_seconds=60)
    signature = parse_qs(urlsplit(url).query)["X-Amz-Signature"][0]
    forged = signature[:-1] + ("0" if signature[-1] != "0" else "1")

    async with httpx.AsyncClient() as outside:
        answers = [
            await outside.get(tampered)
            for tampered in (
                url.replace(mine, other),
                url.replace(signature, forged),
                url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
            )
        ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]


async def test_a_wrong_secret_opens_nothing_and_is_told_plainly(
    weed_url: str, tmp_path: Path, temp_folder: Path
) -> None:
    key = new_key("in", "jpg")

    async with (
        s3_store(weed_url, temp_folder=temp_folder, secret_access_key="wrong") as stranger,
        httpx.AsyncClient() as outside,
    ):
        with pytest.raises(StoreUnavailable, match=r"^the bucket answers SignatureDoesNotMatch$"):
            await stranger.put(key, file(tmp_path, b"x"))
        with pytest.raises(StoreUnavailable, match=r"^the bucket refuses these credentials$"):
            await stranger.check()
        assert (await outside.get(stranger.url(key, ttl_seconds=60))).status_code == 403


async def test_a_url_is_signed_for_the_host_that_the_outside_sees(
    weed_url: str, tmp_path: Path, temp_folder: Path
) -> None:
    """Here the outside says localhost where we say 127.0.0.1."""
    key, public_url = new_key("in", "jpg"), weed_url.replace("127.0.0.1", "localhost")

    async with (
        s3_store(weed_url, temp_folder=temp_folder, public_endpoint_url=public_url) as store,
        httpx.AsyncClient() as outside,
    ):
        await store.put(key, file(tmp_path, b"a photo"))
        url = store.url(key, ttl_seconds=60)

        assert url.startswith(public_url)
        assert (await outside.get(url)).content == b"a photo"
