"""What a store of objects can do, and what its keys look like.

StoreError
├── ObjectMissing      there is no such object
└── StoreUnavailable   the store does not work now; the message says what, and holds no secret
"""

import base64
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, Protocol

FOLDERS = ("in", "out")  # what goes to AKOOL, and what came of it
_TOKEN_BYTES = 20  # 160 random bits: a key is what keeps a public object private
_CONTENT_TYPES = {"jpg": "image/jpeg", "mp3": "audio/mpeg", "mp4": "video/mp4"}
_KEY = re.compile(rf"(?:{'|'.join(FOLDERS)})/[a-z2-7]{{32}}\.(?:{'|'.join(_CONTENT_TYPES)})")


class StoreError(Exception):
    """A store could not do what it was asked."""


class ObjectMissing(StoreError):
    """There is no such object."""


class StoreUnavailable(StoreError):
    """The store does not work now."""


class ObjectStore(Protocol):
    """Every method may raise `StoreUnavailable`; keys come from `new_key`, any other is a `ValueError`."""

    async def start(self) -> None:
        """Make ready what the other methods need. Call it once, before them."""
        ...

    async def put(self, key: str, source: Path) -> None:
        """Store the file `source`, in a stream, durably. What was there before is replaced."""
        ...

    def open(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A local file with the object's content, for as long as the block lasts. Raises `ObjectMissing`."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the object, if it is there."""
        ...

    def url(self, key: str, *, ttl_seconds: int) -> str:
        """A URL at which the outside gets the object by GET for so long. Costs no I/O."""
        ...

    def keys(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """Each key that begins so, and when its object was last written (ms since the epoch), in no order."""
        ...

    async def tidy(self) -> None:
        """Remove what killed processes left half written."""
        ...

    async def check(self) -> None:
        """See whether the store can be used now, or raise `StoreUnavailable`."""
        ...

    async def close(self) -> None:
        """Give back what the store holds; it can't be used any more."""
        ...


def new_key(folder: Literal["in", "out"], extension: Literal["jpg", "mp3", "mp4"]) -> str:
    """A key that nobody can guess, and that ends in its true extension."""
    token = base64.b32encode(secrets.token_bytes(_TOKEN_BYTES)).decode().lower()
    return f"{folder}/{token}.{extension}"


def is_key(text: str) -> bool:
    """Whether the text is one of our keys; nothing else gets near a path."""
    return _KEY.fullmatch(text) is not None


def checked(key: str) -> str:
    """The key itself; raises `ValueError` where it is none."""
    if not is_key(key):
        raise ValueError("this is no key")
    return key


def content_type(key: str) -> str:
    """The media type of an object, by its key's extension."""
    return _CONTENT_TYPES[checked(key).rpartition(".")[2]]
