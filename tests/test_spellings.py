"""However a secret is quoted, it is found."""

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.spellings import any_spelling

secrets = st.text(st.characters(codec="utf-8"), min_size=8, max_size=40)
ODD = 'a/b c+d="e\\f\\nü€😀:~%'


def url_safe(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@pytest.mark.parametrize(
    "spell",
    [str, repr, json.dumps, quote, quote_plus, lambda secret: quote(secret, safe=""), lambda it: quote(it).lower()],
    ids=["plain", "repr", "JSON", "URL", "form", "path", "lower case"],
)
def test_a_quoted_secret_is_found_whole(spell: Callable[[str], str]) -> None:
    secret = ODD.lower()
    left = re.sub(any_spelling(secret), "", f"before{spell(secret)}after")
    assert left.replace('"', "").replace("'", "") == "beforeafter"


@given(secrets, st.binary(max_size=5), st.binary(max_size=5))
def test_in_base64_it_is_found_wherever_it_stands(secret: str, before: bytes, after: bytes) -> None:
    """As the password in `user:password`; but for what its neighbours share a character with."""
    for encode in (base64.b64encode, url_safe):
        whole = encode(before + secret.encode() + after).decode()
        left = re.sub(any_spelling(secret), "", whole)
        assert len(left) <= len(encode(before + after).decode()) + 4
