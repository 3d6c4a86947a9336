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
