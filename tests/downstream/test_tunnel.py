"""CONNECT through a live worker: tunnels, interception, refusals, and hellos in every shape."""

import os
import ssl

import pytest
import trio

from proxyd.core.access import Access, Rule
from proxyd.core.limits import Limits
from proxyd.core.messages import InstallLeaf
from proxyd.core.service import HostPattern, Service
from proxyd.core.snapshot import Egress, Listener, ListenerMode, UnknownHosts
from proxyd.downstream import tunnel
from proxyd.wire.sniff import ClientHello, Incomplete, NotTls
from proxyd.worker import leaves
from tests.lab import plane as lab
from tests.lab.plane import (
    SECRET,
    HandTls,
    Origin,
    Plane,
    Wire,
    open_origin,
    open_plane,
    polite,
    server_context,
    service,
)

HOST = "api.tickets.example"
NAME = HOST.encode()
GET = b"GET /v2 HTTP/1.1\r\nHost: %b\r\n\r\n" % NAME


def connect(authority: bytes) -> bytes:
    return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority)


def listeners(mode: UnknownHosts) -> tuple[Listener, ...]:
    return (Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0", unknown_hosts=mode),)


def tickets(origin: Origin) -> tuple[Service, ...]:
    return (service("tickets", HOST, "https", origin.port),)


async def echo(origin: Origin, wire: Wire) -> None:
    """Send back what comes; at the peer's FIN say goodbye."""
    while wire.waiting or await wire.fill():
        await wire.send(await wire.exactly(len(wire.waiting)))
    await wire.send(b"goodbye")


class Sniffs(list[bytes]):
    """What tunnels looked at, look by look."""


@pytest.fixture
def sniffs(monkeypatch: pytest.MonkeyPatch) -> Sniffs:
    seen = Sniffs()
    real = tunnel.sniff

    def counted(data: bytes, limit: int) -> ClientHello | Incomplete | NotTls:
        seen.append(bytes(data))
        return real(data, limit)

    monkeypatch.setattr(tunnel, "sniff", counted)
    return seen


# --- tunnels to unknown hosts ---------------------------------------------------------------------


async def test_a_tunnel_carries_tls_end_to_end() -> None:
    async with open_origin(tls=server_context("127.0.0.1", "other.example")) as origin, open_plane() as plane:
        for name in ("127.0.0.1", "other.example"):  # an SNI that is no service's passes
            client = await plane.connect()
            assert (await client.tunnel(origin.authority)).status == 200
            await client.start_tls(name)
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.reply()).body == b"ok"
            assert origin.requests[-1].first(b"via") is None
            await client.aclose()
        event = await plane.event()
        assert (event["kind"], event["mode"], event["status"], event["origin"]) == ("tunnel", "tunnel", 200, "upstream")
        assert event["request_bytes"] > 200
        assert event["response_bytes"] > 200
        assert event["endpoint"] == origin.authority.decode()


async def test_bytes_that_are_no_tls_are_carried_as_they_are() -> None:
    async with open_origin(echo) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.tunnel(origin.authority)
        await client.send(b"\0\1 anything")
        assert await client.exactly(11) == b"\0\1 anything"


async def test_silence_makes_an_opaque_tunnel_for_servers_that_speak_first() -> None:
    async def banner(origin: Origin, wire: Wire) -> None:
        await wire.send(b"220 ready\r\n")
        assert await wire.exactly(4) == b"QUIT"

    async with open_origin(banner) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.tunnel(origin.authority)
        assert await client.until(b"\r\n") == b"220 ready\r\n"
        await client.send(b"QUIT")
        assert await client.rest() == b""


async def test_half_close_passes_in_both_directions() -> None:
    async with open_origin(echo) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.tunnel(origin.authority)
        await client.send(b"one")
        assert await client.exactly(3) == b"one"
        await client.finish_writing()
        assert await client.rest() == b"goodbye"

        async def early(origin: Origin, wire: Wire) -> None:
            await wire.finish_writing()
            assert await wire.exactly(5) == b"after"

        origin.answer = early
        client = await plane.connect()
        await client.tunnel(origin.authority)
        await client.send(b"a")
        assert await client.rest() == b""
        await client.send(b"fter")
        await origin.saw(b"after")


async def test_a_client_that_only_listens_may_half_close_at_once() -> None:
    async with open_origin(echo) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(connect(origin.authority))
        await client.finish_writing()
        assert (await client.reply(b"CONNECT")).status == 200
        assert await client.rest() == b"goodbye"


async def test_bulk_passes_unchanged_both_ways_at_once() -> None:
    data = os.urandom(6_000_000)
    async with open_origin(echo) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.tunnel(origin.authority)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, data)
            assert await client.exactly(len(data)) == data
        await client.finish_writing()
        await client.rest()
        event = await plane.event()
        assert (event["request_bytes"], event["response_bytes"]) == (len(data), len(data) + 7)


async def test_an_idle_tunnel_ends() -> None:
    async with open_origin(echo) as origin, open_plane(limits=Limits(tunnel_idle=0.4)) as plane:
        client = await plane.connect()
        await client.tunnel(origin.authority)
        await client.send(b"one")
        await client.exactly(3)
        await client.rest()
        assert (await plane.event())["flags"] == "SI"


async def test_an_origins_reset_ends_the_tunnel() -> None:
    async def reset(origin: Origin, wire: Wire) -> None:
        await wire.exactly(3)
        wire.reset()

    async with open_origin(reset) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.tunnel(origin.authority)
        await client.send(b"one")
        await client.rest()
        assert (await plane.event())["flags"] == "UC"


@pytest.mark.parametrize("plain", [b"opaque \0 first bytes", b"\x16"])
async def test_bytes_in_connects_segment_go_first(plain: bytes) -> None:
    async with open_origin(echo) as origin, open_plane(limits=Limits(head_timeout=0.5)) as plane:
        client = await plane.connect()
        await client.send(connect(origin.authority) + plain)
        assert (await client.reply(b"CONNECT")).status == 200
        assert await client.exactly(len(plain)) == plain
        await client.send(b"more")
        assert await client.exactly(4) == b"more"


async def test_a_hello_in_connects_segment_is_tunnelled() -> None:
    async with open_origin(tls=server_context("127.0.0.1")) as origin, open_plane() as plane:
        client = await plane.connect()
        tls = await client.start_tls_by_hand("127.0.0.1", connect(origin.authority))
        await client.reply(b"CONNECT")
        await tls.handshake()
        assert (await tls.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"ok")).endswith(b"ok")


# --- what is refused before the 200 ---------------------------------------------------------------


async def refused(plane: Plane, authority: bytes) -> tuple[int, bytes]:
    client = await plane.connect()
    reply = await client.tunnel(authority)
    assert await client.is_closed()
    await client.aclose()
    status = reply.first(b"proxy-status") or b""
    return reply.status, status.partition(b"error=")[2].partition(b";")[0]


async def test_refusals_and_failed_dials_come_before_the_200() -> None:
    async with open_origin() as closed:
        nobody = closed.authority
    async with open_origin() as origin, open_plane(services=tickets(origin)) as plane:
        assert await refused(plane, nobody) == (502, b"connection_refused")
        assert await refused(plane, b"169.254.169.254:80") == (403, b"destination_ip_prohibited")
        assert await refused(plane, b"10.0.0.1:443") == (403, b"destination_ip_prohibited")
        assert await refused(plane, NAME + b":8443") == (403, b"http_request_denied")
        await plane.apply(listeners=listeners(UnknownHosts.DENY))
        assert await refused(plane, origin.authority) == (403, b"http_request_denied")
        await plane.apply(listeners=listeners(UnknownHosts.TUNNEL), egress=Egress(allow=("127.0.0.0/8",)))
        assert await refused(plane, origin.authority) == (403, b"http_request_denied")
        own = f"127.0.0.1:{plane.ports['apps']}"
        await plane.apply(egress=Egress(allow=("127.0.0.0/8",), ports=(), own=(own,)))
        assert await refused(plane, own.encode()) == (403, b"destination_ip_prohibited")
        assert origin.wires == []
        assert [(await plane.event(number))["flags"] for number in range(3)] == ["UF", "UAEX", "UAEX"]


async def test_a_rule_that_looks_into_requests_allows_no_opaque_tunnel() -> None:
    every = (HostPattern("", None, True),)
    access = Access((Rule(True, hosts=every, methods=("GET",)),))
    async with open_origin() as origin, open_plane(access=access) as plane:
        assert (await refused(plane, origin.authority))[0] == 403
        client = await plane.connect()
        assert (await client.get(b"http://%b/" % origin.authority)).status == 200


async def test_a_service_that_no_rule_allows_is_403_at_connect() -> None:
    async with open_origin() as origin, open_plane(services=tickets(origin), access=Access()) as plane:
        assert (await refused(plane, NAME + b":443"))[0] == 403


# --- interception ---------------------------------------------------------------------------------


@pytest.fixture(params=[(), ("h2", "http/1.1")], ids=["no ALPN", "ALPN"])
def offers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients without ALPN, and such as offer HTTP/2 to a proxyd that speaks HTTP/1.1 alone: TLS of both libraries."""
    plain = lab.client_context

    def context() -> ssl.SSLContext:
        made = plain()
        if request.param:
            made.set_alpn_protocols(list(request.param))
        return made

    monkeypatch.setattr(leaves, "PROTOCOLS", ("http/1.1",))
    monkeypatch.setattr(lab, "client_context", context)


async def intercepted(plane: Plane) -> HandTls:
    client = await plane.connect()
    assert (await client.tunnel(NAME + b":443")).status == 200
    tls = await client.start_tls_by_hand(HOST)
    await tls.handshake()
    return tls


@pytest.mark.usefixtures("offers")
async def test_a_services_tunnel_is_intercepted_and_gets_the_credential() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        client = await plane.connect()
        assert (await client.tunnel(NAME + b":443")).status == 200
        await client.start_tls(HOST)
        for spelling in (NAME, NAME + b":443", b"API.Tickets.Example.", NAME):
            await client.send(b"GET /v2/a%%2Fb HTTP/1.1\r\nHost: %b\r\nAuthorization: mine\r\n\r\n" % spelling)
            assert (await client.reply()).body == b"ok"
        assert len(origin.wires) == 1
        for seen in origin.requests:
            assert seen.target == b"/v2/a%2Fb"
            assert seen.first(b"host") == NAME
            assert [value for name, value in seen.headers if name == b"authorization"] == [b"Bearer " + SECRET]
        event = await plane.event()
        assert (event["kind"], event["mode"], event["scheme"]) == ("http", "intercept", b"https")
        assert plane.wanted == []


@pytest.mark.usefixtures("offers")
@pytest.mark.parametrize("bytewise", [False, True], ids=["one segment", "byte at a time"])
async def test_a_hello_in_connects_segment_is_intercepted(bytewise: bool) -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        client = await plane.connect()
        tls = await client.start_tls_by_hand(HOST, connect(NAME + b":443"), bytewise=bytewise)
        assert (await client.reply(b"CONNECT")).status == 200
        await tls.handshake()
        for size in (0, 100, 200_000):
            request = b"POST /v2 HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n" % (NAME, size)
            assert (await tls.ask(request + b"x" * size, b"ok")).endswith(b"ok")
        assert [len(seen.body) for seen in origin.requests] == [0, 100, 200_000]


@pytest.mark.usefixtures("offers")
async def test_a_large_answer_passes_a_buffered_hellos_tls() -> None:
    body = os.urandom(300_000).replace(b"END", b"END".lower()) + b"END"

    async def large(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await wire.rest()

    async with (
        open_origin(large, tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        client = await plane.connect()
        tls = await client.start_tls_by_hand(HOST, connect(NAME + b":443"))
        await client.reply(b"CONNECT")
        await tls.handshake()
        assert (await tls.ask(GET, b"END")).endswith(body)


async def test_a_hello_byte_at_a_time_costs_a_few_looks(sniffs: Sniffs) -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        client = await plane.connect()
        await client.tunnel(NAME + b":443")
        tls = await client.start_tls_by_hand(HOST, bytewise=True)
        await tls.handshake()
        assert (await tls.ask(GET, b"ok")).endswith(b"ok")
        assert sniffs[-1] == tls.hello
        assert len(sniffs) <= 6, "each look is a wake-up"


async def test_a_hello_whose_last_byte_is_held_back_costs_no_look(sniffs: Sniffs) -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        client = await plane.connect()
        await client.tunnel(NAME + b":443")
        tls = HandTls(client, HOST)
        await client.send(tls.hello[:-1])
        await trio.sleep(0.3)
        assert 1 <= len(sniffs) <= 3
        await client.send(tls.hello[-1:])
        await tls.handshake()
        assert (await tls.ask(GET, b"ok")).endswith(b"ok")


async def test_a_leaf_that_is_missing_is_asked_for() -> None:
    async with open_origin(tls=server_context(HOST)) as origin, open_plane(services=tickets(origin)) as plane:
        client = await plane.connect()
        await client.tunnel(NAME + b":443")
        await client.start_tls_by_hand(HOST)
        await plane.wait_for(lambda: plane.wanted)
        assert plane.wanted[0].host == HOST
        await plane.send(InstallLeaf(HOST, b"", b"", 0.0, "the authority may not sign it"))
        await client.rest()
        event = await plane.event()
        assert event["status"] == 503
        assert "may not sign" in event["detail"]


@pytest.mark.usefixtures("offers")
async def test_a_client_that_does_not_trust_the_leaf_is_told_about_the_ca() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        client = await plane.connect()
        await client.tunnel(NAME + b":443")
        tls = HandTls(client, HOST, ssl.create_default_context())
        await client.send(tls.hello)
        with pytest.raises(ssl.SSLCertVerificationError):
            await tls.handshake()
        event = await plane.event()
        assert (event["kind"], event["status"]) == ("tunnel", 400)
        assert "proxyd ca export" in event["detail"]


@pytest.mark.usefixtures("offers")
async def test_a_client_that_leaves_after_the_handshake_without_a_request_is_reported() -> None:
    """GnuTLS judges the certificate when the handshake is over, and leaves without an alert."""
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        tls = await intercepted(plane)
        await tls.client.aclose()
        event = await plane.event()
        assert (event["kind"], event["status"], event["flags"]) == ("tunnel", 499, "DC")
        assert "proxyd ca export" in event["detail"]


async def test_an_intercepted_tunnel_that_carried_a_request_is_no_event_of_its_own() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        tls = await intercepted(plane)
        await tls.ask(b"GET /v2/ HTTP/1.1\r\nHost: %b\r\n\r\n" % NAME, b"ok")
        await tls.client.aclose()
        again = await intercepted(plane)
        await again.client.aclose()
        assert [(await plane.event(number))["kind"] for number in range(2)] == ["http", "tunnel"]


@pytest.mark.usefixtures("offers")
async def test_an_unknown_host_may_be_intercepted() -> None:
    async with (
        open_origin(tls=server_context("127.0.0.1")) as origin,
        open_plane(listeners=listeners(UnknownHosts.INTERCEPT), leaves=("127.0.0.1",)) as plane,
    ):
        client = await plane.connect()
        assert (await client.tunnel(origin.authority)).status == 200
        await client.start_tls("127.0.0.1")
        await client.send(b"GET /x HTTP/1.1\r\nHost: %b\r\n\r\n" % origin.authority)
        assert (await client.reply()).status == 200
        assert origin.requests[0].first(b"via") == b"1.1 proxyd-lab"
        await client.send(b"GET /x HTTP/1.1\r\nHost: other.example\r\n\r\n")
        assert (await client.reply()).status == 421


# --- binding --------------------------------------------------------------------------------------


async def alert(plane: Plane, authority: bytes, name: str) -> None:
    client = await plane.connect()
    assert (await client.tunnel(authority)).status == 200
    tls = HandTls(client, name)
    await client.send(tls.hello)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        await tls.handshake()
    assert await client.is_closed()


async def test_an_sni_for_another_host_ends_in_the_alert() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        for name in ("other.example", "api.tickets.example.evil.example", "localhost"):
            await alert(plane, NAME + b":443", name)
        assert origin.wires == []
        event = await plane.event()
        assert (event["kind"], event["status"], event["flags"]) == ("tunnel", 421, "DPE")


async def test_an_sni_that_names_a_service_is_refused_in_another_hosts_tunnel() -> None:
    async with open_origin(polite) as origin, open_plane(services=tickets(origin), leaves=(HOST,)) as plane:
        await alert(plane, origin.authority, HOST)
        assert origin.received == b""


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET / HTTP/1.1\r\nHost: other.example",
        b"GET / HTTP/1.1\r\nHost: api.tickets.example:8443",
        b"GET / HTTP/1.1\r\nHost:",
        b"GET https://other.example/ HTTP/1.1\r\nHost: api.tickets.example",
        b"GET http://api.tickets.example/ HTTP/1.1\r\nHost: api.tickets.example",
        b"GET https://other.example/ HTTP/1.1\r\nHost: other.example",
    ],
)
async def test_a_request_for_another_host_within_the_tunnel_is_421(request_line: bytes) -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        tls = await intercepted(plane)
        answer = await tls.ask(request_line + b"\r\n\r\n", b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 421 ")
        assert origin.wires == []


async def test_an_absolute_target_within_the_tunnel_may_name_its_host() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        tls = await intercepted(plane)
        await tls.ask(b"GET https://%b/a HTTP/1.1\r\nHost: %b\r\n\r\n" % (NAME, NAME), b"ok")
        await tls.ask(b"OPTIONS * HTTP/1.1\r\nHost: %b\r\n\r\n" % NAME, b"ok")
        assert [seen.target for seen in origin.requests] == [b"/a", b"*"]


async def test_connect_within_a_tunnel_is_405() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        tls = await intercepted(plane)
        answer = await tls.ask(connect(NAME + b":443"), b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize(
    "first",
    [
        GET,
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01a",
        b"\x16\x03\x01\x00\x04\x01\x00\x80\x01",
        b"\0",
    ],
)
@pytest.mark.parametrize("together", [False, True], ids=["after the 200", "in one segment"])
async def test_other_bytes_than_a_hello_are_refused_in_a_services_tunnel(first: bytes, together: bool) -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,)) as plane,
    ):
        client = await plane.connect()
        await client.send(connect(NAME + b":443") + (first if together else b""))
        assert (await client.reply(b"CONNECT")).status == 200
        if not together:
            await client.send(first)
        assert await client.is_closed()
        event = await plane.event()
        assert (event["kind"], event["status"], event["flags"]) == ("tunnel", 400, "DPE")
        assert origin.wires == []


async def test_silence_is_no_way_past_interception() -> None:
    async with (
        open_origin(tls=server_context(HOST)) as origin,
        open_plane(services=tickets(origin), leaves=(HOST,), limits=Limits(head_timeout=0.6, silence=0.1)) as plane,
    ):
        client = await plane.connect()
        await client.tunnel(NAME + b":443")
        await trio.sleep(0.3)  # longer than makes a tunnel of an unknown host's
        assert origin.wires == []
        assert await client.is_closed()
        assert (await plane.event())["status"] == 400


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_leaves_before_its_hello_is_reported(how: str) -> None:
    async with open_origin(echo) as origin, open_plane(services=tickets(origin)) as plane:
        for authority in (NAME + b":443", origin.authority):
            client = await plane.connect()
            await client.tunnel(authority)
            if how == "close":
                await client.aclose()
            else:
                client.reset()
        for number in range(2):
            assert (await plane.event(number))["kind"] == "tunnel"


async def test_an_insecure_service_is_served_in_the_clear_within_its_tunnel() -> None:
    async with open_origin() as origin:
        plain = service("plain", "plain.example", "http", origin.port)
        async with open_plane(services=(plain,)) as plane:
            for together in (False, True):
                client = await plane.connect()
                request = b"GET /a HTTP/1.1\r\nHost: plain.example\r\n\r\n"
                await client.send(connect(b"plain.example:80") + (request if together else b""))
                assert (await client.reply(b"CONNECT")).status == 200
                if not together:
                    await client.send(request)
                assert (await client.reply()).body == b"ok"
                await client.send(b"GET /b HTTP/1.1\r\nHost: other.example\r\n\r\n")
                assert (await client.reply()).status == 421
            assert [seen.target for seen in origin.requests] == [b"/a", b"/a"]
            assert origin.requests[0].first(b"authorization") == b"Bearer " + SECRET
