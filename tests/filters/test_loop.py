import pytest

from proxyd.core.authority import Authority
from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request
from proxyd.core.snapshot import Snapshot
from proxyd.filters.loop import LoopFilter


def exchange(via):
    request = Request(b"GET", b"http", Authority("origin.example", 80, False), b"/", [], BytesBody())
    request.via = via
    return Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "proxyd-1a2b", 1000), request, 0.0, "plain")


@pytest.mark.parametrize(
    "via",
    [
        [b"1.1 proxyd-1a2b"],
        [b"1.1 PROXYD-1A2B"],
        [b"1.1 proxyd-1a2b (a comment)"],
        [b"1.0 fred, 1.1 proxyd-1a2b, 1.1 other"],
        [b"1.0 fred", b"HTTP/1.1\tproxyd-1a2b"],
    ],
)
async def test_a_request_that_was_here_before_is_answered_508(via):
    with pytest.raises(ProxyError) as caught:
        LoopFilter("proxyd-1A2B").request(exchange(via))
    assert (caught.value.status, caught.value.error) == (508, "proxy_loop_detected")


@pytest.mark.parametrize("via", [None, [], [b""], [b"1.1 proxyd-1a2bc"], [b"proxyd-1a2b"], [b"1.1 fred (proxyd-1a2b)"]])
async def test_any_other_request_goes_on(via):
    assert LoopFilter("proxyd-1a2b").request(exchange(via)) is None


def limited(method, *values):
    made = exchange(None)
    made.request.method = method
    made.request.headers = [(b"authorization", b"Bearer mine"), *((b"max-forwards", value) for value in values)]
    return made


@pytest.mark.parametrize("method", [b"TRACE", b"OPTIONS"])
async def test_a_hop_is_taken_off_max_forwards(method):
    made = limited(method, b"2")
    assert LoopFilter("proxyd-1a2b").request(made) is None
    assert (b"max-forwards", b"1") in made.request.headers


async def test_without_a_hop_left_trace_shows_what_came_but_no_credential():
    response = LoopFilter("proxyd-1a2b").request(limited(b"TRACE", b"0"))
    shown = await response.body.read()
    assert shown.startswith(b"TRACE / HTTP/1.1\r\nhost: origin.example:80\r\n")
    assert b"mine" not in shown


async def test_without_a_hop_left_options_is_answered_here():
    assert LoopFilter("proxyd-1a2b").request(limited(b"OPTIONS", b"0")).status == 204


@pytest.mark.parametrize("values", [[b"x"], [b"-1"], [b"1", b"1"], [b""]])
async def test_a_max_forwards_that_is_no_number_is_refused(values):
    with pytest.raises(ProxyError) as caught:
        LoopFilter("proxyd-1a2b").request(limited(b"TRACE", *values))
    assert caught.value.status == 400


async def test_other_methods_pass_max_forwards_on_as_it_is():
    made = limited(b"GET", b"0")
    assert LoopFilter("proxyd-1a2b").request(made) is None
    assert (b"max-forwards", b"0") in made.request.headers
