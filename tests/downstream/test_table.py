"""The tables of tests/wire/vectors.py through a live worker, whole and byte at a time, in both directions."""

import pytest

from tests.lab.plane import Origin, Wire, open_origin, open_plane, read_request
from tests.wire.vectors import (
    ACCEPTED,
    ANSWERS_ACCEPTED,
    ANSWERS_REFUSED,
    REFUSED,
    Accepted,
    Answer,
    Refused,
)

BYTEWISE = pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
LONG = 3000
"""Rows beyond this size are sent byte at a time only in part: their first and last bytes."""


def test_the_table_is_as_long_as_promised() -> None:
    assert len(REFUSED) >= 80
    assert len(ANSWERS_REFUSED) + len(ANSWERS_ACCEPTED) >= 40
    for table in (REFUSED, ACCEPTED, ANSWERS_REFUSED, ANSWERS_ACCEPTED):
        names = [row.name for row in table]
        assert len(names) == len(set(names))


async def send(wire: Wire, raw: bytes, bytewise: bool) -> None:
    if bytewise and len(raw) > LONG:
        await wire.send(raw[:500], bytewise=True)
        await wire.send(raw[500:-500])
        await wire.send(raw[-500:], bytewise=True)
    else:
        await wire.send(raw, bytewise=bytewise)


@BYTEWISE
@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
async def test_malformed_request_is_refused_and_the_connection_ends(row: Refused, bytewise: bool) -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await send(client, row.bytes_for(origin.authority), bytewise)
        reply = await client.reply()
        assert reply.status == row.status
        assert reply.first(b"connection") == b"close"
        assert b"error=http_request_error" in (reply.first(b"proxy-status") or b"")
        assert reply.first(b"content-type") == b"application/problem+json"
        assert await client.is_closed()
        await client.aclose()  # ends the lingering
        assert origin.requests == []
        if not row.name.startswith("chunk_"):
            assert origin.received == b""
        event = await plane.event()
        assert event["status"] == row.status
        assert event["flags"] == "DPE"


@BYTEWISE
@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
async def test_tricky_request_arrives_as_it_was_sent(row: Accepted, bytewise: bool) -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        await send(client, row.bytes_for(origin.authority), bytewise)
        while (reply := await client.reply(row.method)).status < 200:
            pass
        assert (reply.status, reply.body) == (200, b"ok")
        [seen] = origin.requests
        assert (seen.method, seen.target, seen.body) == (row.method, row.path, row.body)
        assert seen.end_to_end() == row.headers
        assert seen.trailers == row.trailers
        assert seen.first(b"host") == origin.authority
        assert seen.first(b"via") == b"1.1 proxyd-lab"


@pytest.mark.parametrize("row", [row for row in ACCEPTED if b"HTTP/1.0" not in row.raw], ids=lambda row: row.name)
async def test_a_request_follows_a_tricky_one_in_the_same_segment(row: Accepted) -> None:
    async with open_origin() as origin, open_plane() as plane:
        client = await plane.connect()
        following = b"GET http://%b/next HTTP/1.1\r\nHost: x\r\n\r\n" % origin.authority
        await client.send(row.bytes_for(origin.authority) + following)
        await client.reply(row.method)
        assert (await client.reply()).body == b"ok"
        assert [seen.target for seen in origin.requests] == [row.path, b"/next"]


def answering(row: Answer, bytewise: bool):
    async def answer(origin: Origin, wire: Wire) -> None:
        if await read_request(origin, wire) is not None:
            await send(wire, row.raw, bytewise)

    return answer


@BYTEWISE
@pytest.mark.parametrize("row", ANSWERS_REFUSED, ids=lambda row: row.name)
async def test_malformed_response_is_a_502_or_a_cut(row: Answer, bytewise: bool) -> None:
    async with open_origin(answering(row, bytewise)) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % origin.authority)
        raw = await client.rest()
        if row.late and raw.startswith(b"HTTP/1.1 200"):
            assert client.was_reset, "a cut body must not look complete"
        else:
            while raw.startswith(b"HTTP/1.1 10"):
                raw = raw.partition(b"\r\n\r\n")[2]
            assert raw.startswith(b"HTTP/1.1 502 ")
            assert raw.count(b"HTTP/1.1") == 1
        event = await plane.event()
        assert event["flags"] in ("UPE", "UC")
        assert event["attempts"] == 1


@BYTEWISE
@pytest.mark.parametrize("row", ANSWERS_ACCEPTED, ids=lambda row: row.name)
async def test_tricky_response_arrives(row: Answer, bytewise: bool) -> None:
    async with open_origin(answering(row, bytewise)) as origin, open_plane() as plane:
        client = await plane.connect()
        await client.send(b"%b http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % (row.method, origin.authority))
        while (reply := await client.reply(row.method)).status < 200:
            assert row.name.startswith("interim")
        assert (reply.status, reply.body) == (row.status, row.body)
        assert reply.first(b"via") == b"1.1 proxyd-lab"
        if row.name == "chunked_trailers":
            assert reply.trailers == [(b"x-sum", b"1")]
        if row.name == "head_with_length":
            assert reply.first(b"content-length") == b"3"
        assert (await plane.event())["flags"] == ""
