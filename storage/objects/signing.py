"""Signed, expiring URLs of the form `<root>/media/<expires>/<signature>/<key>`.

The signature stands in the path, so that the URL ends in the file's true extension: some fetchers look there. It is
HMAC-SHA256 over the key and the expiry (seconds since the epoch), cut to 160 bits, in base64url.
"""

import base64
import hmac
import re
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto

from storage.objects.store import checked, is_key

_SIGNATURE_BYTES = 20
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}")


class Verdict(Enum):
    OK = auto()
    EXPIRED = auto()
    FORGED = auto()


class MediaSigner:
    """Signs with the first secret and accepts all of them, so that a secret can be replaced in peace."""

    def __init__(self, secrets: Sequence[bytes], root_url: str, *, now: Callable[[], float] = time.time) -> None:
        self._secrets = tuple(secrets)
        self._root_url = root_url.rstrip("/")
        self._now = now

    def url(self, key: str, *, ttl_seconds: int) -> str:
        expires = str(int(self._now()) + ttl_seconds)
        signature = _sign(self._secrets[0], expires, checked(key))
        return f"{self._root_url}/media/{expires}/{signature}/{key}"

    def verify(self, expires: str, signature: str, key: str) -> Verdict:
        """Judge the three changing parts of a URL's path, whatever they are."""
        if not is_key(key) or not _EXPIRES.fullmatch(expires):
            return Verdict.FORGED
        given = signature.encode("utf-8", "surrogatepass")
        # No early end: how long this takes must not tell which secret fitted.
        fits = [hmac.compare_digest(given, _sign(secret, expires, key).encode()) for secret in self._secrets]
        if not any(fits):
            return Verdict.FORGED
        return Verdict.OK if self._now() < int(expires) else Verdict.EXPIRED


def _sign(secret: bytes, expires: str, key: str) -> str:
    digest = hmac.digest(secret, f"media\n{key}\n{expires}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).rstrip(b"=").decode()
