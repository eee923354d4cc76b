"""A video note is the square part of a video, as long and as loud as before."""

from pathlib import Path

import av
import numpy as np
import pytest

from bot.media.results import BrokenVideo
from bot.media.rounding import round_video
from bot.media.video import probe_video
from world import tiny_mp4


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "video.mp4"
    path.write_bytes(data)
    return path


def striped_mp4(path: Path, *, width: int, height: int) -> Path:
    """Six frames whose upper half is white and whose lower half is black."""
    with av.open(path, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=10, width=width, height=height, pix_fmt="yuv420p")
        picture = np.zeros((height, width, 3), np.uint8)
        picture[: height // 2] = 255
        for _ in range(6):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    return path


@pytest.mark.parametrize(("width", "height", "side"), [(640, 960, 480), (960, 640, 480), (64, 96, 64), (362, 242, 242)])
def test_it_is_square_and_never_larger_than_it_was(tmp_path: Path, width: int, height: int, side: int) -> None:
    target = tmp_path / "round.mp4"
    assert round_video(saved(tmp_path, tiny_mp4(width=width, height=height)), target)
    clip = probe_video(target)
    assert (clip.width, clip.height) == (side, side)
    assert clip.duration_ms == pytest.approx(1000, abs=120)
    with av.open(target) as container:
        assert container.streams.audio


def test_of_a_portrait_the_upper_part_is_kept(tmp_path: Path) -> None:
    """Twice as high as wide: a third of what goes is taken from the top, so more of the white half is left."""
    target = tmp_path / "round.mp4"
    assert round_video(striped_mp4(tmp_path / "video.mp4", width=200, height=400), target)
    with av.open(target) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="gray")
    assert (frame > 127).mean() == pytest.approx(2 / 3, abs=0.05)


def test_what_is_longer_than_a_minute_can_t_be_a_note(tmp_path: Path) -> None:
    target = tmp_path / "round.mp4"
    assert not round_video(saved(tmp_path, tiny_mp4(seconds=61)), target)
    assert not target.exists()


def test_a_broken_video_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "round.mp4"
    with pytest.raises(BrokenVideo):
        round_video(saved(tmp_path, tiny_mp4()[:-500]), target)
    assert not target.exists()
