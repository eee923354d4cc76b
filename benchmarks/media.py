"""What people send and what AKOOL makes of it, in the sizes of real life; made anew, the same each time."""

import io
from functools import cache
from itertools import cycle
from pathlib import Path

import av
import numpy as np
from PIL import Image

_SAMPLES = Path(__file__).parents[1] / "bot" / "sandbox" / "samples"
_PORTRAIT = _SAMPLES / "photo.jpg"
VOICE = _SAMPLES / "voice.ogg"  # 6 s of speech

_FRAMES_PER_SECOND = 25
_BITS_PER_SECOND = 2_000_000
_SAMPLE_RATE_HZ = 44_100
_AAC_FRAME_SAMPLES = 1024


@cache
def photo() -> bytes:
    """The sample portrait in the size of Telegram's photos: 1280 pixels on the long side."""
    target = io.BytesIO()
    with Image.open(_PORTRAIT) as image:
        image.resize((1280, 1280)).save(target, "JPEG", quality=87)
    return target.getvalue()


@cache
def video(*, side: int = 720, seconds: int = 6) -> bytes:
    """A talking photo's like: H.264 and AAC, grainy enough for about 1.5 MB."""
    target = io.BytesIO()
    with Image.open(_PORTRAIT) as image:
        portrait = np.asarray(image.convert("RGB").resize((side, side)), np.int16)
    with av.open(target, "w", format="mp4") as container:
        options = {"preset": "ultrafast"}
        picture = container.add_stream("libx264", rate=_FRAMES_PER_SECOND, width=side, height=side, options=options)
        picture.pix_fmt, picture.bit_rate = "yuv420p", _BITS_PER_SECOND
        sound = container.add_stream("aac", rate=_SAMPLE_RATE_HZ, layout="mono")
        grain = np.random.default_rng(1).integers(-16, 16, portrait.shape, np.int16)
        stills = [np.clip(portrait + np.roll(grain, 7 * turn, axis=1), 0, 255).astype(np.uint8) for turn in range(5)]
        for _, pixels in zip(range(seconds * _FRAMES_PER_SECOND), cycle(stills), strict=False):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for number in range(seconds * _SAMPLE_RATE_HZ // _AAC_FRAME_SAMPLES):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = _SAMPLE_RATE_HZ, number * _AAC_FRAME_SAMPLES
            container.mux(sound.encode(frame))
        container.mux(picture.encode())
        container.mux(sound.encode())
    return target.getvalue()
