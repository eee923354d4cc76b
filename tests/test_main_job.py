"""The main job: a photo and a voice note become exactly one video, as a reply to the voice note."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
from PIL import Image

from bot.sandbox import Akool, BotApi
from storage.database import open_database
from storage.job import State
from storage.ledger import Ledger
from world import PHOTO, VOICE, World, render_cheaply, tiny_mp4, world


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as here:
        yield here


async def settled(here: World) -> None:
    """Wait until the job is delivered and its status message is gone."""
    await here.job_in(State.DELIVERED)
    await here.telegram.wait_until(lambda: sum(message.is_from_bot for message in here.ada.messages) == 1)


async def test_photo_first_then_voice(here: World) -> None:
    """The photo is answered with what is missing; the voice brings the video, and the status message goes."""
    await here.ada.send_photo(PHOTO)
    await here.says("Now send me a voice note")
    voice = await here.ada.send_voice(VOICE)
    video = await here.video()
    await settled(here)

    assert video.reply_to_id == voice.id
    assert video.file is not None
    assert video.file.data == tiny_mp4()
    assert [message.video is not None for message in here.ada.messages if message.is_from_bot] == [True]
    assert len(here.akool.creates) == 1
    assert len(here.akool.questions) <= 2


async def test_voice_first_then_photo(here: World) -> None:
    voice = await here.ada.send_voice(VOICE)
    await here.says("Now send me a photo")
    await here.ada.send_photo(PHOTO)
    video = await here.video()
    await settled(here)

    assert video.reply_to_id == voice.id
    assert len(here.akool.creates) == 1


async def test_akool_gets_an_upright_jpeg_and_an_mp3_that_decode(here: World) -> None:
    await here.ada.send_photo(PHOTO)
    await here.ada.send_voice(VOICE)
    await here.video()
    [video] = here.akool.videos

    assert video.photo.content_type == "image/jpeg"
    assert video.photo.url.endswith(".jpg")
    with Image.open(io.BytesIO(video.photo.data)) as image:
        assert image.format == "JPEG"
        assert not image.getexif()
    assert video.audio.content_type == "audio/mpeg"
    assert video.audio.url.endswith(".mp3")
    with av.open(io.BytesIO(video.audio.data)) as container:
        [stream] = container.streams.audio
        assert (stream.codec_context.name, stream.rate, stream.channels) == ("mp3float", 44100, 1)


async def test_the_video_is_sent_with_its_geometry_and_a_thumbnail(here: World) -> None:
    await here.ada.send_photo(PHOTO)
    await here.ada.send_voice(VOICE)
    video = await here.video()
    call = await here.telegram.wait_for_call("sendVideo")

    assert video.video is not None
    assert (video.video["width"], video.video["height"], video.video["duration"]) == (64, 96, 1)
    assert "thumbnail" in video.video
    assert call.parameters["supports_streaming"] is True


async def test_the_result_is_kept_in_our_own_store_and_the_ledger_is_closed(here: World, tmp_path: Path) -> None:
    await here.ada.send_photo(PHOTO)
    await here.ada.send_voice(VOICE)
    await here.video()
    job = await here.job_in(State.DELIVERED)

    assert job.video_key is not None
    assert Path(here.settings.media_store, job.video_key).read_bytes() == tiny_mp4()
    assert job.video_file_id is not None
    assert [state for state, _ in job.story] == [
        State.COLLECTING,
        State.QUEUED,
        State.SUBMITTING,
        State.RENDERING,
        State.SAVING,
        State.DELIVERING,
        State.DELIVERED,
    ]


async def test_the_call_is_in_the_ledger_with_its_outcome(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()
        job = await here.job_in(State.DELIVERED)
        url = here.settings.database_url.get_secret_value()
    async with open_database(url, now=lambda: 0) as database:
        [call] = await Ledger(database).of_job(job.id)

    assert (call.akool_id, call.outcome) == (job.akool_id, "accepted")
    assert call.closed_at is not None
    assert here.akool.creates[0].parameters["webhookUrl"].endswith(f"/akool/{call.token}")


@pytest.mark.parametrize("callbacks", ["twice", "in pieces", "early"])
async def test_callbacks_in_every_manner_make_one_video(tmp_path: Path, callbacks: str) -> None:
    akool = Akool(renderer=render_cheaply, callbacks=callbacks)  # type: ignore[arg-type]
    async with world(tmp_path, akool=akool) as here:
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()
        await settled(here)

        assert len(akool.creates) == 1
        assert len(akool.questions) <= 2
        assert sum(call.name == "sendVideo" for call in here.ada.history) == 1


async def test_without_callbacks_polling_finds_the_result(tmp_path: Path) -> None:
    akool = Akool(renderer=render_cheaply, callbacks="never")
    async with world(tmp_path, akool=akool, akool_poll_seconds=0.02) as here:
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()
        await settled(here)

    assert len(akool.creates) == 1


async def test_without_a_client_id_a_callback_is_still_a_doorbell(tmp_path: Path) -> None:
    akool = Akool(renderer=render_cheaply)
    async with world(tmp_path, akool=akool, akool_client_id=None, akool_poll_seconds=0.5) as here:
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()

        assert akool.videos[0].callbacks[0].http_status == 200


async def test_with_client_credentials_a_bearer_token_is_used(tmp_path: Path) -> None:
    akool = Akool(renderer=render_cheaply)
    async with world(
        tmp_path, akool=akool, akool_api_key=None, akool_client_secret=akool.account.client_secret
    ) as here:
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()

    assert akool.creates[0].headers["authorization"].startswith("Bearer ")
    assert "x-api-key" not in akool.creates[0].headers


async def test_updates_by_webhook(tmp_path: Path) -> None:
    """Telegram posts the updates; the secret token is checked, and each is taken once."""
    telegram = BotApi()
    async with world(tmp_path, telegram=telegram, telegram_updates="webhook") as here:
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()
        await settled(here)

        assert not telegram.updates.pending
        assert len(here.akool.creates) == 1
        assert not any(call.name == "getUpdates" for call in telegram.calls)


async def test_prompt_and_resolution_are_passed_on(tmp_path: Path) -> None:
    async with world(tmp_path, akool_prompt="Smile", akool_resolution="1080") as here:
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()

    assert here.akool.creates[0].parameters["prompt"] == "Smile"
    assert here.akool.creates[0].parameters["resolution"] == "1080"


async def test_a_voice_that_replies_to_a_photo_takes_that_photo(here: World) -> None:
    first = await here.ada.send_photo(PHOTO)
    await here.says("Now send me a voice note")
    second = io.BytesIO()
    with Image.open(PHOTO) as image:
        image.convert("L").save(second, "PNG")
    await here.ada.send_document(second.getvalue(), "other.png", "image/png")
    voice = await here.ada.send_voice(VOICE, reply_to=first)
    video = await here.video()

    assert video.reply_to_id == voice.id
    with Image.open(io.BytesIO(here.akool.videos[0].photo.data)) as image:
        saturation = image.convert("HSV").getchannel("S")
        assert saturation.getextrema() != (0, 0), "the grey one was not meant"


async def test_two_pairs_make_two_videos(here: World) -> None:
    for _ in range(2):
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
    await here.telegram.wait_until(lambda: sum(message.video is not None for message in here.ada.messages) == 2)

    replies = {message.reply_to_id for message in here.ada.messages if message.video}
    assert len(replies) == 2
    assert len(here.akool.creates) == 2
