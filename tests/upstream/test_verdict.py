"""What a body says of a limit is found in it, and the client has it all the same."""

import gzip
from typing import Any

import pytest

from proxyd.core.message import BytesBody, Response
from proxyd.core.vendor import VendorDefinition, VendorLimits
from proxyd.upstream.verdict import MOST, heard

SAID = b'{"message":"You have exceeded a secondary rate limit."}'


class Pieces:
    """A body that comes in pieces, of a length that nobody knows."""

    replayable = False
    length = None

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.trailers: list[tuple[bytes, bytes]] = []
        self.reads = 0

    async def read(self) -> bytes:
        self.reads += 1
        return self._pieces.pop(0) if self._pieces else b""

    def take_ready(self) -> bytes | None:
        return None

    def take_pending(self) -> bytes:
        return b""

    def abandon(self) -> None:
        self._pieces.clear()

    def rewind(self) -> None:
        raise AssertionError


class Gate:
    """Notes the verdict."""

    policy = VendorLimits(definition=VendorDefinition("v", (403,), ("secondary rate limit",), 60.0))

    def __init__(self) -> None:
        self.verdicts: list[bool] = []

    def heard(self, exchange: Any, response: Response, sent: float, *, is_refusal: bool) -> None:
        self.verdicts.append(is_refusal)


async def verdict(response: Response) -> tuple[bool, bytes]:
    gate = Gate()
    found = await heard(gate, None, response, 0.0)  # type: ignore[arg-type]
    data = b""
    while piece := await found.body.read():
        data += piece
    return gate.verdicts[0], data


@pytest.mark.parametrize(
    ("status", "headers", "body", "is_refusal"),
    [
        (403, [], SAID, True),
        (403, [(b"content-encoding", b"gzip")], gzip.compress(SAID, mtime=0), True),
        (403, [(b"content-encoding", b"gzip")], b"no gzip at all", False),
        (403, [(b"content-encoding", b"secret")], SAID, False),
        (403, [], b'{"message":"Forbidden"}', False),
        (200, [], SAID, False),
        (403, [], SAID + b" " * MOST, False),
    ],
)
async def test_a_refusal_is_known_by_status_and_words(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes, is_refusal: bool
) -> None:
    assert await verdict(Response(status, list(headers), BytesBody(body))) == (is_refusal, body)
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    assert await verdict(Response(status, list(headers), Pieces(*pieces))) == (is_refusal, body)


async def test_a_body_under_another_status_is_not_touched() -> None:
    body = Pieces(SAID)
    await heard(Gate(), None, Response(200, [], body), 0.0)  # type: ignore[arg-type]
    assert body.reads == 0


async def test_a_long_body_is_left_alone_after_its_beginning() -> None:
    body = Pieces(*[b"x" * 1024] * 40)
    response = await heard(Gate(), None, Response(403, [], body), 0.0)  # type: ignore[arg-type]
    assert body.reads <= 18
    assert response.body.take_ready() is None
    assert len(response.body.take_pending()) == MOST + 1024
    assert await response.body.read() == b"x" * 1024
    response.body.abandon()
    assert await response.body.read() == b""
