"""Any sound becomes an MP3: mono, 44.1 kHz, 96 kbit/s."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from bot.media.containers import CONTAINER_ERRORS, open_container
from bot.media.guards import blaming_file, whole_or_absent
from bot.media.refusals import MediaRefused, Refusal
from bot.media.results import Sound
from bot.media.sniff import Kind, sniff

_RATE_HZ = 44_100
_BITS_PER_SECOND = 96_000
_LAME_OPTIONS = {"compression_level": "7"}  # takes two thirds of the default's time
_BLOCK_SAMPLES = _RATE_HZ // 10

_LEAST_SECONDS = 0.5
_GRACE_SECONDS = 0.5  # encoders pad, and a recorder that stops at the limit stops a little late
_SILENCE_DBFS = -50  # RMS of the loudest tenth of a second
_SILENCE = 32768 * 10 ** (_SILENCE_DBFS / 20)


def make_sound(source: Path, target: Path, *, max_seconds: float) -> Sound:
    """Write the sound of `source`, whatever its container, to the MP3 `target`.

    It streams through, and decoding stops at `max_seconds`: no header is trusted with our time or memory.
    Raises `MediaRefused`, and leaves no target then; `OSError` where this machine is at fault (a full disk).
    """
    most_seconds = max_seconds + _GRACE_SECONDS
    with whole_or_absent(target), blaming_file(MediaRefused(Refusal.SOUND_DAMAGED), CONTAINER_ERRORS):
        with _opened(source) as container:
            track = _sound_track(container)
            if _claimed_seconds(container, track) > most_seconds:
                raise MediaRefused(Refusal.SOUND_TOO_LONG)
            samples, loudest = _encode(_blocks(_limited(_frames(container, track), most_seconds)), target)
        if not samples:
            raise MediaRefused(Refusal.SOUND_DAMAGED)
        if samples < _LEAST_SECONDS * _RATE_HZ:
            raise MediaRefused(Refusal.SOUND_TOO_SHORT)
        if loudest < _SILENCE:
            raise MediaRefused(Refusal.SILENT)
    return Sound(duration_ms=samples * 1000 // _RATE_HZ)


def _opened(source: Path) -> InputContainer:
    why_not = Refusal.SOUND_DAMAGED if sniff(source) is Kind.SOUND else Refusal.NOT_A_SOUND
    with blaming_file(MediaRefused(why_not), CONTAINER_ERRORS):
        return open_container(source)


def _sound_track(container: InputContainer) -> AudioStream:
    track = container.streams.best("audio")
    if not isinstance(track, AudioStream):
        raise MediaRefused(Refusal.NO_SOUND)
    return track


def _claimed_seconds(container: InputContainer, track: AudioStream) -> float:
    """What the header says; 0 where it says nothing."""
    if container.format.name == "aac":
        return 0  # it has no header: FFmpeg guesses from its first few frames, and may be wrong twentyfold
    if track.duration and track.time_base:
        return float(track.duration * track.time_base)
    return (container.duration or 0) / av.time_base


def _frames(container: InputContainer, track: AudioStream) -> Iterator[AudioFrame]:
    """The decoded sound. It may end in bytes that are none (tags, padding, a cut), but not be interrupted by them."""
    damage = None
    for packet in container.demux(track):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            damage = error
            continue
        if damage and frames and packet.size:  # the last packet is empty, and flushes the decoder
            raise damage
        yield from frames


def _limited(frames: Iterable[AudioFrame], most_seconds: float) -> Iterator[AudioFrame]:
    seconds = 0.0
    for frame in frames:
        seconds += frame.samples / frame.sample_rate
        if seconds > most_seconds:
            raise MediaRefused(Refusal.SOUND_TOO_LONG)
        yield frame


def _blocks(frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
    """The same sound in blocks of a tenth of a second, the last one shorter."""
    resampler = AudioResampler(format="s16p", layout="mono", rate=_RATE_HZ, frame_size=_BLOCK_SAMPLES)
    for frame in chain(frames, [None]):
        yield from resampler.resample(frame)


def _encode(blocks: Iterable[AudioFrame], target: Path) -> tuple[int, float]:
    """Write the MP3; gives the number of samples and the RMS of the loudest block, in 16 bits."""
    samples, loudest = 0, 0.0
    with av.open(target, "w", format="mp3", options={"id3v2_version": "0"}) as output:
        mp3 = output.add_stream("libmp3lame", _RATE_HZ, _LAME_OPTIONS, layout="mono", bit_rate=_BITS_PER_SECOND)
        for block in blocks:
            samples += block.samples
            loudest = max(loudest, float(np.sqrt(np.mean(np.square(block.to_ndarray(), dtype=np.float32)))))
            output.mux(mp3.encode(block))
        output.mux(mp3.encode(None))
    return samples, loudest
