"""From where a request comes."""

from fastapi import Request

from audit_pipeline.review.desk import desk_of
from audit_pipeline.review.options import is_loopback

UNKNOWN = "unknown"


def peer_of(request: Request) -> str:
    """The address of who asks: the socket's, or what proxies that are named say of it.

    `X-Forwarded-For` is read from its end, where the nearest proxy wrote: what stands before the
    first address that is no proxy of ours could be anybody's invention.
    """
    options = desk_of(request).options
    peer = request.client.host if request.client else UNKNOWN
    named = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    while named and options.is_proxy(peer):
        peer = named.pop().strip() or peer
    return peer


def is_local(request: Request) -> bool:
    """Somebody on this machine, and nobody for whom a proxy on it asks."""
    is_forwarded = any(name in request.headers for name in ("x-forwarded-for", "forwarded"))
    return not is_forwarded and is_loopback(request.client.host if request.client else UNKNOWN)
