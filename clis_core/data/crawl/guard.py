"""A request goes in; it is sent if its host is on the public internet, and given up if the headers take too long."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RefusedHostError(Exception):
    """A host that must not be connected to, because it is none of the public internet."""


class UnknownHostError(Exception):
    """A host name without an address.

    Args:
        passing: whether the name server may know it later.
    """

    def __init__(self, host: str, passing: bool) -> None:
        super().__init__(host)
        self.passing = passing


class GuardedAdapter(HTTPAdapter):
    """Sends requests to public addresses alone.

    Addresses come from pages of strangers, who could name a machine of the user's own network. The name is
    resolved and every address of it checked before a connection is made; since it may resolve to something else a
    moment later, the address that was connected to is checked as well, before anything is sent.

    Args:
        allow_private: connect to any address.
        seconds: for all the headers of a response together.
    """

    def __init__(self, *, allow_private: bool = False, seconds: float = 30.0) -> None:
        self._allow_private = allow_private
        self._seconds = seconds
        super().__init__(pool_connections=32, pool_maxsize=8)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Make the pools of connections; called by the base class."""
        super().init_poolmanager(connections, maxsize, block, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._allow_private, self._seconds)


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet; IPv4 addresses inside IPv6 ones are looked at as well."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inside = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            inside.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if any(inner is not None and not is_public(str(inner)) for inner in inside):
            return False
    return ip.is_global and not ip.is_multicast


class _Guard(HTTPConnection):
    """A connection that checks whom it connects to; `_pools` sets the two attributes."""

    allow_private = False
    seconds = 30.0

    def connect(self) -> None:
        """Connect, unless the host is none of the public internet."""
        if self.allow_private:
            super().connect()
            return
        _check_name(self.host, self.port)
        super().connect()
        _check_peer(self)

    def getresponse(self) -> Any:
        """Read the headers, in a limited time."""
        with _time_limit(self.sock, self.seconds):
            return super().getresponse()


class _SecureGuard(_Guard, HTTPSConnection):
    """The same over TLS."""


def _pools(allow_private: bool, seconds: float) -> dict[str, Any]:
    limits = {"allow_private": allow_private, "seconds": seconds}
    plain, secure = type("Plain", (_Guard,), limits), type("Secure", (_SecureGuard,), limits)
    return {
        "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


def _check_name(host: str, port: int | None) -> None:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise UnknownHostError(host, passing=error.errno == socket.EAI_AGAIN) from None
    if not all(is_public(str(address[4][0])) for address in found):
        raise RefusedHostError(host)


def _check_peer(connection: HTTPConnection) -> None:
    if connection.sock is not None and not is_public(str(connection.sock.getpeername()[0])):
        connection.close()
        raise RefusedHostError(connection.host)


@contextlib.contextmanager
def _time_limit(sock: socket.socket | None, seconds: float) -> Iterator[None]:
    """Shut a connection down after some time: a server that sends a byte now and then never meets a time-out.

    Raises:
        TimeoutError: it was shut down. http.client would take what it has for whole headers.
    """
    late = threading.Event()

    def shut() -> None:
        late.set()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():
            raise TimeoutError(f"no whole headers in {seconds:g} s")
