"""Small pictures, sounds and videos, made when they are first asked for. The same call gives the same bytes."""

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import pillow_heif
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from PIL import Image

PORTRAIT = Path(__file__).parent.parent / "bot" / "sandbox" / "samples" / "photo.jpg"

SOUNDS: dict[str, dict[str, Any]] = {
    "voice.ogg": {"container": "ogg", "codec": "libopus"},
    "song.mp3": {"container": "mp3", "codec": "libmp3lame"},
    "memo.m4a": {"container": "ipod", "codec": "aac"},
    "memo.mov": {"container": "mov", "codec": "aac"},
    "take.wav": {"container": "wav", "codec": "pcm_s16le"},
    "take.aiff": {"container": "aiff", "codec": "pcm_s16be"},
    "take.flac": {"container": "flac", "codec": "flac"},
    "radio.aac": {"container": "adts", "codec": "aac"},
    "call.amr": {"container": "amr", "codec": "libopencore_amrnb", "rate": 8_000, "bits_per_second": 12_200},
    "voice.webm": {"container": "webm", "codec": "libopus"},
    "voice.mka": {"container": "matroska", "codec": "libopus"},
}
PICTURES = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF")


# --- pictures ---


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    target = BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(target, **options)
    else:
        image.save(target, kind, **options)
    return target.getvalue()


@cache
def portrait(mode: str = "RGB") -> Image.Image:
    return Image.open(PORTRAIT).convert(mode)


@cache
def photo(kind: str) -> bytes:
    return saved(portrait(), kind)


def quarters(width: int = 320, height: int = 256) -> Image.Image:
    """Red and lime above, blue and white below: shows how it was turned."""
    image = Image.new("RGB", (2, 2))
    for at, colour in (((0, 0), (255, 0, 0)), ((1, 0), (0, 255, 0)), ((0, 1), (0, 0, 255)), ((1, 1), (255, 255, 255))):
        image.putpixel(at, colour)
    return image.resize((width, height), Image.Resampling.NEAREST)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that claims these sides, with other chunks than pixels."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in (header, *chunks, (b"IEND", b""))
    )


def jpeg_claiming(width: int, height: int, **options: Any) -> bytes:
    """A small JPEG whose header claims these sides."""
    data = saved(Image.new("L", (8, 8)), "JPEG", **options)
    start = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


# --- sound ---


def noise(seconds: float, *, rate: int, loudness: float = 0.2) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(0, loudness, int(seconds * rate)).clip(-1, 1).astype(np.float32)


@cache
def sound(
    container: str = "ogg",
    codec: str = "libopus",
    *,
    seconds: float = 2,
    rate: int = 48_000,
    loudness: float = 0.2,
    quiet_seconds: float = 0,
    bits_per_second: int = 64_000,
    with_header: bool = True,
) -> bytes:
    """Noise of this loudness (its RMS; 1 is full scale), after so many seconds of silence.

    `with_header=False` leaves out what the MP3 muxer puts before the sound.
    """
    options = {} if with_header else {"write_xing": "0", "id3v2_version": "0"}
    samples = np.concatenate(
        [np.zeros(int(quiet_seconds * rate), np.float32), noise(seconds, rate=rate, loudness=loudness)]
    )
    target = BytesIO()
    with av.open(target, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate, layout="mono", bit_rate=bits_per_second)
        assert isinstance(stream, AudioStream)
        _encode_sound(output, stream, samples)
    return target.getvalue()


def _encode_sound(output: OutputContainer, stream: AudioStream, samples: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    rate = stream.codec_context.sample_rate
    for start in range(0, len(samples), 1000):
        frame = AudioFrame.from_ndarray(samples[None, start : start + 1000], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def wav(data: bytes, *, rate: int, code: int = 1, bits: int = 16) -> bytes:
    """A WAV with this header: code 1 is integers, 3 floats."""
    size = bits // 8
    fmt = struct.pack("<IHHIIHH", 16, code, 1, rate, rate * size % (1 << 32), size, bits)
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + fmt + b"data" + struct.pack("<I", len(data)) + data
    )


# --- video ---

# The beginning of tkhd's matrix (ISO 14496-12, 8.3.2) for so many degrees clockwise: a, b, u, c, d.
_MATRICES = {90: (0, 1, 0, -1, 0), 180: (-1, 0, 0, 0, -1), 270: (0, -1, 0, 1, 0)}


@cache
def video(
    *,
    seconds: float = 1,
    width: int = 160,
    height: int = 128,
    turned: int = 0,
    noisy: bool = False,
    with_sound: bool = True,
    frames_per_key: int = 25,
    flags: str = "+faststart",
    container: str = "mp4",
) -> bytes:
    """A video of the quarters at 25 frames per second, that is to be shown `turned` clockwise by so many degrees."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "video")
        with av.open(path, "w", format=container, options={"movflags": flags} if flags else {}) as output:
            picture = output.add_stream("libx264", 25, {"preset": "ultrafast", "g": str(frames_per_key)})
            picture.width, picture.height = width, height
            voice = output.add_stream("aac", 44_100, layout="mono") if with_sound else None
            for number, pixels in enumerate(_frames(round(seconds * 25), width, height, noisy=noisy)):
                frame = VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                output.mux(picture.encode(frame))
            output.mux(picture.encode(None))
            if voice:
                _encode_sound(output, voice, noise(seconds, rate=44_100))
        data = path.read_bytes()
    return _turned(data, turned) if turned else data


def _frames(number: int, width: int, height: int, *, noisy: bool) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    still = np.asarray(quarters(width, height))
    random = np.random.default_rng(1)
    for _ in range(number):
        yield still // 2 + random.integers(0, 128, still.shape, np.uint8) if noisy else still


def _turned(data: bytes, degrees: int) -> bytes:
    start = data.index(b"tkhd") + 44
    matrix = struct.pack(">5i", *(number << 16 for number in _MATRICES[degrees]))
    return data[:start] + matrix + data[start + len(matrix) :]
