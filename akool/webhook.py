"""The webhook's envelope: `{"signature", "dataEncrypt", "timestamp", "nonce"}`.

Source: https://docs.akool.com/ai-tools-suite/webhook, corrected by what real accounts send: the key is the whole
client secret (32 bytes, hence AES-256, where the page speaks of 24), the padding is ordinary 16-byte PKCS#7.

The signature holds no secret but the client id, and nothing in it prevents a replay. An opened callback is a hint;
the truth is `Client.get_video`.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from akool import reading
from akool.errors import InvalidCallback
from akool.models import Callback
from akool.reading import Unreadable

_BLOCK_BYTES = 16


def open_callback(body: bytes, *, client_id: str, client_secret: str) -> Callback:
    """Verify and decrypt a callback. Raises `InvalidCallback` for whatever else `body` is.

    The caller bounds the length of `body`, and answers exactly HTTP 200 once the callback is taken.
    """
    try:
        envelope = reading.parse_object(body)
        data, timestamp, nonce, signature = (
            _text(envelope, name) for name in ("dataEncrypt", "timestamp", "nonce", "signature")
        )
        expected = _signature(client_id, timestamp, nonce, data)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise Unreadable("the signature is not right")
        content = _decrypt(data, _cipher(client_id, client_secret))
        return Callback.from_json(reading.parse_object(content))
    except ValueError as error:  # the cipher's, the padding's and base64's too
        raise InvalidCallback(str(error)) from None


def seal_callback(
    content: Mapping[str, Any], *, client_id: str, client_secret: str, timestamp_ms: int, nonce: str
) -> bytes:
    """The body of AKOOL's POST that carries `content`: the other half of the protocol, for stand-ins of AKOOL."""
    plain = json.dumps(content, separators=(",", ":")).encode()
    data = _encrypt(plain, _cipher(client_id, client_secret))
    timestamp = str(timestamp_ms)
    envelope = {
        "signature": _signature(client_id, timestamp, nonce, data),
        "dataEncrypt": data,
        "timestamp": timestamp_ms,
        "nonce": nonce,
    }
    return json.dumps(envelope).encode()


def _text(envelope: Mapping[str, Any], name: str) -> str:
    """A member as it entered the signature; numbers and strings both occur."""
    value = envelope.get(name)
    if not isinstance(value, str | int):
        raise Unreadable(f"`{name}` is missing")
    return str(value)


def _signature(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def _cipher(client_id: str, client_secret: str) -> Cipher[CBC]:
    """AES in the size of the secret: 16, 24 or 32 bytes."""
    iv = client_id.encode()[:_BLOCK_BYTES].ljust(_BLOCK_BYTES, b"\0")
    return Cipher(AES(client_secret.encode()), CBC(iv))


def _decrypt(data: str, cipher: Cipher[CBC]) -> bytes:
    decryptor = cipher.decryptor()
    padded = decryptor.update(base64.b64decode(data, validate=True)) + decryptor.finalize()
    unpadder = PKCS7(AES.block_size).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def _encrypt(plain: bytes, cipher: Cipher[CBC]) -> str:
    padder = PKCS7(AES.block_size).padder()
    encryptor = cipher.encryptor()
    padded = padder.update(plain) + padder.finalize()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()
