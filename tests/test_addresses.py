"""Whom a request is charged to."""

from collections.abc import Sequence

import pytest

from bot.addresses import NEARBY, Neighbourhood, household, networks

OURS = Neighbourhood(networks(NEARBY))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "stranger"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("172.18.0.5", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("127.0.0.1", ["1.1.1.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("127.0.0.1", ["10.0.0.9"], "10.0.0.9"),
        ("127.0.0.1", ["198.51.100.1, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("::1", ["2001:db8:1:2:aaaa::1"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", [], "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("::ffff:127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], "unknown"),
    ],
)
def test_the_last_hop_that_is_none_of_ours_is_the_stranger(
    peer: str | None, forwarded_for: Sequence[str], stranger: str
) -> None:
    assert household(OURS.nearest_stranger(peer, forwarded_for)) == stranger
