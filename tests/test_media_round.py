"""A video note is the square part of a video, as long and as loud as before."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from PIL import Image

from bot.media import BrokenVideo, Studio
from bot.media.rounding import round_video
from bot.media.shrink import shrink_video
from bot.media.video import probe_video
from media_samples import photo, quarters, sound, video
from world import tiny_mp4

BT709 = 1
RED, LIME, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
COLOURS = {  # by the degrees clockwise
    0: [[RED, LIME], [BLUE, WHITE]],
    90: [[BLUE, RED], [WHITE, LIME]],
    180: [[WHITE, BLUE], [LIME, RED]],
    270: [[LIME, WHITE], [RED, BLUE]],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "video.mp4"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "round.mp4"


def first_picture(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with av.open(path) as container:
        frame = next(container.decode(video=0))
    assert frame.rotation == 0
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def times(path: Path, kind: Literal["video", "audio"]) -> list[float]:
    """When each decoded frame begins."""
    with av.open(path) as container:
        frames = container.decode(video=0) if kind == "video" else container.decode(audio=0)
        return [frame.time for frame in frames if frame.time is not None]


def still(
    path: Path,
    *,
    size: tuple[int, int],
    pixels: str = "yuv420p",
    moments: Iterable[float] = (0, 0.04, 0.08),
    codec: Literal["aac", "mp3", "libopus"] | None = None,
    colours: int | None = None,
) -> None:
    """Write the quarters, in frames that begin at these moments, beside as much sound in this codec."""
    with av.open(path, "w", format="mp4") as output:
        picture = output.add_stream("libx264", 25, {"preset": "ultrafast"}, pix_fmt=pixels)
        picture.width, picture.height = size
        picture.codec_context.time_base = Fraction(1, 1000)
        picture.codec_context.colorspace = colours or picture.codec_context.colorspace
        voice = output.add_stream(codec, 48_000, layout="stereo") if codec else None
        for moment in moments:
            frame = VideoFrame.from_image(quarters(*size))  # type: ignore[no-untyped-call]  # PyAV's stub leaves it bare
            if colours == BT709:
                frame = frame.reformat(format=pixels, dst_colorspace=Colorspace.ITU709)
            frame.pts, frame.time_base = round(moment * 1000), Fraction(1, 1000)
            output.mux(picture.encode(frame))
        output.mux(picture.encode(None))
        if voice:
            for start in range(0, round(max(moments) * 48_000), 960):
                tone = np.sin(np.arange(start, start + 960, dtype=np.float32) / 20)[None].repeat(2, axis=0)
                noise = av.AudioFrame.from_ndarray(tone, format="fltp", layout="stereo")
                noise.sample_rate, noise.pts, noise.time_base = 48_000, start, Fraction(1, 48_000)
                output.mux(voice.encode(noise))
            output.mux(voice.encode(None))


# --- the picture ---


@pytest.mark.parametrize(("width", "height", "side"), [(640, 960, 480), (960, 640, 480), (64, 96, 64), (362, 242, 242)])
def test_it_is_square_and_never_larger_than_it_was(
    path: Path, target: Path, width: int, height: int, side: int
) -> None:
    path.write_bytes(tiny_mp4(width=width, height=height))

    assert round_video(path, target)

    clip = probe_video(target)
    assert (clip.width, clip.height) == (side, side)
    assert clip.duration_ms == pytest.approx(1000, abs=120)


@pytest.mark.parametrize("size", [(161, 127), (127, 161), (129, 129), (127, 128)])
def test_odd_sides_become_even_ones(path: Path, target: Path, size: tuple[int, int]) -> None:
    still(path, size=size, pixels="yuv444p")

    assert round_video(path, target)

    clip = probe_video(target)
    assert (clip.width, clip.height) == (min(size) // 2 * 2,) * 2
    with av.open(target) as container:
        track = container.streams.video[0]
        assert (track.codec_context.name, track.codec_context.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize(
    ("size", "turned", "lower_begins"),
    [
        ((320, 160), 0, 1 / 2),
        ((160, 320), 0, 2 / 3),
        ((160, 160), 0, 1 / 2),
        ((320, 160), 90, 2 / 3),
        ((320, 160), 270, 2 / 3),
        ((160, 320), 90, 1 / 2),
        ((160, 320), 180, 2 / 3),
    ],
)
def test_the_square_is_in_the_middle_but_further_up_in_a_portrait(
    path: Path, target: Path, size: tuple[int, int], turned: int, lower_begins: float
) -> None:
    """As it is shown. Where the lower quarters begin in the square (at which part of its height) tells what went."""
    width, height = size
    path.write_bytes(video(width=width, height=height, turned=turned, seconds=0.2))

    assert round_video(path, target)

    whole = Image.fromarray(np.array(COLOURS[turned], np.uint8).repeat(160, 0).repeat(160, 1))
    top = round(160 * (1 - lower_begins))
    expected = np.asarray(whole.crop((80, top, 240, top + 160)), np.int16)
    seen = first_picture(target)
    assert seen.shape == expected.shape
    assert np.abs(seen - expected).mean() < 12


def test_its_colours_are_marked_as_before(path: Path, target: Path) -> None:
    """Red in BT.709 that is shown in BT.601 is another red."""
    still(path, size=(128, 128), colours=BT709)

    assert round_video(path, target)

    with av.open(target) as container:
        frame = next(container.decode(video=0))
    assert frame.colorspace == BT709
    red = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709).to_ndarray()[8:48, 8:48]
    assert np.abs(red.mean((0, 1)) - RED).max() < 8


# --- its time and its sound ---


@pytest.mark.parametrize("seconds", [0.2, 3])
def test_sound_and_picture_stay_as_they_were(path: Path, target: Path, seconds: float) -> None:
    path.write_bytes(video(seconds=seconds))

    assert round_video(path, target)

    assert times(target, "video") == pytest.approx(times(path, "video"), abs=0.001)
    assert times(target, "audio") == pytest.approx(times(path, "audio"), abs=0.001)
    assert probe_video(target).duration_ms == pytest.approx(probe_video(path).duration_ms, abs=50)
    data = target.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_without_sound_it_stays_without(path: Path, target: Path) -> None:
    path.write_bytes(video(with_sound=False))

    assert round_video(path, target)

    with av.open(target) as container:
        assert [track.type for track in container.streams] == ["video"]


@pytest.mark.parametrize("codec", ["mp3", "libopus", "aac"])
def test_any_sound_becomes_aac(path: Path, target: Path, codec: Literal["mp3", "libopus", "aac"]) -> None:
    still(path, size=(128, 128), moments=[number / 25 for number in range(51)], codec=codec)

    assert round_video(path, target)

    with av.open(target) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = [frame.to_ndarray() for frame in container.decode(audio=0)]
    assert np.concatenate(samples, axis=1).shape[1] == pytest.approx(96_000, abs=4_000)
    assert np.abs(samples[20]).max() > 0.5
    assert times(target, "audio")[0] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("write", [round_video, partial(shrink_video, max_bytes=1_000_000)], ids=["round", "shrunk"])
def test_frames_may_come_unevenly(path: Path, target: Path, write: Callable[[Path, Path], object]) -> None:
    moments = [0, 0.01, 0.015, 0.02, 0.5, 0.505, 0.9, 1]
    still(path, size=(128, 128), moments=moments)

    write(path, target)

    assert times(target, "video") == pytest.approx(moments, abs=0.001)


# --- what can't be ---


def test_a_whole_minute_is_not_too_long(path: Path, target: Path) -> None:
    path.write_bytes(video(seconds=60, width=64, height=64, with_sound=False))

    assert round_video(path, target)

    assert 59_900 <= probe_video(target).duration_ms <= 60_000


def test_what_is_longer_than_a_minute_can_t_be_a_note(path: Path, target: Path) -> None:
    path.write_bytes(tiny_mp4(seconds=61))

    assert not round_video(path, target)
    assert not target.exists()


def test_no_header_is_trusted_with_a_minute(path: Path, target: Path) -> None:
    """Each track's header says that it lasts a second (mdhd: its duration stands behind the time scale)."""
    data = bytearray(tiny_mp4(seconds=70))
    start = 0
    while (start := data.find(b"mdhd", start + 1)) > 0:
        data[start + 20 : start + 24] = data[start + 16 : start + 20]
    path.write_bytes(data)
    assert probe_video(path).duration_ms < 60_000

    assert not round_video(path, target)
    assert not target.exists()


def test_of_an_unknown_sound_no_note_is_made(path: Path, target: Path) -> None:
    path.write_bytes(video().replace(b"mp4a", b"zzzz").replace(b"esds", b"free"))

    assert not round_video(path, target)
    assert not target.exists()


BROKEN: dict[str, Callable[[], bytes]] = {
    "nothing": bytes,
    "a text": lambda: b"<html>Gone</html>",
    "a picture": lambda: photo("JPEG"),
    "a sound": sound,
    "its last byte missing": lambda: video()[:-1],
    "its end missing": lambda: tiny_mp4()[:-500],
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_video_leaves_nothing_behind(path: Path, target: Path, data: Callable[[], bytes]) -> None:
    path.write_bytes(data())

    with pytest.raises(BrokenVideo):
        round_video(path, target)

    assert not target.exists()


# --- who waits for it ---


def test_it_stops_when_nobody_waits_for_it(path: Path, target: Path) -> None:
    path.write_bytes(video())

    with pytest.raises(CancelledError):
        round_video(path, target, is_abandoned=target.exists)

    assert not target.exists()


async def test_the_studio_makes_it_and_says_whether_it_could(path: Path, target: Path, tmp_path: Path) -> None:
    path.write_bytes(video())
    long = tmp_path / "long.mp4"
    long.write_bytes(tiny_mp4(seconds=61))
    with closing(Studio()) as studio:
        could, could_not = await asyncio.gather(studio.round(path, target), studio.round(long, tmp_path / "none.mp4"))

    assert could
    assert not could_not
    assert {file.name for file in tmp_path.iterdir()} == {"video.mp4", "long.mp4", "round.mp4"}


async def test_a_cancelled_note_is_given_up(path: Path, target: Path) -> None:
    path.write_bytes(video(seconds=8, noisy=True))
    with closing(Studio()) as studio:
        making = asyncio.create_task(studio.round(path, target))
        while not target.exists():
            await asyncio.sleep(0)

        making.cancel()

        with pytest.raises(asyncio.CancelledError):
            await making
    assert not target.exists()
