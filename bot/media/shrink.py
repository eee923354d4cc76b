"""A smaller copy of a video that is too large for Telegram."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.video.frame import PictureType
from av.video.stream import VideoStream

from bot.media.containers import CONTAINER_ERRORS, open_container
from bot.media.guards import blaming_file, whole_or_absent
from bot.media.refusals import MediaRefused, Refusal
from bot.media.results import Clip
from bot.media.video import first_frame, probe_video

_SHORT_SIDE = 720
_X264_OPTIONS = {"preset": "veryfast", "crf": "25", "threads": "1"}  # one thread leaves a core to the others
_LEAST_BITS_PER_SECOND = 150_000  # with less, a talking face is not worth sending
_PAYLOAD = 0.95  # of the file; the rest is the container's own
_BUFFER_SECONDS = 2

# By the degrees that a frame is to be turned counterclockwise.
_TURNS: Mapping[int, Sequence[tuple[str, ...]]] = {
    -90: [("transpose", "clock")],
    90: [("transpose", "cclock")],
    180: [("hflip",), ("vflip",)],
    -180: [("hflip",), ("vflip",)],
}


def shrink_video(
    source: Path, target: Path, *, max_bytes: int, is_abandoned: Callable[[], bool] = lambda: False
) -> None:
    """Write an MP4 again, in 720p and at most `max_bytes`; its sound is copied. Takes about half its length.

    Raises `MediaRefused` where it can't be made to fit, `BrokenVideo`, `CancelledError` once `is_abandoned` says so,
    and leaves no target then; `OSError` where this machine is at fault.
    """
    clip = probe_video(source)
    rotation = first_frame(source).rotation
    with whole_or_absent(target), blaming_file(MediaRefused(Refusal.FILE_TOO_BIG), CONTAINER_ERRORS):
        bits_per_second = _affordable_bits_per_second(source, max_bytes, clip.duration_ms / 1000)
        if bits_per_second < _LEAST_BITS_PER_SECOND:
            raise MediaRefused(Refusal.FILE_TOO_BIG)
        with (
            open_container(source) as container,
            av.open(target, "w", format="mp4", options={"movflags": "+faststart"}) as output,
        ):
            for packets in _smaller(container, output, _size(clip), rotation, bits_per_second):
                if is_abandoned():
                    raise CancelledError
                output.mux(packets)
        if target.stat().st_size > max_bytes:
            raise MediaRefused(Refusal.FILE_TOO_BIG)


def _affordable_bits_per_second(source: Path, max_bytes: int, seconds: float) -> int:
    """What the video track may take at most, so that with its buffer full and the sound beside it all fits."""
    with open_container(source) as container:
        tracks = container.streams.audio[:1]
        sound_bytes = sum(packet.size for packet in container.demux(tracks)) if tracks else 0
    return int((max_bytes * _PAYLOAD - sound_bytes) * 8 / (seconds + _BUFFER_SECONDS))


def _size(clip: Clip) -> tuple[int, int]:
    """Sides for a short side of 720 at most; even, since 4:2:0 halves them."""
    factor = min(1, _SHORT_SIDE / min(clip.width, clip.height))
    return round(clip.width * factor / 2) * 2, round(clip.height * factor / 2) * 2


def _smaller(
    container: InputContainer, output: OutputContainer, size: tuple[int, int], rotation: int, bits_per_second: int
) -> Iterator[Sequence["av.Packet[Any]"]]:
    """The tracks of the smaller video, packet by packet, as the source gives them."""
    source, *_ = container.streams.video
    source.codec_context.thread_count = 1
    graph = _turning_and_scaling(source, size, rotation)
    limit = {"maxrate": str(bits_per_second), "bufsize": str(bits_per_second * _BUFFER_SECONDS)}
    video = output.add_stream("libx264", source.average_rate, _X264_OPTIONS | limit)
    video.width, video.height = size
    sounds = container.streams.audio[:1]
    copies = [output.add_stream_from_template(sound) for sound in sounds]
    for packet in container.demux(source, *sounds):
        if packet.stream.index == source.index:
            for frame in source.decode(packet):
                graph.vpush(frame)
                smaller = graph.vpull()
                smaller.pict_type = PictureType.NONE  # or the encoder would repeat the source's choice of key frames
                yield video.encode(smaller)
        elif packet.dts is not None:  # the last one is empty
            packet.stream = copies[0]
            yield [packet]
    yield video.encode(None)


def _turning_and_scaling(track: VideoStream, size: tuple[int, int], rotation: int) -> Graph:
    width, height = size
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(template=track),
        *(graph.add(*turn) for turn in _TURNS.get(rotation, ())),
        graph.add("scale", f"{width}:{height}"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ).configure()
    return graph
