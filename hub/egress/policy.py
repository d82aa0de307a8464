"""Which addresses may be reached; pure, but for what an operator's host names were seen to lead to.

The networks: the special-purpose registries (RFC 6890 and its updates), which `ipaddress.is_global` knows only in part,
and addresses of cloud metadata services that lie outside them.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from yarl import URL

MAX_URL: Final = 4096
MAX_GRANTS: Final = 1024
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


_BAD: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        "168.63.129.16/32",  # answers inside one large cloud with the machine's secrets
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_GLOBAL_6: Final = ipaddress.ip_network("2000::/3")
_PORTS_BELOW_1024: Final = frozenset({80, 443})


class Refused(OSError):
    """The address may not be reached. The text names the host, never path or query."""


@dataclass(slots=True)
class Policy:
    """What may be reached: public addresses, and what the operator allows."""

    allow: Sequence[str] = ()
    """`host:port` or address ranges."""
    _networks: tuple[IPNetwork, ...] = field(init=False)
    _hosts: frozenset[tuple[str, int]] = field(init=False)
    _granted: OrderedDict[tuple[str, int], None] = field(init=False, default_factory=OrderedDict)

    def __post_init__(self) -> None:
        networks, hosts = [], set()
        for entry in self.allow:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                host, _, port = entry.rpartition(":")
                hosts.add((host.strip("[]").lower(), int(port)))
        self._networks, self._hosts = tuple(networks), frozenset(hosts)

    def check_url(self, url: URL) -> None:
        """Refuse what is wrong before any look-up: scheme, user in the address, port, a bad literal."""
        host = url.raw_host
        if url.scheme not in ("http", "https") or not host or url.port is None:
            raise Refused("only http and https addresses with a host are reached")
        if url.raw_user is not None or url.raw_password is not None:
            raise Refused(f"{host}: an address must not carry a user or password")
        if len(url.raw_path_qs) > MAX_URL:
            raise Refused(f"{host}: the address is too long")
        if (host, url.port) not in self._hosts and url.port < 1024 and url.port not in _PORTS_BELOW_1024:
            raise Refused(f"{host}: port {url.port} is not reached")
        literal = _literal(host)
        if literal is not None:
            self.check_address(str(literal), url.port)

    def check_address(self, address: str, port: int) -> None:
        """Refuse an address of the forbidden networks unless the operator allows it (with this port)."""
        parsed = _literal(address)
        if parsed is None:
            raise Refused("not an address")
        if self._allowed(parsed, port) or not is_forbidden(parsed):
            return
        raise Refused(f"{address} is not a public address; the operator can allow it in HUB_EGRESS_ALLOW")

    def check_answers(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Refuse a name when any of its answers is bad; a name that the operator allows may lead anywhere."""
        if (host.lower().rstrip("."), port) in self._hosts:
            for address in addresses:
                self._grant(address, port)
            return
        for address in addresses:
            parsed = _literal(address)
            if parsed is None or (is_forbidden(parsed) and not self._in_allowed_network(parsed)):
                raise Refused(f"{host} leads to an address that is not public")

    def _grant(self, address: str, port: int) -> None:
        parsed = _literal(address)
        self._granted[(str(parsed), port)] = None
        if len(self._granted) > MAX_GRANTS:
            self._granted.popitem(last=False)

    def _allowed(self, address: IPAddress, port: int) -> bool:
        text = str(address)
        named = (text, port)
        return named in self._hosts or named in self._granted or self._in_allowed_network(address)

    def _in_allowed_network(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)


def is_forbidden(address: IPAddress) -> bool:
    """Whether an address is anything but a public unicast one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_forbidden(address.ipv4_mapped)
        if address not in _GLOBAL_6 or address.scope_id is not None:
            return True
    return not address.is_global or any(address in network for network in _BAD)


def is_literal(host: str) -> bool:
    """Whether a host is an address already."""
    return _literal(host) is not None


@lru_cache(maxsize=4096)
def _literal(text: str) -> IPAddress | None:
    try:
        parsed = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return parsed if mapped is None else mapped
