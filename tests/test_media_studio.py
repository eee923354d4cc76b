"""The event loop's door to the media functions."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.media import BrokenVideo, Kind, MediaRefused, Picture, Refusal, Studio
from media_samples import photo, sound, video


@pytest.fixture
def studio() -> Iterator[Studio]:
    with closing(Studio()) as studio:
        yield studio


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A file that keeps a thread reading for as long as the test likes."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_importing_it_loads_no_library() -> None:
    heavy = "{'av', 'numpy', 'PIL', 'pillow_heif', 'dlib'}"
    program = f"import sys, bot.media; sys.exit(bool({heavy} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # noqa: S603 - our own words


async def test_everything_goes_through_its_threads(tmp_path: Path, studio: Studio) -> None:
    photo_file, voice_file, clip_file = tmp_path / "photo", tmp_path / "voice", tmp_path / "clip"
    photo_file.write_bytes(photo("JPEG"))
    voice_file.write_bytes(sound())
    clip_file.write_bytes(video())

    kind, picture, voice, clip, *_ = await asyncio.gather(
        studio.sniff(photo_file),
        studio.picture(photo_file, tmp_path / "photo.jpg"),
        studio.sound(voice_file, tmp_path / "voice.mp3", max_seconds=10),
        studio.clip(clip_file),
        studio.thumbnail(clip_file, tmp_path / "thumbnail.jpg"),
        studio.shrink(clip_file, tmp_path / "small.mp4", max_bytes=1_000_000),
    )

    assert kind is Kind.IMAGE
    assert picture == Picture(512, 512, has_face=True)
    assert voice.duration_ms == pytest.approx(2000, abs=50)
    assert (clip.width, clip.height) == (160, 128)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("photo", "voice", "clip"),
        *("photo.jpg", "voice.mp3", "thumbnail.jpg", "small.mp4"),
    }


async def test_refusals_come_through(tmp_path: Path, studio: Studio) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"Hello!")

    with pytest.raises(MediaRefused) as refused:
        await studio.sound(source, tmp_path / "voice.mp3", max_seconds=10)

    assert refused.value.refusal is Refusal.NOT_A_SOUND


async def test_a_cancelled_call_returns_when_its_thread_has_let_go(pipe: Path, studio: Studio) -> None:
    reading = asyncio.create_task(studio.sniff(pipe))
    with await asyncio.to_thread(pipe.open, "wb"):  # opens once the thread reads
        reading.cancel()
        await studio.sniff(Path(__file__))  # meanwhile the loop has gone round
        assert not reading.done()

    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_cancelled_call_that_has_not_begun_never_does(tmp_path: Path, pipe: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "photo.jpg"
    source.write_bytes(photo("JPEG"))
    with closing(Studio(threads=1)) as studio:
        reading = asyncio.create_task(studio.sniff(pipe))
        with await asyncio.to_thread(pipe.open, "wb"):
            waiting = asyncio.create_task(studio.picture(source, target))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await reading
    assert not target.exists()


async def test_only_one_video_is_shrunk_at_a_time(tmp_path: Path, pipe: Path, studio: Studio) -> None:
    source, target = tmp_path / "clip", tmp_path / "small.mp4"
    source.write_bytes(video())
    first = asyncio.create_task(studio.shrink(pipe, tmp_path / "first.mp4", max_bytes=1_000_000))
    with await asyncio.to_thread(pipe.open, "wb"):
        second = asyncio.create_task(studio.shrink(source, target, max_bytes=1_000_000))
        for _ in range(2):  # there is a thread to spare, and no shrinking before the second in its queue
            await studio.clip(source)
        assert not second.done()
        assert not target.exists()

    with pytest.raises(BrokenVideo):
        await first
    await second
    assert target.exists()


async def test_a_cancelled_shrink_stops(tmp_path: Path, studio: Studio) -> None:
    source, target = tmp_path / "clip", tmp_path / "small.mp4"
    source.write_bytes(video(seconds=8, noisy=True))
    shrinking = asyncio.create_task(studio.shrink(source, target, max_bytes=100_000_000))
    while not target.exists():
        await asyncio.sleep(0)

    shrinking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await shrinking
    assert not target.exists()
