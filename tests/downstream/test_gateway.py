"""The gateway on the wire: names, base paths, what a web page could send, and what never goes upstream."""

import os
import random
import sys

import pytest
import trio

from proxyd.core.access import Access, Rule
from proxyd.core.service import BaseUrl
from proxyd.core.snapshot import GATEWAY_TOKEN, Listener, ListenerMode
from proxyd.downstream import tunnel
from proxyd.wire.sniff import sniff
from tests.lab.plane import (
    SECRET,
    Client,
    Origin,
    Plane,
    Reply,
    Wire,
    open_origin,
    open_plane,
    read_request,
    scripted,
    server_context,
    service,
)

HOST = "api.tickets.example"
TOKEN = b"the-token-of-the-gateway"
PROGRAM = os.path.realpath(sys.executable)
PAGE = b"https://app.example"
LISTENERS = (
    Listener("tcp", ListenerMode.GATEWAY, "127.0.0.1:0", origins=(PAGE.decode(),)),
    Listener("open", ListenerMode.GATEWAY, "127.0.0.1:0", open=True),
    Listener("local", ListenerMode.GATEWAY, "unix:/gateway.sock"),
    Listener("forward", ListenerMode.FORWARD, "unix:/forward.sock"),
)


def tickets(origin: Origin, path: str = "/v2", **changes):
    return service(
        "tickets",
        HOST,
        "http",
        origin.port,
        base=BaseUrl("http", HOST, 80, path),
        **changes,
    )


def open_gateway(*services, **changes):
    return open_plane(**{"services": services, "listeners": LISTENERS} | changes)


async def ask(plane: Plane, listener: str, target: bytes, *fields: bytes, method: bytes = b"GET") -> Reply:
    """Send one request on a connection of its own; ``PORT`` in it stands for the listener's."""
    client = await plane.connect(listener)
    lines = b"".join(field + b"\r\n" for field in fields)
    head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, lines)
    await client.send(head.replace(b"PORT", b"%d" % plane.ports.get(listener, 0)))
    return await client.reply(method)


async def with_token(plane: Plane) -> None:
    await plane.set_secret(GATEWAY_TOKEN, TOKEN)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listener", "target", "host"),
    [
        ("local", b"/user?a=%20b", b"tickets"),
        ("local", b"/user?a=%20b", b"TICKETS"),
        ("local", b"/user?a=%20b", b"tickets.localhost"),
        ("local", b"/tickets/user?a=%20b", b"localhost"),
        ("local", b"/tickets/user?a=%20b", b"127.0.0.1:8080"),
        ("open", b"/tickets/user?a=%20b", b"127.0.0.1:PORT"),
        ("open", b"/tickets/user?a=%20b", b"localhost:PORT"),
        ("open", b"/tickets/user?a=%20b", b"[::1]:PORT"),
        ("open", b"/user?a=%20b", b"tickets.localhost:PORT"),
        ("open", b"/user?a=%20b", b"tickets.localhost"),
        ("open", b"/user?a=%20b", b"tickets"),
        ("open", b"http://127.0.0.1:PORT/tickets/user?a=%20b", b"127.0.0.1:PORT"),
        ("open", b"http://tickets.localhost:PORT/user?a=%20b", b"tickets.localhost:PORT"),
    ],
)
async def test_every_form_reaches_the_base_url(listener: str, target: bytes, host: bytes) -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        assert (await ask(plane, listener, target, b"Host: " + host)).status == 200
        (seen,) = origin.requests
        assert seen.target == b"/v2/user?a=%20b"
        assert seen.first(b"host") == HOST.encode()
        assert seen.first(b"authorization") == b"Bearer " + SECRET


@pytest.mark.parametrize(
    ("base", "target", "sent"),
    [
        ("/v2", b"/tickets", b"/v2"),
        ("/v2", b"/tickets/", b"/v2/"),
        ("/v2", b"/tickets?q", b"/v2?q"),
        ("", b"/tickets", b"/"),
        ("", b"/tickets?q", b"/?q"),
        ("", b"/tickets/a%20b", b"/a%20b"),
    ],
)
async def test_what_follows_the_name_is_sent_byte_for_byte(base: str, target: bytes, sent: bytes) -> None:
    async with open_origin() as origin, open_gateway(tickets(origin, base)) as plane:
        assert (await ask(plane, "local", target, b"Host: localhost")).status == 200
        assert origin.requests[0].target == sent


async def test_the_longest_name_wins_where_names_hold_slashes() -> None:
    async with open_origin() as origin:
        one = service("a", "one.example", "http", origin.port, base=BaseUrl("http", "one.example", 80))
        two = service("a/b", "two.example", "http", origin.port, base=BaseUrl("http", "two.example", 80))
        async with open_gateway(one, two) as plane:
            for path in (b"/a/b/c", b"/a/c"):
                assert (await ask(plane, "local", path, b"Host: localhost")).status == 200
            assert [seen.first(b"host") for seen in origin.requests] == [b"two.example", b"one.example"]


@pytest.mark.parametrize(
    ("listener", "target", "host", "status", "words"),
    [
        ("local", b"/x", b"tikets", 404, b"did you mean tickets?"),
        ("open", b"/x", b"tikets.localhost:PORT", 404, b"did you mean tickets?"),
        ("open", b"/tikets/x", b"127.0.0.1:PORT", 404, b"did you mean tickets?"),
        ("open", b"/TICKETS/x", b"127.0.0.1:PORT", 404, b"no service is named TICKETS"),
        ("open", b"/t%69ckets/x", b"127.0.0.1:PORT", 404, b"no service"),
        ("open", b"/zzz/x", b"127.0.0.1:PORT", 404, b"`proxyd services` lists them"),
        ("open", b"/", b"127.0.0.1:PORT", 404, b"names no service"),
        ("open", b"//tickets/x", b"127.0.0.1:PORT", 404, b"names no service"),
        ("open", b"*", b"127.0.0.1:PORT", 400, b"no resource *"),
        ("open", b"/tickets/x#f", b"127.0.0.1:PORT", 400, b"fragment"),
        ("open", b"/tickets/../gitlab/x", b"127.0.0.1:PORT", 400, b"ambiguous"),
        ("open", b"/tickets/%2e%2e/x", b"127.0.0.1:PORT", 400, b"ambiguous"),
        ("open", b"/tickets//x", b"127.0.0.1:PORT", 400, b"ambiguous"),
        ("open", b"/../v1/x", b"tickets.localhost:PORT", 400, b"ambiguous"),
        ("open", b"https://tickets.localhost:PORT/x", b"tickets.localhost:PORT", 421, b"http URLs"),
        ("open", b"http://tickets.localhost:PORT/x", b"127.0.0.1:PORT", 421, b"another host than the URL"),
        ("open", b"http://api.tickets.example/x", b"api.tickets.example", 421, b"not this gateway's"),
    ],
)
async def test_what_is_no_services_place_is_refused(
    listener: str, target: bytes, host: bytes, status: int, words: bytes
) -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        reply = await ask(plane, listener, target, b"Host: " + host)
        assert (reply.status, reply.first(b"content-type")) == (status, b"application/problem+json")
        assert words in reply.body
        assert not origin.requests


async def test_a_host_that_is_missing_is_400() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        client = await plane.connect("local")
        await client.send(b"GET /tickets/x HTTP/1.0\r\n\r\n")
        assert (await client.reply()).status == 400


async def test_there_is_no_connect() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        client = await plane.connect("local")
        reply = await client.tunnel(b"api.tickets.example:443")
        assert reply.status == 501


async def test_a_service_that_needs_encoded_slashes_gets_them() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin, encoded_slash=True)) as plane:
        assert (await ask(plane, "local", b"/tickets/projects/a%2Fb", b"Host: localhost")).status == 200
        assert origin.requests[0].target == b"/v2/projects/a%2Fb"


async def test_rules_judge_the_upstreams_path() -> None:
    rules = Access((Rule(True, ("tickets",), paths=("/v2/open/",)),))
    async with open_origin() as origin, open_gateway(tickets(origin), access=rules) as plane:
        assert (await ask(plane, "local", b"/open/x", b"Host: tickets")).status == 200
        assert (await ask(plane, "local", b"/closed/x", b"Host: tickets")).status == 403
        assert (await ask(plane, "local", b"/v2/open/x", b"Host: tickets")).status == 403


PIECES = (
    b"/", b"//", b"one", b"two", b"ONE", b"v1", b"..", b".", b"%2e%2e", b"%2f", b";", b"?", b"two/", b"http://two/",
    b"http://two.localhost:PORT", b"\\", b"x", b"@two",
)  # fmt: skip
HOSTS = (
    b"one", b"two", b"one.localhost", b"two.localhost:PORT", b"localhost:PORT", b"127.0.0.1:PORT", b"[::1]:PORT",
    b"one.example", b"two.example:80", b"evil.example", b"one.two.localhost",
)  # fmt: skip


async def test_whatever_is_asked_for_no_service_sees_anothers_secret_or_a_path_outside_of_its_base() -> None:
    chance = random.Random(3)
    async with open_origin() as one, open_origin() as two:
        services = [
            service(name, f"{name}.example", "http", origin.port, base=BaseUrl("http", f"{name}.example", 80, "/v1"))
            for name, origin in (("one", one), ("two", two))
        ]
        async with open_gateway(*services) as plane:
            await plane.set_secret("one/key", b"secret-of-one-only")
            await plane.set_secret("two/key", b"secret-of-two-only")
            for _ in range(300):
                target = b"/" * chance.randrange(2) + b"".join(chance.choices(PIECES, k=chance.randrange(1, 5)))
                await ask(plane, chance.choice(["open", "local"]), target, b"Host: " + chance.choice(HOSTS))
        for origin, own, others in ((one, b"one", b"two"), (two, b"two", b"one")):
            assert origin.requests
            assert b"secret-of-%b-only" % others not in origin.received
            for seen in origin.requests:
                assert seen.first(b"host") == own + b".example"
                assert seen.first(b"authorization") == b"Bearer secret-of-%b-only" % own
                path = seen.target.partition(b"?")[0]
                assert path == b"/v1" or path.startswith(b"/v1/")
                assert not set(path.split(b"/")) & {b"..", b".", b"%2e%2e"}


# --- web pages ------------------------------------------------------------------------------------

FOREIGN = [
    (b"Host: evil.example:PORT", 421),
    (b"Host: evil.example", 421),
    (b"Host: 127.0.0.1", 421),
    (b"Host: 127.0.0.1:1", 421),
    (b"Host: 127.0.0.2:PORT", 421),
    (b"Host: tickets:PORT", 421),
    (b"Host: tickets.localhost:1", 421),
    (b"Host: tickets.localhost.evil.example:PORT", 421),
    (b"Host: localhost.evil.example:PORT", 421),
    (b"Host: [::ffff:127.0.0.1]:PORT", 421),
    (b"Host: evil.example@127.0.0.1:PORT", 400),
]
BROWSER = [
    b"Origin: https://evil.example",
    b"Origin: null",
    b"Origin: http://127.0.0.1:PORT",
    b"Origin: https://app.example.evil",
    b"Origin: http://app.example",
    b"Origin: https://app.example:8443",
    b"Origin: https://app.example\r\nOrigin: https://evil.example",
    b"Sec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site: same-site",
    b"Sec-Fetch-Site: Cross-Site",
    b"Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site:",
]


@pytest.mark.parametrize(("host", "status"), FOREIGN)
@pytest.mark.parametrize("listener", ["tcp", "open"])
async def test_a_foreign_host_is_refused_on_tcp(listener: str, host: bytes, status: int) -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        await with_token(plane)
        reply = await ask(plane, listener, b"/tickets/x", host, b"Proxyd-Token: " + TOKEN)
        assert reply.status == status
        assert not origin.requests


@pytest.mark.parametrize("fields", BROWSER)
@pytest.mark.parametrize("listener", ["tcp", "open", "local"])
async def test_what_a_browser_tells_on_its_page_is_refused(listener: str, fields: bytes) -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        await with_token(plane)
        host = b"Host: localhost:PORT" if listener != "local" else b"Host: localhost"
        reply = await ask(plane, listener, b"/tickets/x", host, b"Proxyd-Token: " + TOKEN, *fields.split(b"\r\n"))
        assert reply.status == 403
        assert not origin.requests


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((), 401),
        ((b"Proxyd-Token: wrong",), 401),
        ((b"Proxyd-Token: " + TOKEN, b"Proxyd-Token: " + TOKEN), 401),
        ((b"Proxyd-Token: " + TOKEN[:-1],), 401),
        ((b"Authorization: Bearer " + TOKEN,), 401),
        ((b"Proxyd-Token: " + TOKEN, b"Sec-Fetch-Site: none"), 200),
        ((b"Proxyd-Token: " + TOKEN, b"Sec-Fetch-Site: same-origin"), 200),
        ((b"Proxyd-Token: " + TOKEN, b"Origin: " + PAGE, b"Sec-Fetch-Site: cross-site"), 200),
    ],
)
async def test_on_tcp_the_token_is_demanded(fields: tuple[bytes, ...], status: int) -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        await with_token(plane)
        reply = await ask(plane, "tcp", b"/tickets/x", b"Host: 127.0.0.1:PORT", *fields)
        assert reply.status == status
        assert len(origin.requests) == (status == 200)
        if status == 401:
            assert reply.first(b"www-authenticate") == b'Proxyd-Token realm="proxyd"'
            assert TOKEN not in reply.body


async def test_without_a_token_of_its_own_a_gateway_on_tcp_serves_nobody() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        reply = await ask(plane, "tcp", b"/tickets/x", b"Host: 127.0.0.1:PORT", b"Proxyd-Token: ")
        assert reply.status == 401


async def test_a_caller_without_the_token_learns_no_names() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        await with_token(plane)
        assert (await ask(plane, "tcp", b"/tikets/x", b"Host: 127.0.0.1:PORT")).status == 401


async def test_what_is_the_gateways_own_does_not_go_upstream() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        await with_token(plane)
        fields = (b"Proxyd-Token: " + TOKEN, b"Origin: " + PAGE, b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: cors")
        await ask(plane, "tcp", b"/tickets/x", b"Host: 127.0.0.1:PORT", b"X-Kept: 1", *fields)
        (seen,) = origin.requests
        assert {name for name, _ in seen.end_to_end()} == {b"x-kept", b"authorization"}
        assert TOKEN not in origin.received


async def test_an_allowed_pages_preflight_is_answered_here() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        await with_token(plane)
        reply = await ask(
            plane, "tcp", b"/tickets/x", b"Host: 127.0.0.1:PORT", b"Origin: " + PAGE, b"Sec-Fetch-Site: cross-site",
            b"Access-Control-Request-Method: PUT", b"Access-Control-Request-Headers: proxyd-token,x-a",
            method=b"OPTIONS",
        )  # fmt: skip
        assert reply.status == 204
        assert reply.first(b"access-control-allow-origin") == PAGE
        assert reply.first(b"access-control-allow-methods") == b"PUT"
        assert reply.first(b"access-control-allow-headers") == b"proxyd-token,x-a"
        assert not origin.requests


async def test_other_options_requests_need_the_token() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        await with_token(plane)
        reply = await ask(plane, "tcp", b"/tickets/x", b"Host: 127.0.0.1:PORT", b"Origin: " + PAGE, method=b"OPTIONS")
        assert reply.status == 401


async def test_an_allowed_page_may_read_the_answer_whatever_the_service_says_of_origins() -> None:
    answer = scripted(b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: https://other\r\ncontent-length: 2\r\n\r\nok")
    async with open_origin(answer) as origin, open_gateway(tickets(origin)) as plane:
        await with_token(plane)
        reply = await ask(
            plane, "tcp", b"/tickets/x", b"Host: 127.0.0.1:PORT", b"Origin: " + PAGE, b"Proxyd-Token: " + TOKEN
        )
        assert [value for name, value in reply.headers if name == b"access-control-allow-origin"] == [PAGE]


# --- callers --------------------------------------------------------------------------------------


async def test_a_unix_caller_is_known_by_the_kernel() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin), access=None) as plane:
        assert (await ask(plane, "local", b"/x", b"Host: tickets")).status == 200
        event = await plane.event()
        assert (event["mode"], event["caller"], event["uid"]) == ("gateway", "unix", os.getuid())
        assert (event["gid"], event["pid"]) == (os.getgid(), os.getpid())
        assert event["executable_hint"] == PROGRAM


async def test_another_uid_is_refused_by_the_rules() -> None:
    rules = Access((Rule(True, ("tickets",), uids=(os.getuid() + 1,)),))
    async with open_origin() as origin, open_gateway(tickets(origin), access=rules) as plane:
        reply = await ask(plane, "local", b"/x", b"Host: tickets")
        assert reply.status == 403
        assert b"uid %d" % os.getuid() in reply.body


async def test_connections_on_unix_sockets_are_bounded_by_uid() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        await plane.apply(limits=plane.snapshot.limits.__class__(connections_per_caller=1))
        first = await plane.connect("local")
        await first.send(b"GET /x HTTP/1.1\r\nHost: tickets\r\n\r\n")
        assert (await first.reply()).status == 200
        second = await plane.connect("local")
        assert await second.is_closed()


# --- what a connection does -----------------------------------------------------------------------


async def test_a_connection_is_kept_for_several_services_and_bodies() -> None:
    async with open_origin() as origin, open_gateway(tickets(origin)) as plane:
        client = await plane.connect("local")
        for _ in range(2):
            await client.send(b"POST /x HTTP/1.1\r\nHost: tickets\r\nContent-Length: 4\r\n\r\nbody")
            assert (await client.reply(b"POST")).status == 200
        assert [seen.body for seen in origin.requests] == [b"body", b"body"]
        assert len(origin.wires) == 1


async def test_a_websocket_is_carried() -> None:
    async def echo(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await wire.send(await wire.exactly(6))

    async with open_origin(echo) as origin, open_gateway(tickets(origin)) as plane:
        client = await plane.connect("local")
        await client.send(b"GET /x HTTP/1.1\r\nHost: tickets\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert (await client.reply()).status == 101
        await client.send(b"frames")
        assert await client.exactly(6) == b"frames"


async def test_redirects_links_cookies_and_hints_come_back_in_the_clients_form() -> None:
    base = b"http://api.tickets.example/v2"

    async def answer(origin: Origin, wire: Wire) -> None:
        while await read_request(origin, wire) is not None:
            await wire.send(
                b"HTTP/1.1 103 Early Hints\r\nlink: <%b/a.css>; rel=preload\r\n\r\n"
                b"HTTP/1.1 302 Found\r\nlocation: %b/next?p=2\r\nlink: <%b/next>; rel=next\r\n"
                b"set-cookie: s=1; Domain=api.tickets.example; Path=/v2\r\ncontent-length: 0\r\n\r\n"
                % (base, base, base)
            )

    async with open_origin(answer) as origin, open_gateway(tickets(origin)) as plane:
        port = b"%d" % plane.ports["open"]
        client = await plane.connect("open")
        await client.send(b"GET /tickets/x HTTP/1.1\r\nHost: 127.0.0.1:%b\r\n\r\n" % port)
        hint, reply = await client.reply(), await client.reply()
        own = b"http://127.0.0.1:%b/tickets" % port
        assert hint.first(b"link") == b"<%b/a.css>; rel=preload" % own
        assert reply.first(b"location") == own + b"/next?p=2"
        assert reply.first(b"link") == b"<%b/next>; rel=next" % own
        assert reply.first(b"set-cookie") == b"s=1; Domain=127.0.0.1; Path=/tickets"


async def test_an_upgraded_requests_redirect_stays_http() -> None:
    answer = scripted(b"HTTP/1.1 302 Found\r\nlocation: https://api.tickets.example/next\r\ncontent-length: 0\r\n\r\n")
    async with open_origin(answer, tls=server_context(HOST)) as origin:
        secure = service("tickets", HOST, "https", origin.port)
        async with open_plane(services=(secure,)) as plane:
            client = await plane.connect()
            assert (await client.get(b"http://api.tickets.example/x")).first(b"location") == (
                b"http://api.tickets.example/next"
            )
            assert (await client.get(b"https://api.tickets.example/x")).first(b"location") == (
                b"https://api.tickets.example/next"
            )


# --- a forward listener on a Unix socket ----------------------------------------------------------


async def connect_by_tls(plane: Plane, *, bytewise: bool = False) -> Client:
    client = await plane.connect("forward")
    assert (await client.tunnel(HOST.encode() + b":443")).status == 200
    tls = await client.start_tls_by_hand(HOST, bytewise=bytewise)
    await tls.handshake()
    answer = await tls.ask(b"GET /x HTTP/1.1\r\nHost: api.tickets.example\r\n\r\n", b"ok")
    assert answer.startswith(b"HTTP/1.1 200")
    return client


@pytest.mark.parametrize("bytewise", [False, True])
async def test_a_forward_listener_on_a_unix_socket_intercepts(bytewise: bool) -> None:
    async with open_origin(tls=server_context(HOST)) as origin:
        secure = service("tickets", HOST, "https", origin.port)
        async with open_gateway(secure, leaves=(HOST,)) as plane:
            await connect_by_tls(plane, bytewise=bytewise)
            assert origin.requests[0].first(b"authorization") == b"Bearer " + SECRET


async def test_half_a_hello_on_a_unix_socket_is_waited_for_without_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def counted(data: bytes, limit: int) -> object:
        looks.append(len(data))
        return sniff(data, limit)

    monkeypatch.setattr(tunnel, "sniff", counted)
    async with open_origin(tls=server_context(HOST)) as origin:
        secure = service("tickets", HOST, "https", origin.port)
        async with open_gateway(secure, leaves=(HOST,)) as plane:
            client = await plane.connect("forward")
            await client.tunnel(HOST.encode() + b":443")
            await client.send(b"\x16\x03\x01\x02\x00\x01")
            await trio.sleep(0.05)  # a task that spins would look thousands of times
            assert len(looks) < 5
            await client.finish_writing()
            assert await client.is_closed()
