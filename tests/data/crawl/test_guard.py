"""Hosts that are none of the public internet are not spoken to, whatever name they have."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import requests

from clis_core.data.crawl.guard import GuardedAdapter, RefusedHostError, UnknownHostError, is_public
from tests.data.crawl.web import FakeWeb


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # where clouds keep secrets
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "2002:7f00:0001::",  # 127.0.0.1 in 6to4
        "64:ff9b::7f00:1",  # and in NAT64
    ],
)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def get(address: str, *, allow: bool = False) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", GuardedAdapter(allow_private=allow, seconds=2.0))
        return session.get(address, timeout=2.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
def test_a_private_host_gets_no_request(web: FakeWeb, host: str) -> None:
    web.routes["a"] = b"secret"
    if host in ("2130706433", "0x7f.1"):  # other ways to write 127.0.0.1; systems differ in whether they know them
        with pytest.raises((RefusedHostError, UnknownHostError)):
            get(f"http://{host}:{web.port}/a")
    else:
        with pytest.raises(RefusedHostError):
            get(f"http://{host}:{web.port}/a")
    assert web.asked == []
    assert get(f"http://127.0.0.1:{web.port}/a", allow=True).content == b"secret"


def test_one_private_address_among_public_ones_is_enough(web: FakeWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [answer("8.8.8.8", 80), answer("127.0.0.1", 80)])
    with pytest.raises(RefusedHostError):
        get("http://two.test/")


def test_a_name_that_changes_its_address_gets_no_request(web: FakeWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when it is asked first, private when the connection is made."""
    answers = iter(["8.8.8.8"])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [answer(next(answers, "127.0.0.1"), web.port)])
    with pytest.raises(RefusedHostError):
        get(f"http://changing.test:{web.port}/a")
    assert web.asked == []


@pytest.mark.parametrize(("number", "passing"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, True)])
def test_a_host_that_nobody_knows(monkeypatch: pytest.MonkeyPatch, number: int, passing: bool) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(number, "nobody knows it")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UnknownHostError) as error:
        get("http://gone.test/")
    assert error.value.passing is passing


def answer(address: str, port: int) -> tuple[Any, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
