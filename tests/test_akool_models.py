"""What is made of AKOOL's objects."""

import json
from pathlib import Path
from typing import Any

import pytest

from akool import Callback, Video, VideoStatus
from akool.reading import Unreadable

SAMPLES = Path(__file__).parent / "samples" / "akool"
NO_STATUS: tuple[object, ...] = ("3", None, True, 3.0, [], 10**4000)
NO_URL: tuple[object, ...] = (7, [], {}, "a\nb", "\x00", "https://\ud800")


def video(**data: Any) -> Video:
    return Video.from_json("64dd", {"_id": "64dd", "video_status": 2, "video": "", **data})


def sample(name: str) -> Video:
    data = json.loads((SAMPLES / f"{name}.json").read_text())["data"]
    return Video.from_json(data["_id"], data)


def test_a_render_under_way() -> None:
    """The manual page's example; its `video_id` and the empty `video` mean nothing."""
    assert sample("processing") == Video("64dd92c1f0b6684651e90e09", VideoStatus.PROCESSING)


def test_a_finished_video() -> None:
    """The result is `video`; `video_url` is an input."""
    url = "https://d2qf6ukcym4kn9.cloudfront.net/1757785499654-8067.mp4"

    assert sample("completed") == Video("68c5ac7ff0eec691e90065c8", VideoStatus.COMPLETED, url, deduction_credit=30)
    assert sample("completed").done


def test_a_failed_render() -> None:
    """The reason stands under a sibling product's name, and no URL is invented from `video_url`."""
    reason = "Failed to process the video. Please check your input resources."

    assert sample("failed") == Video("689174694b4dbdd4ab3d28c9", VideoStatus.FAILED, None, reason, 0)


@pytest.mark.parametrize(
    ("value", "status", "pending"),
    [
        (1, VideoStatus.QUEUEING, True),
        (2, VideoStatus.PROCESSING, True),
        (3, VideoStatus.COMPLETED, False),
        (4, VideoStatus.FAILED, False),
        (0, VideoStatus.UNKNOWN, True),
        (5, VideoStatus.UNKNOWN, True),
        (-1, VideoStatus.UNKNOWN, True),
    ],
)
def test_a_status_that_nobody_knows_is_pending(value: int, status: VideoStatus, pending: bool) -> None:  # noqa: FBT001
    """AKOOL may add values."""
    assert video(video_status=value).status is status
    assert status.pending is pending


@pytest.mark.parametrize("url", ["", None])
def test_completed_without_a_url_is_not_done(url: str | None) -> None:
    """It happens on the way, for a minute."""
    assert not video(video_status=3, video=url).done


@pytest.mark.parametrize("name", ["error_reason", "faceswap_fail_reason", "error_msg", "error_message", "fail_reason"])
def test_the_failure_reason_has_many_names(name: str) -> None:
    """One clean line, short enough for a log, whatever is in it."""
    assert video(video_status=4, **{name: " no\nface\ud800 "}).failure_reason == "no face"
    assert video(video_status=4, **{name: "x" * 9999}).failure_reason == "x" * 300
    assert video(video_status=2, **{name: "no face"}).failure_reason is None


def test_the_first_reason_with_something_in_it_counts() -> None:
    assert video(video_status=4, error_reason="", error_msg=7, fail_reason="why").failure_reason == "why"


@pytest.mark.parametrize(
    "wrong",
    [
        *({"video_status": value} for value in NO_STATUS),
        *({"video": value} for value in NO_URL),
    ],
)
def test_what_decides_must_be_right(wrong: dict[str, Any]) -> None:
    """A status or a URL of another type is no status and no URL."""
    with pytest.raises(Unreadable):
        video(**wrong)


@pytest.mark.parametrize("credit", ["30", None, True, float("nan"), float("inf"), 10**4000, []])
def test_a_strange_extra_spoils_nothing(credit: object) -> None:
    """The undocumented `deduction_credit` is taken where it is a number; a finished video stays one."""
    finished = video(video_status=3, video="https://x/y.mp4", deduction_credit=credit)

    assert finished.done
    assert finished.deduction_credit is None


@pytest.mark.parametrize("identity", [None, "", 7, "a b", "../x", "a\x00", "x" * 129, "\ud800"])
def test_a_callback_without_a_sane_id_is_none(identity: object) -> None:
    """The `_id` goes into URLs and rows."""
    with pytest.raises(Unreadable):
        Callback.from_json({"_id": identity, "status": 3})
