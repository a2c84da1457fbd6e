"""Calls through a proxy without a socket."""

from __future__ import annotations

import threading
from typing import Iterator

import pytest

import weir
from weir.pytest_plugin import ProxyFactory

from support import Upstream


@pytest.fixture
def proxy(weir_proxy: ProxyFactory, upstream: Upstream) -> weir.Proxy:
    return weir_proxy(upstream=upstream.at)


def test_a_whole_response(proxy: weir.Proxy) -> None:
    response = proxy.request("GET", "/a?chunks=2", headers={"x-given": "caf\xe9"})
    assert (response.status, response.text) == (200, "upstream:/aupstream:/a")
    assert response.headers["X-Method"] == "GET"
    assert response.headers["x-given"] == "caf\xe9"
    assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert "nothing" not in response.headers and response.headers.get("nothing") is None
    assert ("set-cookie", "b=2") in [(name.lower(), value) for name, value in response.headers.pairs]
    assert len(dict(response.headers)) == len(response.headers)
    assert response.trailers["x-sum"] == "all"


@pytest.mark.parametrize("body", [b"", "text: \u20ac", b"x" * 3_000_000, bytearray(b"array")])
def test_a_body(proxy: weir.Proxy, upstream: Upstream, body: "bytes | str") -> None:
    whole = body.encode() if isinstance(body, str) else bytes(body)
    response = proxy.request("POST", "/a", body=body)
    assert response.body == (whole or b"upstream:/a")
    assert upstream.seen == [("POST", "/a", whole)]


def test_a_body_in_pieces_and_a_response_in_pieces(proxy: weir.Proxy) -> None:
    with proxy.stream("PUT", "/a?chunks=3", body=(b"%d," % number for number in range(1000))) as call:
        pieces = list(call)
        assert call.status == 200
        assert call.trailers["x-sum"] == "all"
    whole = b"".join(b"%d," % number for number in range(1000))
    assert b"".join(pieces) == whole * 3


def test_a_body_that_breaks_breaks_the_call(proxy: weir.Proxy) -> None:
    def body() -> Iterator[bytes]:
        yield b"begun"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        proxy.request("POST", "/", body=body())
    assert proxy.request("GET", "/").status == 200


def test_a_call_by_hand(proxy: weir.Proxy) -> None:
    with proxy.call("POST", "/", has_body=True, timeout=20) as call:
        for piece in (b"one ", b"two"):
            call.send(piece)
        call.finish()
        assert call.response().text == "one two"
        with pytest.raises(weir.CallFinishedError):
            call.send(b"more")
    with pytest.raises(weir.EndedError, match="the call is closed"):
        call.read()
    call.close()


def test_a_call_that_is_cancelled(proxy: weir.Proxy) -> None:
    call = proxy.stream("GET", "/?sleep=20")
    timer = threading.Timer(0.1, call.cancel)
    timer.start()
    with pytest.raises(weir.CallCancelledError):
        call.response()
    timer.join()
    call.close()


def test_a_call_that_takes_too_long(proxy: weir.Proxy) -> None:
    with pytest.raises(weir.TimedOutError):
        proxy.request("GET", "/?sleep=20", timeout=0.05)


def test_a_stop_breaks_calls_off(proxy: weir.Proxy) -> None:
    call = proxy.stream("GET", "/?sleep=20")
    proxy.stop()
    with pytest.raises((weir.CallResetError, weir.EndedError)):
        call.response()
    call.close()


def test_what_is_no_request(proxy: weir.Proxy) -> None:
    with pytest.raises(weir.UsageError) as raised:
        proxy.request("GET", "/", headers={"bad name": "x"})
    assert isinstance(raised.value, ValueError) and raised.value.result == weir.Result.BAD_VALUE
    with pytest.raises(UnicodeEncodeError):
        proxy.request("GET", "/", headers={"x": "\u20ac"})


def test_the_host_comes_from_the_authority_the_target_or_a_header(proxy: weir.Proxy) -> None:
    for given, wanted in (
        ({"target": "http://a.example:81/x"}, "a.example:81/x"),
        ({"target": "/x", "headers": {"Host": "b.example"}}, "b.example/x"),
        ({"target": "/x", "authority": "c.example"}, "c.example/x"),
        ({"target": "/x"}, "localhost/x"),
    ):
        assert proxy.explain("GET", **given)[0].startswith(f"GET {wanted} ")
