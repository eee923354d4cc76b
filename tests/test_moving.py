"""Moving and restoring: the service goes on, on another database, in another store, or from a backup."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bot.cli import main
from bot.sandbox import Akool, BotApi
from bot.sandbox.chats import Chat
from s3_servers import ACCESS_KEY_ID, BUCKET, REGION, SECRET_ACCESS_KEY, s3_store
from scenes import job_in, says, send_pair, video_in
from storage.copying import back_up
from storage.job import State
from world import PHOTO, VOICE, World, bot_beside, free_port, render_cheaply


class Outside:
    """Telegram, AKOOL, and an address that stays the same: what a bot finds again wherever it goes."""

    def __init__(self, folder: Path) -> None:
        self.telegram = BotApi()
        self.akool = Akool(renderer=render_cheaply, callback_retry_seconds=0.05)
        self.akool.hold()
        self.ada, self.bob, self.eve = (self.telegram.private_chat(user_id) for user_id in (7, 8, 9))
        self._folder, self._port = folder, free_port()

    @asynccontextmanager
    async def bot(self, **settings: Any) -> AsyncIterator[World]:
        """A bot, until the end of the block."""
        settings |= {"port": self._port, "public_url": f"http://127.0.0.1:{self._port}", "akool_poll_seconds": 0.2}
        async with bot_beside(self.telegram, self.akool, self._folder, **settings) as here:
            yield here

    async def render(self, number: int) -> None:
        """Let a video be done, once it was ordered."""
        await self.akool.wait_until(lambda: len(self.akool.videos) > number)
        await self.akool.finish(self.akool.videos[number])


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Outside]:
    outside = Outside(tmp_path)
    async with outside.telegram.serving(), outside.akool.serving():
        yield outside


async def begin(here: World, rendering: Chat, collecting: Chat) -> None:
    """One job is at AKOOL, and another has its photo only."""
    await send_pair(rendering)
    await job_in(here, rendering, State.RENDERING)
    await collecting.send_photo(PHOTO)
    await says(collecting, "Now send me a voice note")


async def test_the_service_goes_on_in_postgresql_and_s3_where_it_was_in_files(
    *,
    outside: Outside,
    own_postgres_url: str,
    weed_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A job that AKOOL has meanwhile is delivered, and paid for once; a photo that waits is not sent again."""
    async with outside.bot() as here:
        await begin(here, outside.ada, outside.bob)
        source = here.settings.database_url.get_secret_value()

    (tmp_path / "url").write_text(f"{own_postgres_url}\n")
    assert await asyncio.to_thread(main, ["copy-database", source, f"@{tmp_path / 'url'}"]) == 0
    assert ["2", "jobs"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    assert await asyncio.to_thread(main, ["copy-database", source, own_postgres_url]) == 2
    assert "TO is not empty" in capsys.readouterr().err
    prefix = uuid4().hex
    async with s3_store(weed_url, temp_folder=tmp_path, prefix=prefix) as store:
        for path in (tmp_path / "data" / "media").glob("*/*"):  # as `aws s3 sync` names them
            await store.put(f"{path.parent.name}/{path.name}", path)
    shutil.rmtree(tmp_path / "data")

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", weed_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    monkeypatch.setenv("AWS_REGION", REGION)
    async with outside.bot(database_url=own_postgres_url, media_store=f"s3://{BUCKET}/{prefix}"):
        await outside.render(0)
        await video_in(outside.ada)
        assert len(outside.akool.creates) == 1
        await outside.bob.send_voice(VOICE)
        await outside.render(1)
        await video_in(outside.bob)
    assert len(outside.akool.creates) == 2


async def test_a_backup_that_was_taken_in_the_middle_is_restored_elsewhere(outside: Outside, tmp_path: Path) -> None:
    """What it knows goes on, and is not paid for again; what came after it is not known, and has to be sent again.

    A video that was delivered after the backup is delivered once more.
    """
    restored = tmp_path / "restored"
    async with outside.bot() as here:
        await begin(here, outside.ada, outside.bob)
        restored.mkdir()
        await back_up(here.settings.database_url.get_secret_value(), restored / "bot.sqlite3")
        shutil.copytree(here.settings.data_dir / "media", restored / "media")
        await outside.render(0)
        await video_in(outside.ada)
        await send_pair(outside.eve)
        await job_in(here, outside.eve, State.RENDERING)
    shutil.rmtree(tmp_path / "data")

    async with outside.bot(data_dir=restored) as here:
        delivered = await job_in(here, outside.ada, State.DELIVERED)
        assert len(outside.akool.creates) == 2
        await outside.akool.finish(outside.akool.videos[1])
        [callback] = await outside.akool.wait_until(lambda: outside.akool.videos[1].callbacks[:1])
        assert callback.http_status == 404
        assert [job.chat_id for job in await here.jobs()] == [delivered.chat_id, outside.bob.id]

        await outside.bob.send_voice(VOICE)
        await send_pair(outside.eve)
        for number in (2, 3):
            await outside.render(number)
        await video_in(outside.bob)
        await video_in(outside.eve)
    assert len(outside.akool.creates) == 4
    assert sum(bool(message.video) for message in outside.ada.messages) == 2
