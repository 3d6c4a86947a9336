"""Tokens that are refused, missing or renewed, through a live worker and real sockets; the test is control."""

import dataclasses

import pytest
import trio

from proxyd.core.messages import CredentialRefused, WantToken
from proxyd.core.resilience import Resilience, RetryPolicy
from proxyd.core.service import Auth, AuthPart, Service, TokenRefusal
from proxyd.upstream import renewal
from tests.lab.plane import Answer, Origin, Plane, Wire, open_origin, open_plane, read_request, service

HOST = "plain.example"
NAME = "token:plain"
OLD, NEW = b"old-token-of-a-vendor", b"new-token-of-a-vendor"


def plain(port: int, secret: str = NAME) -> tuple[Service, ...]:
    auth = Auth("bearer", (AuthPart("authorization", secret),))
    once = Resilience(retry=RetryPolicy(attempts=1))
    return (service("plain", HOST, "http", port, auths=(auth,), resilience=once),)


def demanding(*accepted: bytes) -> Answer:
    """Answer 200 to bearers of these tokens, else 401 with words."""

    async def answer(origin: Origin, wire: Wire) -> None:
        while (seen := await read_request(origin, wire)) is not None:
            good = seen.first(b"authorization") in [b"Bearer " + one for one in accepted]
            head = b"HTTP/1.1 200 OK" if good else b"HTTP/1.1 401 Unauthorized"
            body = b"fine" if good else b"token expired"
            await wire.send(head + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    return answer


async def ask(plane: Plane, body: bytes = b"") -> tuple[int, bytes]:
    client = await plane.connect()
    method = b"POST" if body else b"GET"
    head = b"%s http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n" % method
    if body:
        head += b"Content-Length: %d\r\n" % len(body)
    await client.send(head + b"\r\n" + body)
    reply = await client.reply()
    return reply.status, reply.body


async def test_a_refused_token_is_renewed_and_the_request_made_again_once() -> None:
    async with open_origin(demanding(NEW)) as origin, open_plane(services=plain(origin.port)) as plane:
        await plane.set_tokens(1, {NAME: OLD})
        answers: list[tuple[int, bytes]] = []

        async def one() -> None:
            answers.append(await ask(plane, b"a body"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            assert await plane.question() == CredentialRefused([NAME], 1)
            await plane.set_tokens(2, {NAME: NEW})
        assert answers == [(200, b"fine")]
        assert [seen.body for seen in origin.requests] == [b"a body", b"a body"]
        event = await plane.event()
        assert (event["status"], event["attempts"]) == (200, 2)
        assert event["tries"].endswith(" 401")
        await plane.wait_for(lambda: plane.counters.get(("proxyd_credential_replays", "plain")) == 1)


async def test_a_token_that_is_refused_again_is_the_clients_to_know() -> None:
    async with open_origin(demanding(b"none-of-these")) as origin, open_plane(services=plain(origin.port)) as plane:
        await plane.set_tokens(1, {NAME: OLD})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, plane, (401, b"token expired"))
            await plane.question()
            await plane.set_tokens(2, {NAME: NEW})
        assert len(origin.requests) == 2


async def test_where_nothing_better_comes_the_first_answer_is_passed_on_whole() -> None:
    async with open_origin(demanding(NEW)) as origin, open_plane(services=plain(origin.port)) as plane:
        await plane.set_tokens(1, {NAME: OLD})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, plane, (401, b"token expired"))
            await plane.question()
            await plane.set_tokens(2, {NAME: OLD})  # the refresh failed: the same value, a new serial
        assert len(origin.requests) == 1


async def test_of_many_that_were_refused_one_asks() -> None:
    async with open_origin(demanding(NEW)) as origin, open_plane(services=plain(origin.port)) as plane:
        await plane.set_tokens(1, {NAME: OLD})
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(expect, plane, (200, b"fine"))
            await plane.question()
            await plane.wait_for(lambda: len(origin.requests) == 10)
            await plane.set_tokens(2, {NAME: NEW})
        assert len(plane.questions) <= 1  # repeated after a second, should the test be slow
        assert len(origin.requests) == 20


async def test_a_secret_that_was_rotated_meanwhile_is_tried_without_a_question() -> None:
    rotated = trio.Event()

    async def answer(origin: Origin, wire: Wire) -> None:
        while (seen := await read_request(origin, wire)) is not None:
            if seen.first(b"authorization") == b"Bearer " + NEW:
                await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            else:
                await rotated.wait()
                await wire.send(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")

    async with open_origin(answer) as origin, open_plane(services=plain(origin.port, "plain/key")) as plane:
        await plane.set_secret("plain/key", OLD)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, plane, (200, b"ok"))
            await plane.wait_for(lambda: origin.requests)
            await plane.set_secret("plain/key", NEW)
            rotated.set()
        assert plane.questions == []


async def test_a_static_secret_that_is_refused_is_the_clients_to_know() -> None:
    async with open_origin(demanding(NEW)) as origin, open_plane(services=plain(origin.port, "plain/key")) as plane:
        assert await ask(plane) == (401, b"token expired")
        assert (len(origin.requests), plane.questions) == (1, [])


async def test_the_first_token_is_waited_for() -> None:
    async with open_origin(demanding(NEW)) as origin, open_plane(services=plain(origin.port)) as plane:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, plane, (200, b"fine"))
            await plane.wait_for(lambda: plane.worker._connections)
            await plane.set_tokens(1, {NAME: NEW})
        assert len(origin.requests) == 1


async def test_a_token_that_cannot_be_had_is_said_at_once() -> None:
    async with open_origin(demanding(NEW)) as origin, open_plane(services=plain(origin.port)) as plane:
        await plane.set_tokens(1, {NAME: None}, "invalid_grant: run `proxyd connect plain`")
        status, body = await ask(plane)
        assert status == 500
        assert b"proxyd connect plain" in body
        assert origin.requests == []


def challenging(*accepted: bytes) -> Answer:
    """Answer as a registry whose token service gives out these."""

    async def answer(origin: Origin, wire: Wire) -> None:
        while (seen := await read_request(origin, wire)) is not None:
            good = seen.first(b"authorization") in [b"Bearer " + one for one in accepted]
            field = b'www-authenticate: Bearer realm="https://auth.example/t",service="r",scope="repository:a:pull"\r\n'
            head = b"HTTP/1.1 200 OK\r\n" if good else b"HTTP/1.1 401 Unauthorized\r\n" + field
            await wire.send(head + b"content-length: 4\r\n\r\nbody")

    return answer


def registry(port: int) -> tuple[Service, ...]:
    auth = Auth("challenge", (AuthPart("authorization", NAME),))
    return (service("plain", HOST, "http", port, auths=(auth,)),)


WANTED = WantToken(NAME, "repository:a:pull", "https://auth.example/t", "r")


async def test_a_challenge_is_answered_once_and_its_token_serves_at_once_from_then_on() -> None:
    async with open_origin(challenging(NEW)) as origin, open_plane(services=registry(origin.port)) as plane:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, plane, (200, b"body"))
            assert await plane.question() == WANTED
            await plane.set_tokens(1, {WANTED.secret: NEW})
        await expect(plane, (200, b"body"))
        sent = [seen.first(b"authorization") for seen in origin.requests]
        assert sent == [None, b"Bearer " + NEW, b"Bearer " + NEW]
        assert plane.questions == []


async def test_a_token_for_a_scope_that_is_refused_is_asked_for_anew() -> None:
    async with open_origin(challenging(NEW)) as origin, open_plane(services=registry(origin.port)) as plane:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, plane, (401, b"body"))
            await plane.question()
            await plane.set_tokens(5, {WANTED.secret: OLD})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, plane, (200, b"body"))
            assert await plane.question() == dataclasses.replace(WANTED, serial=5)
            await plane.set_tokens(6, {WANTED.secret: NEW})
        assert len(origin.requests) == 4


async def test_what_another_request_had_fetched_is_used_without_a_question() -> None:
    async with open_origin(challenging(NEW)) as origin, open_plane(services=registry(origin.port)) as plane:
        await plane.set_tokens(1, {WANTED.secret: NEW})
        await expect(plane, (200, b"body"))
        assert (len(origin.requests), plane.questions) == (2, [])


async def test_a_token_for_a_scope_that_cannot_be_had_leaves_the_vendors_answer() -> None:
    async with open_origin(challenging(NEW)) as origin, open_plane(services=registry(origin.port)) as plane:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, plane, (401, b"body"))
            await plane.question()
            await plane.set_tokens(1, {WANTED.secret: None}, "the issuer answered 401")
        assert len(origin.requests) == 1


async def test_a_body_that_has_gone_is_not_sent_again_and_the_token_is_there_for_the_next() -> None:
    async with open_origin(challenging(NEW)) as origin, open_plane(services=registry(origin.port)) as plane:
        assert await ask(plane, b"x" * 70_000) == (401, b"body")
        assert await plane.question() == WANTED
        assert len(origin.requests) == 1


@pytest.mark.parametrize("limit", ["FIRST_SECONDS", "BETTER_SECONDS"])
async def test_nobody_waits_longer_than_the_bound(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, limit, 0.2)
    async with open_origin(demanding(NEW)) as origin, open_plane(services=plain(origin.port)) as plane:
        if limit == "BETTER_SECONDS":
            await plane.set_tokens(1, {NAME: OLD})
        status, _ = await ask(plane)
        assert status == (500 if limit == "FIRST_SECONDS" else 401)


async def expect(plane: Plane, answer: tuple[int, bytes]) -> None:
    assert await ask(plane) == answer


def refusing(body: bytes, status: bytes = b"400 Bad Request") -> Answer:
    """Answer 200 to the new token, and to every other what a vendor says in its own way."""

    async def answer(origin: Origin, wire: Wire) -> None:
        while (seen := await read_request(origin, wire)) is not None:
            good = seen.first(b"authorization") == b"Bearer " + NEW
            head, said = (b"200 OK", b"fine") if good else (status, body)
            await wire.send(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (head, len(said)) + said)

    return answer


def with_refusal(port: int, *codes: str) -> tuple[Service, ...]:
    return tuple(dataclasses.replace(one, token_refusal=TokenRefusal((400, 403), codes)) for one in plain(port))


@pytest.mark.parametrize(
    ("codes", "body"), [((), b""), (("ExpiredToken",), b'{"__type":"ExpiredTokenException","message":"over"}')]
)
async def test_a_vendor_may_say_in_its_own_way_that_a_token_is_over(codes: tuple[str, ...], body: bytes) -> None:
    async with open_origin(refusing(body)) as origin:
        async with open_plane(services=with_refusal(origin.port, *codes)) as plane:
            await plane.set_tokens(1, {NAME: OLD})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect, plane, (200, b"fine"))
                assert await plane.question() == CredentialRefused([NAME], 1)
                await plane.set_tokens(2, {NAME: NEW})
            assert len(origin.requests) == 2


@pytest.mark.parametrize("body", [b'{"__type":"ValidationException"}', b"ExpiredToken".rjust(20_000)])
async def test_what_is_said_of_something_else_is_passed_on_whole(body: bytes) -> None:
    async with open_origin(refusing(body)) as origin:
        async with open_plane(services=with_refusal(origin.port, "ExpiredToken")) as plane:
            await plane.set_tokens(1, {NAME: OLD})
            assert await ask(plane) == (400, body)
            assert (len(origin.requests), plane.questions) == (1, [])
