"""The webhook's envelope: what opens it, and that nothing else does."""

import base64
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akool import Callback, InvalidCallback, VideoStatus, open_callback, seal_callback

VECTORS = json.loads((Path(__file__).parent / "samples" / "akool" / "callbacks.json").read_text())
CLIENT_ID, SECRET = VECTORS["client_id"], VECTORS["client_secret"]
CONTENT = VECTORS["synthetic"][0]["content"]


NOT_TEXT: tuple[object, ...] = (None, True, 1.5, [], {})


def envelope(vector: dict[str, str], **changes: object) -> dict[str, Any]:
    parts = {name: vector[name] for name in ("signature", "dataEncrypt")}
    return {**parts, "timestamp": VECTORS["timestamp"], "nonce": VECTORS["nonce"], **changes}


def opened(body: object, *, client_id: str = CLIENT_ID, client_secret: str = SECRET) -> Callback:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return open_callback(raw, client_id=client_id, client_secret=client_secret)


def sealed(content: Any, *, client_id: str = CLIENT_ID, client_secret: str = SECRET) -> dict[str, Any]:
    body = seal_callback(content, client_id=client_id, client_secret=client_secret, timestamp_ms=1, nonce="2")
    return dict(json.loads(body))


def signed(data: str) -> dict[str, Any]:
    """A rightly signed envelope around any data, by the recipe in AKOOL's own words: sort, join, SHA-1."""
    signature = hashlib.sha1("".join(sorted(["1", "2", CLIENT_ID, data])).encode()).hexdigest()  # noqa: S324
    return {"signature": signature, "dataEncrypt": data, "timestamp": 1, "nonce": "2"}


@pytest.mark.parametrize("vector", VECTORS["synthetic"])
def test_a_known_envelope_opens(vector: dict[str, Any]) -> None:
    """Made elsewhere; the last one's ciphertext sorts before the nonce."""
    content = vector["content"]
    callback = opened(envelope(vector))

    assert (callback.id, callback.status, callback.type) == (content["_id"], content["status"], "talking photo")
    assert (callback.url, callback.deduction_credit) == (content.get("url") or None, content.get("deduction_credit"))


@pytest.mark.parametrize("vector", VECTORS["synthetic"])
def test_sealing_is_the_other_half(vector: dict[str, Any]) -> None:
    """The same content under the same keys gives the very same envelope."""
    body = seal_callback(
        vector["content"],
        client_id=CLIENT_ID,
        client_secret=SECRET,
        timestamp_ms=VECTORS["timestamp"],
        nonce=VECTORS["nonce"],
    )

    assert json.loads(body) == envelope(vector)


def test_the_vendors_published_example_is_refused() -> None:
    """Its signature is not that of its own values."""
    with pytest.raises(InvalidCallback, match="signature"):
        opened(envelope(VECTORS["published"]))


@pytest.mark.parametrize("changes", [{"nonce": 1529}, {"timestamp": "1710757981609"}, {"extra": [1]}])
def test_numbers_and_strings_are_the_same(changes: dict[str, object]) -> None:
    """AKOOL prints the nonce both ways."""
    assert opened(envelope(VECTORS["synthetic"][0], **changes)).status is VideoStatus.PROCESSING


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("client_id", ["short", "exactly16letters", "AKDt8rWEczpYPzCGur2xEg=="])
def test_the_secrets_length_chooses_the_cipher(size: int, client_id: str) -> None:
    """AES-128, 192 or 256; the IV is 16 bytes of the client id, filled with zeros."""
    keys = {"client_id": client_id, "client_secret": SECRET[:size]}

    assert opened(sealed(CONTENT, **keys), **keys).id == CONTENT["_id"]


@pytest.mark.parametrize(
    "keys",
    [
        {"client_secret": SECRET[::-1]},
        {"client_secret": SECRET[:24]},
        {"client_secret": SECRET[:20]},
        {"client_secret": ""},
        {"client_secret": "\udc80" * 16},
        {"client_id": "other"},
        {"client_id": "\udc80"},
    ],
)
def test_other_keys_do_not_open_it(keys: dict[str, str]) -> None:
    """A wrong key, a key of no AES size, or one that is not even text."""
    with pytest.raises(InvalidCallback):
        opened(envelope(VECTORS["synthetic"][0]), **keys)


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": "0" * 40},
        {"signature": VECTORS["synthetic"][0]["signature"].upper()},
        {"signature": "é" * 40},
        {"signature": "\ud800"},
        {"nonce": "1530"},
        {"timestamp": 1710757981610},
        {"dataEncrypt": VECTORS["synthetic"][2]["dataEncrypt"]},
        *({name: wrong} for name in ("signature", "nonce", "dataEncrypt") for wrong in NOT_TEXT),
    ],
)
def test_a_changed_envelope_is_refused(changes: dict[str, object]) -> None:
    """Each member is signed, and has its type."""
    with pytest.raises(InvalidCallback):
        opened(envelope(VECTORS["synthetic"][0], **changes))


@pytest.mark.parametrize("name", ["signature", "dataEncrypt", "timestamp", "nonce"])
def test_every_member_is_needed(name: str) -> None:
    body = envelope(VECTORS["synthetic"][0])
    del body[name]

    with pytest.raises(InvalidCallback, match=name):
        opened(body)


GOOD = base64.b64decode(VECTORS["synthetic"][0]["dataEncrypt"])


@pytest.mark.parametrize(
    "data",
    [
        "",
        "****",
        VECTORS["synthetic"][0]["dataEncrypt"] + "\n",
        VECTORS["synthetic"][0]["dataEncrypt"].rstrip("="),
        base64.b64encode(GOOD[:-1]).decode(),
        base64.b64encode(GOOD[:-16]).decode(),
        base64.b64encode(GOOD[:-16] + bytes(16)).decode(),
    ],
)
def test_a_damaged_ciphertext_is_refused_even_when_rightly_signed(data: str) -> None:
    """Strict base64, whole blocks, strict padding: who knows the client id can sign anything."""
    with pytest.raises(InvalidCallback):
        opened(signed(data))


@pytest.mark.parametrize(
    "content", [[], 7, "x", None, {}, {"_id": "a"}, {"_id": "a", "status": "3"}, {**CONTENT, "x": math.nan}]
)
def test_content_that_is_no_callback_is_refused(content: Any) -> None:
    """Rightly signed and encrypted is not yet a callback."""
    with pytest.raises(InvalidCallback):
        opened(sealed(content))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[1]",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 60_000,
        b'{"a":' * 60_000,
        b'{"nonce": ' + b"9" * 5000 + b"}",
        b'{"nonce": NaN, "timestamp": -Infinity}',
    ],
)
def test_hostile_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidCallback):
        opened(body)


members = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=50)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300)
    | st.dictionaries(st.sampled_from(["signature", "dataEncrypt", "timestamp", "nonce"]), members)
    | st.text(st.characters(codec="utf-8")).map(signed)
    | st.binary(max_size=64).map(lambda data: signed(base64.b64encode(data).decode()))
    | st.dictionaries(st.sampled_from(["_id", "status", "type", "url", "deduction_credit"]), members).map(sealed)
)
def test_whatever_comes_nothing_else_is_raised(body: object) -> None:
    """Each layer in turn gets nonsense: the JSON, the members, the base64, the padding, the content."""
    try:
        callback = opened(body)
    except InvalidCallback as error:
        assert CLIENT_ID not in str(error)  # noqa: PT017 - either outcome is fine
    else:
        assert callback.id.isascii()
