import dataclasses
import traceback
import typing

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core import messages
from proxyd.core.access import Access, Rule
from proxyd.core.described import Described
from proxyd.core.fault import Fault, FaultAnswer, FaultKind
from proxyd.core.idempotency import KeyState, Outcome
from proxyd.core.messages import (
    Answer,
    Applied,
    Bind,
    Bound,
    Events,
    Message,
    Pulse,
    SetCredential,
    Stats,
    WorkerStarted,
)
from proxyd.core.resilience import Hold, Override
from proxyd.core.service import Auth, AuthPart, BaseUrl, Endpoint, HostPattern, Service
from proxyd.core.snapshot import Listener, ListenerMode, Snapshot
from proxyd.wire import ipc

ALL = frozenset(typing.get_args(Message))
DIRECTIONS = (
    ipc.CONTROL_TO_WORKER,
    ipc.WORKER_TO_CONTROL,
    ipc.CONTROL_TO_SUPERVISOR,
    ipc.SUPERVISOR_TO_CONTROL,
    ipc.SUPERVISOR_TO_WORKER,
)

SNAPSHOT = Snapshot(
    version=3,
    pseudonym="proxyd-1",
    daemon_uid=1000,
    listeners=(Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0"),),
    services=(
        Service(
            "tickets",
            (HostPattern("api.tickets.example"),),
            BaseUrl("https", "api.tickets.example", 443, "/v2"),
            (Endpoint("127.0.0.1", 8443),),
            auths=(Auth("bearer", (AuthPart("authorization", "tickets/token"),)),),
        ),
    ),
    access=Access((Rule(allow=True, services=("tickets",), line=7),)),
    extra_roots_pem=b"\xff\x00PEM",
)

EXAMPLES = (
    messages.ApplySnapshot(SNAPSHOT),
    messages.SetListener("apps"),
    SetCredential("tickets/token", b"\xfe\xffsecret", serial=4),
    SetCredential("tickets/token", None, "the variable is not set"),
    messages.SetCredentials({"token:s3/access_key_id": b"AKIA", "token:s3/session_token": None}, "why", 4, 1e9),
    messages.InstallLeaf("a.example", b"chain", b"key", 1.5),
    messages.SetHealth("tickets", "192.0.2.1", 443, is_healthy=False),
    messages.SetOverrides([Override("tickets", "", 0, next(iter(Hold)))]),
    messages.SetFaults(
        [Fault("f1", FaultKind.STATUS, Rule(True, ("tickets",)), 1.5, answer=FaultAnswer(503, (("a", "b"),)))]
    ),
    messages.Drain(30.0),
    messages.Query(1, "pools"),
    messages.Ready(12),
    Applied(3),
    messages.Refused(3, "no"),
    messages.CredentialApplied("tickets/token", 4),
    messages.CredentialRefused(["token:tickets"], 4),
    messages.CredentialEnds("github/token", "2026-12-31 23:59:59 UTC"),
    messages.CertificateSeen("api.example", Described("0f" * 32, 1_700_000_000.0, 1_800_000_000.0, names=("a", "b"))),
    messages.Announced("api", "GET", "/v1/items/{id}", [["sunset", "Sat, 31 Dec 2033 23:59:59 GMT"]]),
    messages.WantToken("token:images", "repository:a/b:pull", "https://auth.example/token", "registry.example"),
    Events([[1, 0.5, "id", b"\xff/path", None, True]]),
    Stats([["a", ["x"], 1]], [], [["h", [], [1, 2], 0.5]]),
    messages.WantLeaf("a.example", "uid:1000"),
    messages.WantLease("tickets", "month", "uid:1000", 5, 2, [(3, 0.25)]),
    messages.SetLease("tickets", "month", "uid:1000", 5, 5.0, 0.0, 90, 3600.0, 2),
    messages.WantKey(7, "pay", b"k" * 32, b"f" * 32, b"c" * 16),
    messages.KeySettled(8, "pay", b"k" * 32, b"f" * 32, b"c" * 16, Outcome.ANSWERED, 201, [(b"a", b"\xff")], b"body"),
    messages.SetKey(7, KeyState.ANSWERED, 201, [(b"a", b"\xff")], b"body"),
    Answer(1, {"pools": [{"key": b"k"}]}),
    Bind(1, [("apps", "127.0.0.1:3128")], 2, 30.0),
    messages.BindAdmin(2, "127.0.0.1:0"),
    messages.Upgrade(3, 60.0, 3600.0),
    messages.Failed("the address is in use"),
    messages.Promoted(),
    messages.Reloaded(),
    messages.Notify("READY=1"),
    messages.Shutdown(30.0),
    Pulse(),
    Bound(1, [("apps", "127.0.0.1:3128")]),
    WorkerStarted(0, 77),
    messages.WorkerExited(0, 77, "killed by SIGKILL"),
    messages.Reload(),
    messages.Reopen(),
    messages.Upgraded(3, 2, "it was not ready in time"),
    messages.Generations(2, [(1, 4)]),
    messages.Promote(),
    messages.Retire(),
    messages.Predecessor(1),
    messages.Adopt(),
)


def packed(kind, fields):
    return msgpack.packb([kind, fields])


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_equal(message):
    back = ipc.decode(ipc.encode(message), ALL)
    assert back == message


def test_every_kind_has_an_example_and_a_direction():
    assert {type(message) for message in EXAMPLES} == ALL
    assert frozenset().union(*DIRECTIONS) == ALL


def test_bytes_and_text_stay_apart():
    assert ipc.decode(ipc.encode(Events([[b"a", "a"]])), ALL).events == [[b"a", "a"]]
    with pytest.raises(ValueError, match=r"SetListener\.name: expected str, got bytes"):
        ipc.decode(packed("SetListener", {"name": b"apps"}), ALL)


def test_tuples_inside_records_may_come_from_the_sender():
    assert ipc.decode(ipc.encode(Events([(1, 2.0, "x")])), ALL).events == [[1, 2.0, "x"]]


def test_records_are_passed_without_walking_them(monkeypatch):
    walked = []
    monkeypatch.setattr(ipc, "to_plain", walked.append)
    monkeypatch.setattr(ipc, "from_plain", lambda *arguments: walked.append(arguments))
    records = [[1, "x"]] * 1000
    assert ipc.decode(ipc.encode(Events(records)), ALL).events == records
    assert ipc.decode(ipc.encode(Stats(records, records, records)), ALL).gauges == records
    assert walked == []


@pytest.mark.parametrize("events", [None, {}, "text", [1], [[1], {}], [[1], b"x"]])
def test_records_are_lists_of_lists(events):
    with pytest.raises(ValueError, match=r"Events\.events: expected a list of lists"):
        ipc.decode(packed("Events", {"events": events}), ALL)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        packed("Pulse", {}) + b"\xc0",
        packed("Pulse", {})[:-1],
        msgpack.packb("Pulse"),
        msgpack.packb({"Pulse": {}}),
        msgpack.packb(["Pulse"]),
        msgpack.packb(["Pulse", {}, 1]),
        msgpack.packb([b"Pulse", {}]),
        msgpack.packb([["Pulse"], {}]),
        packed("Pulse", None),
        packed("Pulse", []),
        packed("Pulse", {"surplus": 1}),
        packed("Pulse", {b"surplus": 1}),
        msgpack.packb(["Pulse", {1: 2}]),
        packed("Unheard", {}),
        packed("object", {}),
        packed("Applied", {}),
        packed("Applied", {"version": "3"}),
        packed("Applied", {"version": True}),
        packed("Bind", {"id": 1, "listeners": [["a"]], "workers": 1, "drain_timeout": 1.0}),
        packed("Answer", {"id": 1, "value": msgpack.ExtType(5, b"x")}),
        packed("Answer", {"id": 1, "value": msgpack.Timestamp(1)}),
        b"\x92\xa6Answer\x82\xa2id\x01\xa5value" + b"\x91" * 100_000 + b"\xc0",
        b"\x92\xa6Answer\x82\xa2id\x01\xa5value" + b"\xdd\x7f\xff\xff\xff",
        b"\x92\xa6Answer\x82\xa2id\x01\xa5value" + b"\xa2\xff\xff",
        packed("ApplySnapshot", {"snapshot": {"version": 1}}),
    ],
)
def test_what_is_wrong_is_a_value_error(payload):
    with pytest.raises(ValueError, match=r"\w"):
        ipc.decode(payload, ALL)


def test_a_kind_that_the_link_does_not_carry_is_refused():
    with pytest.raises(ValueError, match="Bind is not accepted on this link"):
        ipc.decode(ipc.encode(Bind(1, [], 2, 30.0)), ipc.WORKER_TO_CONTROL)


def test_long_lists_are_refused_before_they_are_built():
    with pytest.raises(ValueError, match="within the limits"):
        ipc.decode(packed("Events", {"events": [[]] * (ipc.MAX_ITEMS + 1)}), ALL)


@pytest.mark.parametrize(
    "payload",
    [
        packed("SetCredential", {"name": "n", "value": "hunter22"}),
        packed("SetCredential", {"name": "n", "value": b"hunter22", "hunter22": 1}),
        packed("hunter22", {}),
        packed("SetCredential", {"name": "n", "value": b"hunter22"}) + b"surplus",
        packed("SetCredential", {"name": "n", "value": b"hunter22"})[:-1] + b"\xc1\xc1",
        b"\x92\xadSetCredential\x81\xa5value\xa9hunter22\xff",
    ],
)
def test_errors_never_quote_values(payload):
    with pytest.raises(ValueError, match=r"\w") as caught:
        ipc.decode(payload, ALL)
    assert "hunter22" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("value", [object(), "\udcffhunter22", 1 << 70, {1, 2}])
def test_what_msgpack_cannot_carry_is_named_by_kind(value):
    with pytest.raises(ValueError, match=r"^Answer: not encodable \(\w+\)$") as caught:
        ipc.encode(Answer(1, value))
    assert caught.value.__context__ is None


@given(st.binary(max_size=200))
def test_noise_is_a_value_error_or_a_message(payload):
    try:
        message = ipc.decode(payload, ALL)
    except ValueError:
        return
    assert dataclasses.is_dataclass(message)


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_mutated_message_is_a_value_error_or_a_message(message, data):
    payload = bytearray(ipc.encode(message))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] = data.draw(st.integers(0, 255))
    try:
        back = ipc.decode(bytes(payload), ALL)
    except ValueError:
        return
    assert type(back) in ALL
