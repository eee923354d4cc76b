"""A stand-in for AKOOL's art: the photo's mouth opens with the loudness of the voice, and the head sways a little."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import dlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]

_FRAMES_PER_SECOND = 25
_SAMPLE_RATE = 44100
_SAMPLES_PER_FRAME = _SAMPLE_RATE // _FRAMES_PER_SECOND
_LONG_SIDE = 640
_CONTAINERS = {"format_whitelist": "mp3,wav,ogg,mov,mp4,flac"}  # or a playlist could have local files read

_MOUTH_SHAPES = 14
_INSIDE_OF_MOUTH = (52, 16, 18)
_QUIET = 0.08  # of the loud frames' loudness: the mouth stays shut
_SWAY_SECONDS = 4.3
_SWAY = 0.012  # of the picture's width, to either side


@dataclass(frozen=True)
class Mouth:
    """Where the lips meet, and how far things reach from there, in pixels."""

    x: float
    y: float
    half_width: float
    widest: float
    chin: float


def render_talking_photo(photo_path: Path, audio_path: Path, target_path: Path) -> None:
    """Render an mp4 (H.264, AAC, 25 frames a second, faststart) as long as the sound.

    Raises what Pillow and PyAV raise for files that they can't decode.
    """
    photo = _load_photo(photo_path)
    sound = _load_sound(audio_path)
    mouth = _find_mouth(photo)
    shapes = [_open_mouth(photo, mouth, level / (_MOUTH_SHAPES - 1)) for level in range(_MOUTH_SHAPES)]
    tag = _tag()
    with av.open(str(target_path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=_FRAMES_PER_SECOND, options={"preset": "veryfast", "crf": "23"})
        video.width, video.height = photo.size
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        voice = container.add_stream("aac", rate=_SAMPLE_RATE, layout="mono")
        for number, openness in enumerate(_openness(sound)):
            picture = _sway(shapes[round(openness * (_MOUTH_SHAPES - 1))], number / _FRAMES_PER_SECOND)
            picture.paste(tag, (8, 8), tag)
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _FRAMES_PER_SECOND)
            container.mux(video.encode(frame))
            start = number * _SAMPLES_PER_FRAME
            container.mux(voice.encode(_audio_frame(sound[start : start + _SAMPLES_PER_FRAME], start)))
        container.mux(video.encode(None))
        container.mux(voice.encode(None))


# --- the voice ---


def _load_sound(path: Path) -> Samples:
    """The sound, mono, with silence up to the end of the last video frame."""
    resampler = av.AudioResampler("fltp", "mono", _SAMPLE_RATE)
    with av.open(str(path), "r", options=_CONTAINERS) as container:
        frames = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    frames += resampler.resample(None)
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)
    return np.pad(sound, (0, -len(sound) % _SAMPLES_PER_FRAME))


def _openness(sound: Samples) -> list[float]:
    """How far the mouth is open in each video frame, 0 to 1: the loudness there against the loud parts' own."""
    loudness = np.sqrt(np.mean(sound.reshape(-1, _SAMPLES_PER_FRAME) ** 2, axis=1))
    relative = loudness / max(float(np.percentile(loudness, 95)), 1e-4)
    wished = np.where(relative < _QUIET, 0, np.clip(relative, 0, 1) ** 0.7)
    openness, shown = 0.0, []
    for wish in wished:
        openness += (float(wish) - openness) * (0.75 if wish > openness else 0.5)
        shown.append(openness)
    return shown


def _audio_frame(samples: Samples, start: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
    frame.sample_rate = _SAMPLE_RATE
    frame.pts, frame.time_base = start, Fraction(1, _SAMPLE_RATE)
    return frame


# --- the face ---


def _load_photo(path: Path) -> Image.Image:
    """The photo, no larger than the video shall be, with even sides as H.264 wants them."""
    with Image.open(path) as image:
        image.draft("RGB", (_LONG_SIDE, _LONG_SIDE))
        photo = image.convert("RGB")
    scale = min(1, _LONG_SIDE / max(photo.size))
    width, height = (max(2, round(side * scale) // 2 * 2) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)


@cache
def _detector() -> Callable[[Pixels, int], Sequence[Any]]:
    detector: Callable[[Pixels, int], Sequence[Any]] = dlib.get_frontal_face_detector()
    return detector


def _find_mouth(photo: Image.Image) -> Mouth:
    """The mouth of the largest face; where there is none, the lower middle has to speak."""
    boxes = _detector()(np.asarray(photo), 0)
    if boxes:
        box = max(boxes, key=lambda box: box.area())
        left, top, size = box.left(), box.top(), box.width()
    else:
        size = min(photo.size) // 2
        left, top = (photo.width - size) // 2, (photo.height - size) // 2
    return Mouth(
        x=left + 0.5 * size,
        y=top + 0.745 * size,
        half_width=0.19 * size,
        widest=0.12 * size,
        chin=0.5 * size,
    )


def _open_mouth(photo: Image.Image, mouth: Mouth, openness: float) -> Image.Image:
    """The photo with what lies between lower lip and chin squeezed downwards, and the dark of a mouth above it."""
    pixels: Pixels = np.array(photo)
    top, bottom = max(0, int(mouth.y)), min(photo.height, int(mouth.y + mouth.chin))
    left, right = max(0, int(mouth.x - mouth.half_width)), min(photo.width, int(mouth.x + mouth.half_width))
    across = (np.arange(left, right) - mouth.x) / mouth.half_width
    drop = openness * mouth.widest * np.clip(1 - across**2, 0, 1) ** 0.8  # of the lower lip, for each column
    below = np.arange(top, bottom)[:, np.newaxis] - mouth.y
    source = mouth.y + np.clip((below - drop) / (1 - drop / mouth.chin), 0, None)

    upper = np.clip(source.astype(int), 0, photo.height - 2)
    columns = np.arange(left, right)
    fraction = (source - upper)[..., np.newaxis]
    moved = pixels[upper, columns] * (1 - fraction) + pixels[upper + 1, columns] * fraction

    edge = 1.5  # pixels over which the dark fades into the lips
    dark = np.clip((drop - below) / edge, 0, 1) * np.clip(below / edge + 0.5, 0, 1) * np.clip(drop / edge, 0, 1)
    dark = dark[..., np.newaxis]
    pixels[top:bottom, left:right] = moved * (1 - dark) + np.array(_INSIDE_OF_MOUTH) * dark
    return Image.fromarray(pixels)


# --- the frame ---


def _sway(picture: Image.Image, seconds: float) -> Image.Image:
    """The picture a little enlarged, and drifting in a flat figure of eight."""
    turn = 2 * math.pi * seconds / _SWAY_SECONDS
    width, height = picture.size
    left = width * _SWAY * (1 + math.sin(turn))
    top = height * _SWAY * (1 + math.sin(2 * turn) / 3)
    box = (left, top, left + width * (1 - 2 * _SWAY), top + height * (1 - 2 * _SWAY))
    return picture.resize(picture.size, Image.Resampling.BILINEAR, box=box)


def _tag() -> Image.Image:
    """A label that nobody can mistake for AKOOL's work."""
    tag = Image.new("RGBA", (92, 22), (0, 0, 0, 160))
    ImageDraw.Draw(tag).text((46, 11), "SANDBOX", fill="white", font=ImageFont.load_default(16), anchor="mm")
    return tag
