"""Writing a video's picture anew, turned upright and filtered, beside its sound as it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.video.frame import PictureType
from av.video.stream import VideoStream

from bot.media.containers import open_container
from bot.media.video import first_frame

Filter = tuple[str, ...]
"""One of FFmpeg's filters, by name, and what it is given."""

_X264_OPTIONS = {"preset": "veryfast", "crf": "25", "threads": "1"}  # one thread leaves a core to the others

# By the degrees that a frame is to be turned counterclockwise.
_TURNS: Mapping[int, Sequence[tuple[str, ...]]] = {
    -90: [("transpose", "clock")],
    90: [("transpose", "cclock")],
    180: [("hflip",), ("vflip",)],
    -180: [("hflip",), ("vflip",)],
}


def transcode(
    source: Path,
    target: Path,
    size: tuple[int, int],
    *filters: Filter,
    options: Mapping[str, str],
    is_abandoned: Callable[[], bool],
) -> None:
    """Write an MP4 through `filters` and in another size, with x264's `options`; takes about half its length.

    Raises `BrokenVideo`, FFmpeg's own errors, and `CancelledError` once `is_abandoned` says so.
    """
    rotation = first_frame(source).rotation
    with (
        open_container(source) as container,
        av.open(target, "w", format="mp4", options={"movflags": "+faststart"}) as output,
    ):
        for packets in _packets(container, output, size, [*_TURNS.get(rotation, ()), *filters], options):
            if is_abandoned():
                raise CancelledError
            output.mux(packets)


def _packets(
    container: InputContainer,
    output: OutputContainer,
    size: tuple[int, int],
    filters: Sequence[Filter],
    options: Mapping[str, str],
) -> Iterator[Sequence["av.Packet[Any]"]]:
    """The tracks of the new video, packet by packet, as the source gives them."""
    source, *_ = container.streams.video
    source.codec_context.thread_count = 1
    width, height = size
    graph = _graph(source, [*filters, ("scale", f"{width}:{height}")])
    video = output.add_stream("libx264", source.average_rate, _X264_OPTIONS | dict(options))
    video.width, video.height = size
    sounds = container.streams.audio[:1]
    copies = [output.add_stream_from_template(sound) for sound in sounds]
    for packet in container.demux(source, *sounds):
        if packet.stream.index == source.index:
            for frame in source.decode(packet):
                graph.vpush(frame)
                filtered = graph.vpull()
                filtered.pict_type = PictureType.NONE  # or the encoder would repeat the source's choice of key frames
                yield video.encode(filtered)
        elif packet.dts is not None:  # the last one is empty
            packet.stream = copies[0]
            yield [packet]
    yield video.encode(None)


def _graph(track: VideoStream, filters: Sequence[Filter]) -> Graph:
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(template=track),
        *(graph.add(*one) for one in filters),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ).configure()
    return graph
