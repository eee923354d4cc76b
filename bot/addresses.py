"""Addresses of those who come to the public port: who they are, and whose word about others is taken."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# This machine, as a URL or a connection names it.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# Where a proxy stands beside the bot: on this machine, or in a container's or a platform's own network.
NEARBY = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")

_NOBODY = "unknown"
_HOUSEHOLD_BITS = 64  # of IPv6, which a customer gets whole: https://www.rfc-editor.org/rfc/rfc6177


def networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Read networks like `10.0.0.0/8`, or single addresses. Raises `ValueError`."""
    return tuple(ip_network(name) for name in names)


class Neighbourhood:
    """The proxies that are trusted to say on whose behalf they come."""

    def __init__(self, proxies: Sequence[Network]) -> None:
        self._proxies = proxies

    def trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._proxies)

    def nearest_stranger(self, peer: str | None, forwarded_for: Iterable[str] = ()) -> Address | None:
        """Whom a request is charged to: a peer, or the last one before our own proxies.

        That is a proxy of ours where it does not say whom it comes for. `forwarded_for`: the values of
        `X-Forwarded-For`. What stands left of the first address that is none of our proxies', anybody may have written.
        """
        nearest = parsed(peer)
        hops = [hop for value in forwarded_for for hop in value.split(",")]
        while hops and self.trusts(nearest):
            farther = parsed(hops.pop().strip())
            if farther is None:
                break
            nearest = farther
        return nearest


def household(address: Address | None) -> str:
    """The name under which all addresses go that one customer can take."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address.packed, _HOUSEHOLD_BITS), strict=False))
    return _NOBODY if address is None else str(address)


def parsed(text: str | None) -> Address | None:
    """The address that is written there, if it is one."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
