"""Everything that people send to the chat: taken, or refused in one plain sentence before it costs anything."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import cache, partial
from io import BytesIO
from itertools import product
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bot import texts
from bot.sandbox.chats import Chat, Message
from bot.sandbox.stand_in import Fault
from media_samples import SOUNDS, png, portrait, quarters, saved, sound, video
from scenes import new_chat, reading, says
from storage.drafts import incoming
from storage.job import Job, State
from storage.jobs import Jobs
from world import World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

Sender = Callable[[Chat], Awaitable[Message]]


async def jobs_of(here: World, chat: Chat) -> Sequence[Job]:
    """The chat's jobs, newest first."""
    async with reading(here) as database:
        return await Jobs(database).list(chat_id=chat.id)


async def job_where(here: World, chat: Chat, look: Callable[[Job], Any]) -> Job:
    """The chat's newest job of which `look` is true, now or soon."""
    async with asyncio.timeout(10), reading(here) as database:
        while not (found := list(filter(look, await Jobs(database).list(chat_id=chat.id)))):
            await asyncio.sleep(0.02)
    return found[0]


async def refusal_of(chat: Chat, send: Sender) -> str:
    """Send something, and return what the bot replies to it."""
    message = await send(chat)
    answer = await chat.wait_for(lambda answer: answer.is_from_bot and answer.reply_to_id == message.id)
    assert texts.BUTTON_AGAIN not in answer.buttons
    return answer.text


async def has_one_video(here: World, chat: Chat, voice: Message) -> None:
    """Wait for the video, and see that it replies to `voice` and that AKOOL was asked for it once."""
    video = await chat.wait_for(lambda message: message.is_from_bot and message.video)
    assert video.reply_to_id == voice.id
    photos = {job.photo_key for job in await jobs_of(here, chat) if job.photo_key}
    asked_for = [create.parameters["talking_photo_url"] for create in here.akool.creates]
    assert sum(url.endswith(photo) for url in asked_for for photo in photos) == 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world"), max_voice_seconds=3) as here:
        yield here


@pytest.fixture
def ada(here: World) -> Chat:
    return new_chat(here)


# --- what is sent ---


@cache
def picture(kind: str = "JPEG") -> bytes:
    return saved(portrait(), kind)


def recording(name: str) -> Callable[[], bytes]:
    return partial(sound, seconds=1, **SOUNDS[name])


def document(make: Callable[[], bytes], name: str = "", mime_type: str | None = None, **about: Any) -> Sender:
    return lambda chat: chat.send_document(make(), name, mime_type, **about)


def sent_as(kind: str, make: Callable[[], bytes], **about: Any) -> Sender:
    return lambda chat: getattr(chat, f"send_{kind}")(make(), **about)


PHOTO = sent_as("photo", picture)
VOICE = sent_as("voice", recording("voice.ogg"))
FACELESS = sent_as("photo", lambda: saved(quarters(), "JPEG"))
GARBAGE = document(lambda: b"this is no picture" * 100, "photo.jpg", "image/jpeg")
QUIET = sent_as("voice", partial(sound, loudness=0))


def flac_that_claims_to_be_short() -> bytes:
    """https://www.rfc-editor.org/rfc/rfc9639#section-8.2: the last 32 bits of the number of samples, made small."""
    data = sound("flac", "flac", seconds=5)
    return data[:22] + (48_000).to_bytes(4) + data[26:]


# --- taken ---

FALSE_CLAIMS = {
    "octets": ("file", "application/octet-stream"),
    "nothing": ("", None),
    "a song": ("song.mp3", "audio/mpeg"),
    "a picture": ("photo.jpg", "image/jpeg"),
    "a paper": ("paper.pdf", "application/pdf"),
}
SENT_PICTURES = {
    "photo": PHOTO,
    "jpeg": document(picture, "me.jpg", "image/jpeg"),
    "png": document(partial(picture, "PNG"), "me.png", "image/png"),
    "webp": document(partial(picture, "WEBP"), "me.webp", "image/webp"),
    "heic": document(partial(picture, "HEIF"), "me.heic", "image/heic"),
    "avif": document(partial(picture, "AVIF"), "me.avif", "image/avif"),
}
SENT_SOUNDS = {
    "voice": VOICE,
    "mp3 as audio": sent_as("audio", recording("song.mp3")),
    "m4a as audio": sent_as("audio", recording("memo.m4a"), file_name="memo.m4a", mime_type="audio/mp4"),
    "round video": sent_as("video_note", video),
    "video": sent_as("video", video),
    "mp4": document(video, "clip.mp4", "video/mp4"),
    "mp3": document(recording("song.mp3"), "song.mp3", "audio/mpeg"),
    "m4a": document(recording("memo.m4a"), "memo.m4a", "audio/mp4"),
    "wav": document(recording("take.wav"), "take.wav", "audio/x-wav"),
    "flac": document(recording("take.flac"), "take.flac", "audio/flac"),
    "ogg": document(recording("voice.ogg"), "voice.ogg", "audio/ogg"),
}


@pytest.mark.parametrize("send", SENT_PICTURES.values(), ids=SENT_PICTURES.keys())
async def test_a_picture_of_every_kind_is_made_to_talk(here: World, ada: Chat, send: Sender) -> None:
    voice = await VOICE(ada)
    await send(ada)
    await has_one_video(here, ada, voice)


@pytest.mark.parametrize("send", SENT_SOUNDS.values(), ids=SENT_SOUNDS.keys())
async def test_a_sound_of_every_kind_is_spoken(here: World, ada: Chat, send: Sender) -> None:
    await PHOTO(ada)
    voice = await send(ada)
    await has_one_video(here, ada, voice)


@pytest.mark.parametrize(
    ("kind", "claim"),
    [*product(["JPEG"], FALSE_CLAIMS), *product(["PNG", "WEBP", "HEIF", "AVIF"], ["octets", "a song"])],
)
async def test_a_picture_is_taken_whatever_it_claims_to_be(ada: Chat, kind: str, claim: str) -> None:
    await document(partial(picture, kind), *FALSE_CLAIMS[claim])(ada)
    await says(ada, texts.STATUS_ONLY_PHOTO)


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        *product(["song.mp3"], FALSE_CLAIMS),
        *product(["memo.m4a", "take.wav", "take.flac", "voice.ogg"], ["octets", "a picture"]),
    ],
)
async def test_a_sound_is_taken_whatever_it_claims_to_be(ada: Chat, name: str, claim: str) -> None:
    await document(recording(name), *FALSE_CLAIMS[claim])(ada)
    await says(ada, texts.STATUS_ONLY_VOICE)


# --- refused ---

CLAIMS_25_MB = {"file_size": 25 << 20}
IS_21_MB = partial(bytes, 21 << 20)

BAD_PICTURES = {
    "no image in it": (GARBAGE, "unknown_kind"),
    "no image in a photo": (sent_as("photo", lambda: bytes(999)), "unknown_kind"),
    "empty": (document(bytes, "photo.png", "image/png"), "unknown_kind"),
    "pdf": (document(lambda: b"%PDF-1.7\n" * 100, "paper.pdf", "application/pdf"), "unknown_kind"),
    "zip": (document(lambda: b"PK\x03\x04" + bytes(99), "photos.zip", "application/zip"), "unknown_kind"),
    "svg": (document(lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "me.svg", "image/svg+xml"), "unknown_kind"),
    "too small": (document(lambda: saved(quarters(400, 255)), "icon.png", "image/png"), "image_too_small"),
    "too many pixels": (document(partial(png, 9000, 9000), "wall.png", "image/png"), "image_too_large"),
    "damaged photo": (sent_as("photo", lambda: picture()[:9000]), "image_damaged"),
    "damaged png": (document(lambda: picture("PNG")[:9000], "me.png", "image/png"), "image_damaged"),
    "damaged heic": (document(lambda: picture("HEIF")[:9000], "me.heic", "image/heic"), "image_damaged"),
    "claims 25 MB": (document(picture, "me.png", "image/png", **CLAIMS_25_MB), "file_too_big"),
    "too big for the server": (document(IS_21_MB, "me.png", "image/png", file_size=99), "file_too_big"),
}
BAD_SOUNDS = {
    "no sound in a song": (sent_as("audio", lambda: b"la la la" * 99), "unknown_kind"),
    "video without sound": (sent_as("video", partial(video, with_sound=False)), "no_sound"),
    "round video without sound": (sent_as("video_note", partial(video, with_sound=False)), "no_sound"),
    "silent voice": (QUIET, "silent"),
    "nearly silent": (sent_as("voice", partial(sound, loudness=0.0005)), "silent"),
    "under half a second": (sent_as("voice", partial(sound, seconds=0.3)), "sound_too_short"),
    "too long by its header": (sent_as("voice", partial(sound, seconds=5)), "sound_too_long"),
    "too long in truth": (document(flac_that_claims_to_be_short, "take.flac", "audio/flac"), "sound_too_long"),
    "damaged voice": (sent_as("voice", lambda: b"OggS" + b"\xff" * 999), "sound_damaged"),
    "damaged m4a": (sent_as("audio", lambda: recording("memo.m4a")()[:3000]), "sound_damaged"),
    "claims 25 MB": (sent_as("voice", recording("voice.ogg"), **CLAIMS_25_MB), "file_too_big"),
    "too big for the server": (sent_as("audio", IS_21_MB, file_size=99), "file_too_big"),
}
OTHER_MESSAGES: dict[str, tuple[Sender, str]] = {
    "text": (lambda chat: chat.send_text("Make me talk!"), texts.WHAT_I_NEED),
    "unknown command": (lambda chat: chat.send_text("/dance"), texts.WHAT_I_NEED),
    "sticker": (sent_as("sticker", partial(picture, "WEBP")), texts.UNKNOWN_FILE),
    "contact": (lambda chat: chat._say({"contact": {"phone_number": "1", "first_name": "Bob"}}), texts.UNKNOWN_FILE),
    "location": (lambda chat: chat._say({"location": {"latitude": 52.5, "longitude": 13.4}}), texts.UNKNOWN_FILE),
    "dice": (lambda chat: chat._say({"dice": {"emoji": "🎲", "value": 6}}), texts.UNKNOWN_FILE),
}


def sentence(refusal: str) -> str:
    return texts.REFUSALS[refusal].format(max_voice="3 seconds", max_file=20)


@pytest.mark.parametrize(("send", "refusal"), BAD_PICTURES.values(), ids=BAD_PICTURES.keys())
async def test_a_bad_picture_is_refused_and_the_voice_is_kept(
    here: World, ada: Chat, send: Sender, refusal: str
) -> None:
    voice = await VOICE(ada)
    assert await refusal_of(ada, send) == sentence(refusal)
    job = await job_where(here, ada, lambda job: job.voice_key and not incoming(job))
    assert (job.state, job.voice_message_id, job.photo_key) == (State.COLLECTING, voice.id, None)


@pytest.mark.parametrize(("send", "refusal"), BAD_SOUNDS.values(), ids=BAD_SOUNDS.keys())
async def test_a_bad_sound_is_refused_and_the_photo_is_kept(here: World, ada: Chat, send: Sender, refusal: str) -> None:
    photo = await PHOTO(ada)
    assert await refusal_of(ada, send) == sentence(refusal)
    job = await job_where(here, ada, lambda job: job.photo_key and not incoming(job))
    assert (job.state, job.photo_message_id, job.voice_key) == (State.COLLECTING, photo.id, None)


@pytest.mark.parametrize(("send", "text"), OTHER_MESSAGES.values(), ids=OTHER_MESSAGES.keys())
async def test_anything_else_is_told_what_is_needed(here: World, ada: Chat, send: Sender, text: str) -> None:
    await PHOTO(ada)
    assert await refusal_of(ada, send) == text
    job = await job_where(here, ada, lambda job: job.photo_key and not incoming(job))
    assert job.state is State.COLLECTING


async def test_what_says_that_it_is_too_big_is_not_fetched(here: World, ada: Chat) -> None:
    message = await ada.send_voice(sound(), **CLAIMS_25_MB)
    await says(ada, sentence("file_too_big"))
    file_id = message.raw["voice"]["file_id"]
    assert not [call for call in here.telegram.calls if call.parameters.get("file_id") == file_id]


async def test_a_good_picture_after_a_bad_one_completes_the_job(here: World, ada: Chat) -> None:
    voice = await VOICE(ada)
    assert await refusal_of(ada, GARBAGE) == sentence("unknown_kind")
    await PHOTO(ada)
    await has_one_video(here, ada, voice)


async def test_a_good_voice_after_a_bad_one_completes_the_job(here: World, ada: Chat) -> None:
    await PHOTO(ada)
    assert await refusal_of(ada, QUIET) == sentence("silent")
    await has_one_video(here, ada, await VOICE(ada))


async def test_a_bad_photo_leaves_the_good_one_before_it_in_place(here: World, ada: Chat) -> None:
    await PHOTO(ada)
    await says(ada, texts.STATUS_ONLY_PHOTO)
    assert await refusal_of(ada, GARBAGE) == sentence("unknown_kind")
    await has_one_video(here, ada, await VOICE(ada))


async def test_a_bad_voice_leaves_the_good_one_before_it_in_place(here: World, ada: Chat) -> None:
    voice = await VOICE(ada)
    await says(ada, texts.STATUS_ONLY_VOICE)
    assert await refusal_of(ada, QUIET) == sentence("silent")
    await PHOTO(ada)
    await has_one_video(here, ada, voice)


@pytest.mark.parametrize(
    ("send", "refusal"),
    [BAD_PICTURES["no image in it"], BAD_PICTURES["claims 25 MB"], BAD_SOUNDS["silent voice"]],
    ids=["picture", "too big", "voice"],
)
async def test_a_job_that_begins_with_a_useless_file_ends_there(
    here: World, ada: Chat, send: Sender, refusal: str
) -> None:
    """One refusal, nothing left hanging, and the next pair is served."""
    assert await refusal_of(ada, send) == sentence(refusal)
    [job] = await jobs_of(here, ada)
    assert (job.state, job.reason, job.due_at) == (State.FAILED, refusal, None)

    await PHOTO(ada)
    await has_one_video(here, ada, await VOICE(ada))
    assert [message.text for message in ada.messages].count(sentence(refusal)) == 1


# --- no face ---


async def test_a_photo_without_a_face_is_asked_about_and_the_voice_waits(here: World, ada: Chat) -> None:
    """The button lets the job go on, once, however often it is pressed."""
    await FACELESS(ada)
    question = await says(ada, texts.STATUS_NO_FACE)
    voice = await VOICE(ada)
    job = await job_where(here, ada, lambda job: job.voice_key and not incoming(job))
    assert job.state is State.COLLECTING
    presses = [ada.press(question, texts.BUTTON_USE_ANYWAY) for _ in range(2)]
    _, second = await asyncio.gather(*presses)
    await has_one_video(here, ada, voice)
    await here.telegram.wait_for_call(
        "answerCallbackQuery", when=lambda call: call.parameters["callback_query_id"] == second
    )
    assert len(await jobs_of(here, ada)) == 1


async def test_a_photo_without_a_face_may_be_replaced(here: World, ada: Chat) -> None:
    await FACELESS(ada)
    await says(ada, texts.STATUS_NO_FACE)
    voice = await VOICE(ada)
    await PHOTO(ada)
    await has_one_video(here, ada, voice)

    with Image.open(BytesIO(here.akool.videos[-1].photo.data)) as photo:
        assert photo.size == portrait().size != quarters().size


async def test_a_second_photo_without_a_face_is_asked_about_too(here: World, ada: Chat) -> None:
    await FACELESS(ada)
    await says(ada, texts.STATUS_NO_FACE)
    second = await FACELESS(ada)
    await job_where(here, ada, lambda job: job.photo_message_id == second.id)
    answer = await ada.wait_for(lambda message: message.id > second.id, timeout_seconds=2)
    assert answer.text == texts.STATUS_NO_FACE


# --- what arrives while another file is still being fetched ---


class Late(Response):
    """An answer that waits until it is let go."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.go = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.go.wait()
        await super().__call__(scope, receive, send)


async def send_slowly(here: World, chat: Chat, data: bytes, name: str, mime_type: str | None) -> Late:
    """Send a file whose download has begun, and ends when it is let go."""
    late = Late(data)
    here.telegram.faults.append(Fault("file", late))
    message = await chat.send_document(data, name, mime_type)
    file_id = message.raw["document"]["file_id"]
    await here.telegram.wait_for_call("file", when=lambda call: call.parameters["file_id"] == file_id)
    return late


async def send_and_see_noted(here: World, chat: Chat, send: Sender) -> Message:
    message = await send(chat)
    await job_where(here, chat, lambda job: message.id in _messages_of(job))
    return message


def _messages_of(job: Job) -> set[int | None]:
    return {job.photo_message_id, job.voice_message_id, *(half.message_id for half in incoming(job))}


async def test_a_voice_that_arrives_while_a_useless_photo_is_looked_at_is_kept(here: World, ada: Chat) -> None:
    late = await send_slowly(here, ada, b"garbage", "photo.jpg", "image/jpeg")
    voice = await send_and_see_noted(here, ada, VOICE)
    late.go.set()
    await says(ada, sentence("unknown_kind"))
    [job] = await jobs_of(here, ada)
    assert job.state is State.COLLECTING
    await PHOTO(ada)
    await has_one_video(here, ada, voice)


@pytest.mark.parametrize(
    ("data", "claim", "then"),
    [
        pytest.param(picture, "a song", [PHOTO, VOICE], id="photo called a song"),
        pytest.param(recording("song.mp3"), "a picture", [VOICE, PHOTO], id="song called a photo"),
        pytest.param(lambda: b"garbage", "a picture", [VOICE, PHOTO], id="garbage called a photo"),
    ],
)
async def test_halves_find_each_other_although_one_is_not_what_it_claims(
    here: World, ada: Chat, data: Callable[[], bytes], claim: str, then: list[Sender]
) -> None:
    """What a file is shows once it is fetched; a good photo and a good voice that come meanwhile belong together."""
    late = await send_slowly(here, ada, data(), *FALSE_CLAIMS[claim])
    sent = [await send_and_see_noted(here, ada, send) for send in then]
    late.go.set()
    await has_one_video(here, ada, sent[then.index(VOICE)])
    assert not [job for job in await jobs_of(here, ada) if job.state is State.COLLECTING]
