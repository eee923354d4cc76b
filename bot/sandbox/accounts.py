"""An account of the local AKOOL: its key, and the tokens issued to it.

https://docs.akool.com/authentication/usage
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN_LIFE_SECONDS = 366 * 24 * 3600  # "valid for more than 1 year"


class Account:
    def __init__(self, client_id: str, client_secret: str, now: Callable[[], float]) -> None:
        """`now` gives seconds since the epoch. The secret is the API key too."""
        self.client_id = client_id
        self.client_secret = client_secret
        self._now = now
        self._expiry_by_token: dict[str, int] = {}

    def issue_token(self, client_id: object, client_secret: object) -> str | None:
        """A new Bearer token, or None for who is not the account's owner."""
        if (client_id, client_secret) != (self.client_id, self.client_secret):
            return None
        expires_at = int(self._now()) + _TOKEN_LIFE_SECONDS
        token = _jwt({"uid": 378337, "iat": int(self._now()), "exp": expires_at, "code": secrets.token_hex(4)})
        self._expiry_by_token[token] = expires_at
        return token

    def revoke_tokens(self) -> None:
        self._expiry_by_token.clear()

    def refusal(self, headers: Mapping[str, str]) -> int | None:
        """The code that refuses a call with such headers. "Authorization will be used first"."""
        if authorization := headers.get("authorization"):
            token = authorization.removeprefix("Bearer ")
            return None if self._expiry_by_token.get(token, 0) > self._now() else 1101
        if key := headers.get("x-api-key"):
            return None if key == self.client_secret else 1101
        return 1102


def _jwt(payload: dict[str, Any]) -> str:
    """A token in the form of AKOOL's (HS256), which means nothing anywhere else."""
    head, body = (_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, payload))
    return f"{head}.{body}.{_base64(hmac.digest(secrets.token_bytes(32), f'{head}.{body}'.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
