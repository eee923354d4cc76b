"""AKOOL's side of "resource address": fetches a photo and a voice by their URLs, and decodes them to be sure."""

import asyncio
import io
from dataclasses import dataclass, field

import av
import httpx
from PIL import Image

_MOST_BYTES = 50 << 20


class Unusable(Exception):
    """What stands at a URL can't be had, or can't be decoded. Never holds the URL, which may be signed."""


@dataclass(frozen=True)
class Fetched:
    """What stood at a URL, as it came."""

    url: str = field(repr=False)
    content_type: str
    data: bytes = field(repr=False)


async def fetch(http: httpx.AsyncClient, url: str, family: str) -> Fetched:
    """Fetch a file that says it is of `family` ("image" or "audio"), with no redirects. Raises `Unusable`."""
    try:
        async with http.stream("GET", url, follow_redirects=False) as response:
            content_type = response.headers.get("content-type", "")
            if response.status_code != httpx.codes.OK or not content_type.startswith(f"{family}/"):
                raise Unusable(f"HTTP {response.status_code}, {content_type!r} where {family} was asked for")
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > _MOST_BYTES:
                    raise Unusable(f"the {family} is too large")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unusable(f"the {family} can't be fetched: {type(error).__name__}") from None
    return Fetched(url, content_type, bytes(data))


async def measure(photo: Fetched, audio: Fetched) -> float:
    """Decode both to their ends; returns the seconds of sound. Raises `Unusable`."""
    try:
        return await asyncio.to_thread(_decode, photo.data, audio.data)
    except Exception as error:
        raise Unusable(f"can't be decoded: {type(error).__name__}") from error


def _decode(photo: bytes, audio: bytes) -> float:
    with Image.open(io.BytesIO(photo), formats=("JPEG", "PNG")) as image:
        image.load()
    with av.open(io.BytesIO(audio), mode="r", options={"format_whitelist": "mp3,wav,mov,mp4"}) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
