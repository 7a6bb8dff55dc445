"""Addresses that the user has typed: fetched within limits, from his own network too if he names it."""

from collections.abc import Iterator

import pytest

from clis_core.data import web_pictures
from clis_core.data.web_pictures import LIMITS, WebPictures
from clis_core.errors import DataError
from tests.data.crawl.web import FAST, FakeWeb, forbid_others


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWeb]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    forbid_others(monkeypatch.setattr)
    made = FakeWeb()
    yield made
    made.close()


def refused(address: str) -> str:
    with pytest.raises(DataError) as error:
        WebPictures(FAST).read(address)
    assert error.value.hint
    return error.value.message


def test_a_server_of_the_own_network_may_be_named(web: FakeWeb) -> None:
    web.routes["a.jpg"] = lambda call: call.answer(b"", 302, Location="b.jpg?x=1")
    web.routes["b.jpg"] = b"bytes"
    assert WebPictures(FAST).read(f"http://127.0.0.1:{web.port}/a.jpg") == b"bytes"
    assert not any("robots" in line for line in web.asked)


def test_a_public_host_does_not_lead_there(web: FakeWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    web.routes["b.jpg"] = b"secret"
    monkeypatch.setattr(web_pictures, "_is_private", lambda address: False)
    assert "private address" in refused(f"http://127.0.0.1:{web.port}/b.jpg")
    assert web.asked == []


def test_which_hosts_are_of_the_own_network() -> None:
    private = ["http://127.0.0.1/a", "https://[::1]:8/a", "http://10.0.0.8/", "http://169.254.169.254/"]
    assert [web_pictures._is_private(address) for address in private] == [True] * 4
    assert not web_pictures._is_private("http://93.184.216.34/a.jpg")
    assert not web_pictures._is_private("http://[/")


@pytest.mark.usefixtures("web")
def test_other_schemes_and_passwords() -> None:
    for address in ("file:///etc/passwd", "ftp://127.0.0.1/a", "http://user:word@127.0.0.1/"):
        assert "no web address" in refused(address)


def test_what_a_server_can_do_wrong(web: FakeWeb) -> None:
    place = f"http://127.0.0.1:{web.port}"
    web.routes["loop"] = lambda call: call.answer(b"", 302, Location="loop")
    web.routes["away"] = lambda call: call.answer(b"", 302, Location="file:///etc/passwd")
    web.routes["big"] = lambda call: call.start(200, Content_Length=str(LIMITS.most_bytes + 1))
    assert refused(f"{place}/gone") == f"{place}/gone cannot be fetched: HTTP 404."
    assert "too many redirects" in refused(f"{place}/loop")
    assert "no web address" in refused(f"{place}/away")
    assert "larger than the limit" in refused(f"{place}/big")
