"""The main job on each way of hosting: media in S3, jobs in PostgreSQL, with callbacks and without."""

from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from bot.sandbox import Akool
from s3_servers import BUCKET, s3_environment, s3_store
from storage.job import State
from world import PHOTO, VOICE, render_cheaply, tiny_mp4, world


@pytest.fixture
def bucket(weed_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket that the service finds by its environment, and a prefix of our own."""
    for name, value in s3_environment(weed_url).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid4().hex}"


async def stored(bucket: str, key: str, weed_url: str, folder: Path) -> bytes:
    prefix = bucket.removeprefix(f"s3://{BUCKET}/")
    async with s3_store(weed_url, temp_folder=folder, prefix=prefix) as store, store.open(key) as path:
        return path.read_bytes()


async def test_s3_with_callbacks(bucket: str, weed_url: str, tmp_path: Path) -> None:
    async with world(tmp_path, media_store=bucket) as here:
        await here.ada.send_photo(PHOTO)
        voice = await here.ada.send_voice(VOICE)
        video = await here.video()
        job = await here.job_in(State.DELIVERED)

        assert video.reply_to_id == voice.id
        assert "X-Amz-Signature" in here.akool.videos[0].photo.url
        assert await stored(bucket, job.video_key or "", weed_url, tmp_path) == tiny_mp4()


async def test_s3_with_polling_only_needs_no_address_of_ours(bucket: str, tmp_path: Path) -> None:
    akool = Akool(renderer=render_cheaply)
    async with world(tmp_path, akool=akool, media_store=bucket, public_url=None, akool_poll_seconds=0.05) as here:
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()

    assert "webhookUrl" not in akool.creates[0].parameters


async def test_s3_behind_our_own_signed_urls(bucket: str, tmp_path: Path) -> None:
    """MEDIA_DELIVERY=proxy: for fetchers that begin with HEAD, which a presigned URL refuses."""
    async with world(tmp_path, media_store=bucket, media_delivery="proxy") as here:
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()
        url = here.akool.videos[0].photo.url
        async with httpx.AsyncClient() as http:
            head = await http.head(url)

        assert url.startswith(f"{here.settings.public_url}/media/")
        assert (head.status_code, head.headers["content-type"]) == (200, "image/jpeg")


async def test_jobs_in_postgresql(own_postgres_url: str, tmp_path: Path) -> None:
    async with world(tmp_path, database_url=own_postgres_url) as here:
        voice = await here.ada.send_voice(VOICE)
        await here.ada.send_photo(PHOTO)
        video = await here.video()
        await here.job_in(State.DELIVERED)

        assert video.reply_to_id == voice.id
        assert len(here.akool.creates) == 1
