"""RFC 9113 on the codec with the judge of heads: the tables, each case whole and byte by byte."""

import pytest

from proxyd.core.errors import ProxyError
from proxyd.core.limits import Http2Limits
from proxyd.wire.http2 import PREFACE, Code, Codec, Data, Head, Http2Error, Trailers
from proxyd.wire.http2_fields import request_fields
from proxyd.wire.http2_head import MalformedError, request_head, response_head, trailers
from tests.wire.http2_client_table import client_table
from tests.wire.http2_frames import SETTINGS, Case, frame, outcome_of
from tests.wire.http2_server_table import server_table

LIMITS = Http2Limits()
BOUNDS = {"limit": LIMITS.head_bytes, "max_fields": 100}
CLIENT = client_table()
SERVER = [case for case in server_table(b"http", b"api.test") if case.codec]


class Endpoint:
    """The smallest one: a codec, and the judge of heads."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.codec.begin()
        self.said = b""
        self.over = False
        self.code = 0
        self.done = False
        self.malformed = False

    def hear(self, data: bytes) -> None:
        """Take bytes and note what is said in return; nothing more is heard after a connection error."""
        if self.over:
            return
        try:
            events = self.codec.receive(data)
        except Http2Error as error:
            self.over = True
            self.said += self.codec.take()
            self.code = error.code
            return
        for event in events:
            if isinstance(event, Head | Data | Trailers):
                try:
                    self._take(event)
                except MalformedError:
                    self.malformed = True
                    self.codec.reset(event.stream, Code.PROTOCOL_ERROR)
        self.said += self.codec.take()

    def outcome(self) -> str:
        """Beside what was said: what the judge found in a message on a stream that had ended, and whole answers."""
        said = outcome_of(self.said)
        if said == "ok" and self.malformed:
            return "rst:PROTOCOL_ERROR"
        return "answer:200" if said == "ok" and self.done else said

    def _take(self, event: Head | Data | Trailers) -> None:
        ended = True
        if isinstance(event, Head):
            ended = self._head(event)
        elif isinstance(event, Trailers):
            trailers(event.fields, **BOUNDS)
        else:
            ended = event.ended
            self.codec.credit(0, event.credit)
        if ended:
            self._ended(event.stream)

    def _head(self, event: Head) -> bool:
        raise NotImplementedError

    def _ended(self, stream: int) -> None:
        raise NotImplementedError


class Server(Endpoint):
    """Answers every request that is one, once it has ended."""

    def __init__(self) -> None:
        super().__init__(Codec(client=False, limits=LIMITS, clock=lambda: 0.0))
        self.codec.take()

    def _head(self, event: Head) -> bool:
        try:
            request_head(event.fields, ended=event.ended, scheme=b"http", uri_limit=8192, **BOUNDS)
        except ProxyError as error:
            self.codec.head(event.stream, [(b":status", b"%d" % error.status, False)], ended=True)
            return False
        return event.ended

    def _ended(self, stream: int) -> None:
        try:
            self.codec.head(stream, [(b":status", b"200", False)], ended=True)
        except KeyError:
            return  # it was reset meanwhile


class Client(Endpoint):
    """Has asked GET on stream 1."""

    def __init__(self) -> None:
        super().__init__(Codec(client=True, limits=LIMITS, clock=lambda: 0.0))
        fields = request_fields(b"GET", b"https", b"api.test", b"/", [])
        self.codec.head(self.codec.open(), fields, ended=True)
        self.codec.take()

    def _head(self, event: Head) -> bool:
        response_head(event.fields, b"GET", ended=event.ended, **BOUNDS)
        return event.ended

    def _ended(self, stream: int) -> None:
        self.done = True


OPENINGS = {Server: PREFACE + frame(SETTINGS, 0, 0), Client: frame(SETTINGS, 0, 0)}
TABLES = [(Server, case) for case in SERVER] + [(Client, case) for case in CLIENT]


def _cases(most: int) -> list[object]:
    """Cases of no more than so many bytes."""
    return [
        pytest.param(side, case, id=f"{side.__name__} {case}")
        for side, case in TABLES
        if sum(len(write) for write in case.writes) <= most
    ]


@pytest.mark.parametrize(("side", "case"), _cases(10**9))
def test_what_is_heard_write_by_write(side: type[Server | Client], case: Case) -> None:
    endpoint = side()
    if not case.raw:
        endpoint.hear(OPENINGS[side])
    for data in case.writes:
        endpoint.hear(data)
    assert endpoint.outcome() in case.outcomes
    assert not endpoint.over or endpoint.outcome() == f"goaway:{Code(endpoint.code).name}"


@pytest.mark.parametrize(("side", "case"), _cases(5000))
def test_what_is_heard_byte_by_byte(side: type[Server | Client], case: Case) -> None:
    endpoint = side()
    for byte in (b"" if case.raw else OPENINGS[side]) + b"".join(case.writes):
        endpoint.hear(bytes((byte,)))
    early = {"answer:200"} if "ok" in case.outcomes else set()  # before the reset that follows has come
    assert endpoint.outcome() in case.outcomes | early


def test_the_tables_are_long_enough_and_say_where_each_case_stands() -> None:
    for table in (SERVER, CLIENT):
        assert len({str(case) for case in table}) == len(table)
    assert len(SERVER) >= 120
    assert len(CLIENT) >= 60
