"""A finished video is measured, or found broken; it gets a thumbnail, and a smaller copy where it is too large."""

import struct
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from bot.media import BrokenVideo, Clip, MediaRefused, Refusal
from bot.media.shrink import shrink_video
from bot.media.video import make_thumbnail, probe_video
from media_samples import photo, quarters, sound, video

TURNS = {0: None, 90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
WIDE, TALL = (160, 128), (128, 160)


WHOLE = quarters(*WIDE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "video.mp4"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def as_shown(turned: int) -> Image.Image:
    turn = TURNS[turned]
    return WHOLE if turn is None else WHOLE.transpose(turn)


def assert_alike(image: Image.Image, expected: Image.Image) -> None:
    assert image.size == expected.size
    assert np.abs(np.asarray(image, np.int16) - np.asarray(expected, np.int16)).mean() < 12


@pytest.mark.parametrize(("turned", "size"), [(0, WIDE), (90, TALL), (180, WIDE), (270, TALL)])
def test_a_video_is_measured_as_it_is_shown(path: Path, turned: int, size: tuple[int, int]) -> None:
    path.write_bytes(video(turned=turned))

    clip = probe_video(path)

    assert clip == Clip(*size, duration_ms=clip.duration_ms)
    assert clip.duration_ms == pytest.approx(1000, abs=50)


def with_long_length(data: bytes) -> bytes:
    """With the length of mdat in 64 bits; FFmpeg leaves the room for them before it."""
    start = data.index(b"mdat") - 4
    length = int.from_bytes(data[start : start + 4])
    assert data[start - 8 : start] == struct.pack(">I4s", 8, b"free")
    return data[: start - 8] + struct.pack(">I4sQ", 1, b"mdat", length + 8) + data[start + 8 :]


LAYOUTS: dict[str, Callable[[], bytes]] = {
    "index last": lambda: video(flags=""),
    "index first": video,
    "fragments": lambda: video(flags="frag_keyframe+empty_moov"),
    "a length of 64 bits": lambda: with_long_length(video()),
    "zeros behind it": lambda: video() + bytes(1000),
    "a note behind it": lambda: video() + b"made by somebody",
}


@pytest.mark.parametrize("data", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_of_an_mp4_is_whole(path: Path, data: Callable[[], bytes]) -> None:
    path.write_bytes(data())

    assert probe_video(path).duration_ms == pytest.approx(1000, abs=100)


BROKEN: dict[str, Callable[[], bytes]] = {
    "nothing": bytes,
    "a text": lambda: b"<html><body>Gone</body></html>",
    "a picture": lambda: photo("JPEG"),
    "a sound": sound,
    "a sound in mp4": lambda: sound(container="ipod", codec="aac"),
    "another container": lambda: video(container="matroska"),
    "a playlist": lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "its index missing": lambda: video(flags="")[:-4000],
    "half of its index missing": lambda: video(flags="")[:-1000],
    "its last byte missing": lambda: video()[:-1],
    "its last byte missing, with a length of 64 bits": lambda: with_long_length(video())[:-1],
    "its second half missing": lambda: video(noisy=True)[: len(video(noisy=True)) // 2],
    "its second half missing, in fragments": lambda: fragments()[: len(fragments()) // 2],
    "its first frame damaged": lambda: overwritten(video(), after=b"mdat"),
}


def fragments() -> bytes:
    return video(flags="frag_keyframe+empty_moov", noisy=True, seconds=2)


def overwritten(data: bytes, *, after: bytes) -> bytes:
    start = data.index(after) + len(after)
    return data[:start] + bytes(2000) + data[start + 2000 :]


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_video_is_found_out(path: Path, data: Callable[[], bytes]) -> None:
    path.write_bytes(data())

    with pytest.raises(BrokenVideo):
        probe_video(path)


@pytest.mark.parametrize("turned", TURNS)
def test_the_thumbnail_is_its_first_frame_upright(path: Path, target: Path, turned: int) -> None:
    path.write_bytes(video(turned=turned, width=640, height=512, seconds=0.2))

    make_thumbnail(path, target)

    with Image.open(target) as image:
        assert image.format == "JPEG"
        assert max(image.size) == 320
        assert_alike(image.resize(as_shown(turned).size), as_shown(turned))


def test_no_thumbnail_is_over_200_kb(path: Path, target: Path) -> None:
    path.write_bytes(video(width=720, height=720, noisy=True, seconds=0.2))

    make_thumbnail(path, target)

    assert target.stat().st_size < 200_000


@pytest.mark.parametrize("part", [0.7, 0.4, 0.25])
def test_a_video_is_shrunk_into_the_room_that_there_is(path: Path, target: Path, part: float) -> None:
    path.write_bytes(video(seconds=2, noisy=True))
    before = probe_video(path)
    room = round(path.stat().st_size * part)

    shrink_video(path, target, max_bytes=room)

    after = probe_video(target)
    assert room / 2 < target.stat().st_size <= room
    assert (after.width, after.height) == WIDE
    assert after.duration_ms == pytest.approx(before.duration_ms, abs=50)
    assert packets(target) == packets(path)


@pytest.mark.parametrize("turned", TURNS)
def test_a_shrunk_video_is_upright(path: Path, target: Path, turned: int) -> None:
    path.write_bytes(video(turned=turned, seconds=0.2))

    shrink_video(path, target, max_bytes=1_000_000)

    with av.open(target) as container:
        frame = next(container.decode(video=0))
    assert frame.rotation == 0
    assert_alike(Image.fromarray(frame.to_ndarray(format="rgb24")), as_shown(turned))


def test_a_large_video_becomes_720p_and_begins_at_once(path: Path, target: Path) -> None:
    path.write_bytes(video(width=1280, height=1600, seconds=0.2, with_sound=False))

    shrink_video(path, target, max_bytes=1_000_000)

    clip = probe_video(target)
    data = target.read_bytes()
    assert (clip.width, clip.height) == (720, 900)
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_shrunk_video_does_not_repeat_key_frames_needlessly(path: Path, target: Path) -> None:
    path.write_bytes(video(frames_per_key=1))

    shrink_video(path, target, max_bytes=1_000_000)

    with av.open(target) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size) == 1


@pytest.mark.parametrize("room", [20_000, 60_000])
def test_what_does_not_fit_is_refused(path: Path, target: Path, room: int) -> None:
    """In the first case the sound alone is too much."""
    path.write_bytes(video(seconds=2, noisy=True))

    with pytest.raises(MediaRefused) as refused:
        shrink_video(path, target, max_bytes=room)

    assert refused.value.refusal is Refusal.FILE_TOO_BIG
    assert not target.exists()


def test_shrinking_stops_when_nobody_waits_for_it(path: Path, target: Path) -> None:
    path.write_bytes(video())

    with pytest.raises(CancelledError):
        shrink_video(path, target, max_bytes=1_000_000, is_abandoned=target.exists)

    assert not target.exists()


def packets(path: Path) -> list[bytes]:
    """The packets of the sound."""
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]
