import re

import pytest
import trio

from proxyd.tokens import loopback as module
from proxyd.tokens.errors import TokenError
from proxyd.tokens.loopback import MAX_HEAD, Loopback

REDIRECT = "http://127.0.0.1/callback"


async def said(url, request):
    """Return what is answered to these bytes."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(url.split(":")[2].partition("/")[0]))
    async with stream:
        await stream.send_all(request)
        answer = bytearray()
        try:
            async for piece in stream:
                answer += piece
        except trio.BrokenResourceError:
            pass  # it was closed on what it had not read
        return bytes(answer)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"POST /callback HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET http://127.0.0.1/callback HTTP/1.1\r\n\r\n", b"400"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
        (b"GET /callback?" + b"&".join(b"a%d=1" % n for n in range(30)) + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /callback?state=a&state=b HTTP/1.1\r\n\r\n", b"400"),
    ],
)
async def test_only_a_callback_is_passed_on(request_, status):
    async with Loopback.open(REDIRECT) as loopback:
        answer = await said(loopback.url, request_)
    assert answer.split(b" ")[1] == status
    assert b"default-src 'none'" in answer


async def test_a_head_without_an_end_is_bounded():
    async with Loopback.open(REDIRECT) as loopback:
        assert b" 200 " not in await said(loopback.url, b"GET /callback?" + b"a" * (2 * MAX_HEAD))
        async with trio.open_nursery() as nursery:  # and the port still serves
            nursery.start_soon(said, loopback.url, b"GET /callback?code=1 HTTP/1.1\r\n\r\n")
            callback = await loopback.callback()
            assert callback.parameters == {"code": "1"}
            assert "1" not in repr(callback)
            await callback.answer(200, "done")


async def test_silent_connections_end_and_give_their_places_back(monkeypatch):
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(module, "SECONDS", 0.1)
    async with Loopback.open(REDIRECT) as loopback, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(said, loopback.url, b"GET /")
        nursery.start_soon(said, loopback.url, b"GET /callback?code=1 HTTP/1.1\r\n\r\n")
        await (await loopback.callback()).answer(200, "done")


async def test_a_port_that_is_taken_is_said():
    async with Loopback.open(REDIRECT) as loopback:
        port = int(loopback.url.split(":")[2].partition("/")[0])
        with pytest.raises(TokenError, match="cannot be had"):
            async with Loopback.open(REDIRECT, port):
                pass


async def test_the_registered_name_and_path_stay():
    async with Loopback.open("http://localhost") as loopback:
        assert re.fullmatch(r"http://localhost:[0-9]+", loopback.url)
        port = loopback.url.rpartition(":")[2]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(said, f"http://127.0.0.1:{port}/", b"GET /?code=1 HTTP/1.1\r\n\r\n")
            await (await loopback.callback()).answer(200, "done")
