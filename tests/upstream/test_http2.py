"""Exchanges on HTTP/2 connections to upstreams, through a live worker."""

import dataclasses

from proxyd.core.service import Service, Version
from tests.lab.http2_origin import http2_context, open_http2
from tests.lab.plane import SECRET, Client, Reply, open_plane, service

HOST = "api.tickets.example"


def plain(*ports: int, **changes: object) -> tuple[Service, ...]:
    made = service("plain", "plain.example", "http", *ports)
    return (dataclasses.replace(made, protocol=Version.HTTP2, **changes),)  # type: ignore[arg-type]


def secure(port: int, **changes: object) -> tuple[Service, ...]:
    made = dataclasses.replace(service("tickets", HOST, "https", port), protocol=Version.AUTO)
    return (dataclasses.replace(made, **changes),)  # type: ignore[arg-type]


async def ask(client: Client, method: bytes = b"GET", body: bytes = b"", host: bytes = b"plain.example") -> Reply:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    await client.send(b"%b http://%b/ HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, host, host, length) + body)
    return await client.reply()


async def test_a_get_goes_to_an_upstream_of_http2_by_prior_knowledge() -> None:
    async with open_http2() as site, open_plane(services=plain(site.port)) as plane:
        client = await plane.connect()
        for _ in range(3):
            reply = await ask(client)
            assert (reply.status, reply.body) == (200, b"ok")
        assert len(site.sessions) == 1
        assert site.asked[0].headers == [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"plain.example"),
            (b":path", b"/"),
            (b"authorization", b"Bearer " + SECRET),
            (b"via", b"1.1 proxyd-lab"),
        ]


async def test_alpn_chooses_http2() -> None:
    async with open_http2(tls=http2_context(HOST)) as site, open_plane(services=secure(site.port)) as plane:
        client = await plane.connect()
        assert (await ask(client, host=HOST.encode())).body == b"ok"
        assert site.asked[0].first(b":scheme") == b"https"
