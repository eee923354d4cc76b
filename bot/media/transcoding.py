"""Writing a video's picture anew, turned upright and filtered, beside its sound."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from bot.media.containers import open_container
from bot.media.refusals import MediaRefused, Refusal
from bot.media.video import first_frame

BUFFER_SECONDS = 2  # for so long may a video take more than its bits per second

Filter = tuple[str, ...]
"""One of FFmpeg's filters, by name, and what it is given."""

_X264_OPTIONS = {"preset": "veryfast", "crf": "25", "threads": "1"}  # one thread leaves a core to the others
_TICK = Fraction(1, 90_000)  # in steps of the average rate, frames that come unevenly would fall together
_COLOUR_TAGS = (
    "colorspace",
    "color_primaries",
    "color_trc",
)  # without them players guess, by the size
_AAC_HZ, _AAC_BITS_PER_SECOND = 48_000, 128_000

# By the degrees that a frame is to be turned counterclockwise.
_TURNS: Mapping[int, Sequence[Filter]] = {
    -90: [("transpose", "clock")],
    90: [("transpose", "cclock")],
    180: [("hflip",), ("vflip",)],
    -180: [("hflip",), ("vflip",)],
}

T = TypeVar("T")
_Packets = Sequence["av.Packet[Any]"]
_Track = Callable[["av.Packet[Any]"], _Packets]  # from a packet of the source to those of the target


def transcode(
    source: Path,
    target: Path,
    size: tuple[int, int],
    *filters: Filter,
    bits_per_second: int,
    most_seconds: float = inf,
    is_abandoned: Callable[[], bool],
) -> None:
    """Write an MP4 through `filters` and in another size, with so many bits per second of picture at most.

    Sound is copied where it is AAC, else made into it. Takes about half the video's length.
    Raises `BrokenVideo`, FFmpeg's own errors, `MediaRefused` where it goes on after `most_seconds`, whatever its header
    says, and `CancelledError` once `is_abandoned` says so.
    """
    turns = _TURNS.get(first_frame(source).rotation, ())
    with (
        open_container(source) as container,
        av.open(target, "w", format="mp4", options={"movflags": "+faststart"}) as output,
    ):
        picture, sounds = container.streams.video[0], container.streams.audio[:1]
        tracks = {picture.index: _video(picture, output, size, [*turns, *filters], bits_per_second)}
        tracks |= {sound.index: _sound(sound, output) for sound in sounds}
        for packet in container.demux(picture, *sounds):
            if is_abandoned():
                raise CancelledError
            if packet.pts is not None and packet.pts * packet.time_base >= most_seconds:
                raise MediaRefused(Refusal.FILE_TOO_BIG)
            output.mux(tracks[packet.stream.index](packet))


def _video(
    track: VideoStream, output: OutputContainer, size: tuple[int, int], filters: Sequence[Filter], bits_per_second: int
) -> _Track:
    track.codec_context.thread_count = 1
    limit = {"maxrate": str(bits_per_second), "bufsize": str(bits_per_second * BUFFER_SECONDS)}
    video = output.add_stream("libx264", track.average_rate, _X264_OPTIONS | limit)
    video.width, video.height = size
    video.codec_context.time_base = _TICK
    for name in _COLOUR_TAGS:
        setattr(video.codec_context, name, getattr(track.codec_context, name))
    scale = f"{video.width}:{video.height}:out_range=tv:out_color_matrix={track.codec_context.colorspace}"
    graph = _graph(track, [*filters, ("scale", scale), ("format", "yuv420p")])

    def again(packet: "av.Packet[VideoStream]") -> _Packets:
        frames = (_filtered(graph, frame) for frame in packet.decode())
        return [made for frame in _ended(frames, packet) for made in video.encode(frame)]

    return again


def _sound(track: AudioStream, output: OutputContainer) -> _Track:
    if getattr(track, "name", None) == "aac":  # a track of an unknown codec has no name
        copy = output.add_stream_from_template(track)
        return lambda packet: _moved(packet, copy)
    sound = output.add_stream("aac", _AAC_HZ, layout="stereo", bit_rate=_AAC_BITS_PER_SECOND)

    def again(packet: "av.Packet[AudioStream]") -> _Packets:
        return [made for frame in _ended(packet.decode(), packet) for made in sound.encode(frame)]

    return again


def _moved(packet: "av.Packet[Any]", track: AudioStream) -> _Packets:
    packet.stream = track
    return [packet] if packet.size else []


def _ended(frames: Iterable[T], packet: "av.Packet[Any]") -> Iterator[T | None]:
    """The frames of a packet; None, which flushes an encoder, behind those of the last packet, which is empty."""
    yield from frames
    if not packet.size:
        yield None


def _graph(track: VideoStream, filters: Sequence[Filter]) -> Graph:
    graph = Graph()
    nodes = [graph.add_buffer(template=track), *(graph.add(*one) for one in filters), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    return graph


def _filtered(graph: Graph, frame: VideoFrame) -> VideoFrame:
    graph.vpush(frame)
    filtered = graph.vpull()
    filtered.pict_type = PictureType.NONE  # or the encoder would repeat the source's choice of key frames
    return filtered
