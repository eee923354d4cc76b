"""The rendered video looks and sounds as it should."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bot.sandbox.talking import render_talking_photo

SAMPLES = Path(__file__).parent.parent / "bot" / "sandbox" / "samples"
MOUTH = (slice(215, 275), slice(215, 300))  # of the sample photo
FOREHEAD = (slice(100, 160), slice(215, 300))


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of syllables, then a second of silence."""
    path = tmp_path_factory.mktemp("voice") / "voice.mp3"
    seconds = np.arange(2 * 44100) / 44100
    syllables = np.sin(2 * np.pi * 220 * seconds) * (np.sin(2 * np.pi * 4 * seconds) > 0) * (seconds < 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100, layout="mono")
        sound = (syllables * 20000).astype(np.int16)[np.newaxis]
        frame = av.AudioFrame.from_ndarray(sound, format="s16p", layout="mono")
        frame.sample_rate, frame.time_base = 44100, Fraction(1, 44100)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def unrest(frames: NDArray[np.int16], where: tuple[slice, slice]) -> float:
    """How much a part of the picture changes from frame to frame."""
    return float(np.abs(np.diff(frames[:, where[0], where[1]], axis=0)).mean())


def test_the_mouth_moves_with_the_voice(voice: Path, tmp_path: Path) -> None:
    """Where it is loud the mouth moves, and the forehead does not; where it is silent neither does."""
    target = tmp_path / "talk.mp4"
    render_talking_photo(SAMPLES / "photo.jpg", voice, target)
    with av.open(str(target), "r") as container:
        frames = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)]).astype(np.int16)
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(2, abs=0.1)
    loud, silent = frames[:25], frames[30:]
    assert unrest(loud, MOUTH) > 3 * unrest(silent, MOUTH)
    assert unrest(loud, MOUTH) > 3 * unrest(loud, FOREHEAD)
    with av.open(str(target), "r") as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert np.abs(heard[:44100]).max() > 10 * np.abs(heard[50000:80000]).max()


@pytest.mark.parametrize(("size", "shown"), [((1600, 901), (640, 360)), ((201, 333), (200, 332)), ((9, 3), (8, 2))])
def test_pictures_without_a_face_talk_too(
    voice: Path, tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    """Any size becomes one that H.264 can have; the container is ready for streaming."""
    photo, target = tmp_path / "photo.png", tmp_path / "talk.mp4"
    Image.linear_gradient("L").resize(size).save(photo)
    render_talking_photo(photo, voice, target)
    with av.open(str(target), "r") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (*shown, "yuv420p")
    assert target.read_bytes().find(b"moov") < target.read_bytes().find(b"mdat")


def test_the_samples_are_what_people_send() -> None:
    """A small JPEG, and a voice note as Telegram's apps make them."""
    assert (SAMPLES / "photo.jpg").stat().st_size < 100_000
    with av.open(str(SAMPLES / "voice.ogg"), "r") as container:
        stream = container.streams.audio[0]
        assert (container.format.name, stream.codec_context.name) == ("ogg", "opus")
        assert (stream.rate, stream.layout.name) == (48000, "mono")
        assert container.duration is not None
        assert 5 <= container.duration / av.time_base <= 7
