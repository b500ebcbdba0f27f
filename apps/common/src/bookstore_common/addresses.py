"""Whose bucket a request without a token is counted in: by the connection's address, as the gateway vouches for it.

The gateway sets ``HEADER`` anew on every request, so a client has no say; the public listener is reachable from the
gateway's identity only (the authorization matrix, over mTLS), so nobody else has one either.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

HEADER = "x-client-address"
# Address and port as Envoy writes %DOWNSTREAM_REMOTE_ADDRESS%.
_FORM = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<four>[0-9.]{7,15})):(?P<port>[0-9]{1,5})")
# A provider gives each customer at least such a network; within it everybody can choose.
_IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Bucket:
    """``key`` names the bucket; ``shared`` names one for all behind the same address, if they cannot be told apart."""

    key: str
    shared: str | None = None


_UNKNOWN = Bucket("address:unknown")


def bucket_of(vouched: Sequence[str]) -> Bucket:
    """The bucket by the values of ``HEADER``; what the gateway would not write counts as one unknown client.

    Behind an address that is not global (private, carrier-grade, loopback) stands a translator, and all behind it have
    the same one: each connection has a bucket, and all together have a larger one.
    """
    form = _FORM.fullmatch(vouched[0]) if len(vouched) == 1 else None
    try:
        address = ipaddress.ip_address(form["six"] or form["four"]) if form else None
    except ValueError:
        address = None
    if address is None or form is None:
        return _UNKNOWN
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not address.is_global:
        return Bucket(f"connection:{address}:{form['port']}", f"shared:{address}")
    if isinstance(address, ipaddress.IPv6Address):
        return Bucket(f"address:{ipaddress.ip_network((address, _IPV6_PREFIX), strict=False)}")
    return Bucket(f"address:{address}")
