"""Signed URLs: who may fetch what, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.objects import MediaSigner, Verdict, new_key

KEY = new_key("in", "jpg")
NOW = 1_800_000_000


class Clock:
    now = float(NOW)

    def __call__(self) -> float:
        return self.now


def parts_of(url: str) -> tuple[str, str, str]:
    """What the route of the web server finds in the path."""
    assert url.startswith("https://bot.example/media/")
    expires, signature, key = url.removeprefix("https://bot.example/media/").split("/", 2)
    return expires, signature, key


def signer(*secrets: bytes, clock: Clock | None = None) -> MediaSigner:
    return MediaSigner(secrets or (b"secret",), "https://bot.example/", now=clock or Clock())


def test_a_signed_url_ends_in_the_true_extension_and_holds_for_its_time() -> None:
    clock = Clock()
    ours = signer(clock=clock)
    url = ours.url(KEY, ttl_seconds=60)

    assert url.endswith(f"/{KEY}")
    assert ours.verify(*parts_of(url)) is Verdict.OK
    clock.now += 59
    assert ours.verify(*parts_of(url)) is Verdict.OK
    clock.now += 1
    assert ours.verify(*parts_of(url)) is Verdict.EXPIRED


@pytest.mark.parametrize("part", [0, 1, 2])
def test_each_part_of_the_path_is_signed(part: int) -> None:
    changed = list(parts_of(signer().url(KEY, ttl_seconds=60)))
    changed[part] = (str(NOW + 99), "A" * 27, new_key("in", "jpg"))[part]

    assert signer().verify(*changed) is Verdict.FORGED


def test_a_secret_can_be_replaced_in_peace() -> None:
    """URLs of the old one hold on while it is listed, and no longer."""
    old = parts_of(signer(b"old").url(KEY, ttl_seconds=60))

    assert signer(b"new", b"old").verify(*old) is Verdict.OK
    assert signer(b"new").verify(*old) is Verdict.FORGED
    assert signer(b"new").verify(*parts_of(signer(b"new", b"old").url(KEY, ttl_seconds=60))) is Verdict.OK


@given(st.text(), st.text(), st.text())
def test_nothing_that_is_made_up_passes(expires: str, signature: str, key: str) -> None:
    assert signer().verify(expires, signature, key) is Verdict.FORGED
    assert signer().verify(str(NOW + 60), signature, KEY) is Verdict.FORGED


def test_only_keys_are_signed() -> None:
    with pytest.raises(ValueError, match="key"):
        signer().url("../bot.sqlite3", ttl_seconds=60)
