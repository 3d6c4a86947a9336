import pytest

from proxyd.control import overrides as module
from proxyd.control.overrides import Overrides
from proxyd.core.messages import SetOverrides
from proxyd.core.refusal import Refusal
from proxyd.core.resilience import Hold, Override
from proxyd.core.service import BaseUrl, Endpoint, HostPattern, Service
from proxyd.wire import ipc


def service(name, *ports):
    endpoints = tuple(Endpoint("127.0.0.1", port) for port in ports)
    return Service(name, (HostPattern(f"{name}.example"),), BaseUrl("https", f"{name}.example", 443), endpoints)


SERVICES = (service("tickets", 1, 2), service("maps"))


def test_what_is_held_is_said_to_workers_and_in_words():
    held = Overrides()
    held.hold_breaker(SERVICES, "tickets", "open", None)
    held.hold_breaker(SERVICES, "tickets", "closed", "127.0.0.1:2")
    held.hold_endpoint(SERVICES, "maps", "down", "maps.example:443")
    assert held.message == SetOverrides(
        [
            Override("tickets", "", 0, Hold.OPEN),
            Override("tickets", "127.0.0.1", 2, Hold.CLOSED),
            Override("maps", "maps.example", 443, Hold.DOWN),
        ]
    )
    assert [*held.problems()] == [
        "tickets: the breaker is held open by an operator",
        "tickets: the breaker of the endpoint 127.0.0.1:2 is held closed by an operator",
        "maps: the endpoint maps.example:443 is held down by an operator",
    ]
    assert ipc.decode(ipc.encode(held.message), ipc.CONTROL_TO_WORKER) == held.message


def test_auto_lets_go_of_the_one_and_keeps_the_other():
    held = Overrides()
    held.hold_endpoint(SERVICES, "tickets", "up", "127.0.0.1:1")
    held.hold_breaker(SERVICES, "tickets", "open", "127.0.0.1:1")
    held.hold_endpoint(SERVICES, "tickets", "auto", "127.0.0.1:1")
    assert [one.hold for one in held.message.overrides] == [Hold.OPEN]
    held.hold_breaker(SERVICES, "tickets", "auto", "127.0.0.1:1")
    held.hold_breaker(SERVICES, "tickets", "auto", None)
    assert held.message.overrides == []


@pytest.mark.parametrize(
    ("call", "words", "nearest"),
    [
        (lambda held: held.hold_breaker(SERVICES, "ticket", "open", None), "no service 'ticket'", "tickets"),
        (lambda held: held.hold_endpoint(SERVICES, "tickets", "up", "127.0.0.1:3"), "no endpoint", "127.0.0.1:2"),
        (lambda held: held.hold_breaker(SERVICES, "maps", "open", "maps.example:443"), "the service's own", None),
    ],
)
def test_what_is_not_there_is_refused(call, words, nearest):
    with pytest.raises(Refusal, match=words) as caught:
        call(Overrides())
    assert nearest is None or caught.value.nearest


def test_there_is_a_bound(monkeypatch):
    monkeypatch.setattr(module, "MAX_OVERRIDES", 1)
    held = Overrides()
    held.hold_breaker(SERVICES, "maps", "open", None)
    held.hold_breaker(SERVICES, "maps", "closed", None)
    with pytest.raises(Refusal, match="held already"):
        held.hold_breaker(SERVICES, "tickets", "open", None)


def test_a_configuration_without_the_service_ends_what_is_held_of_it():
    held = Overrides()
    held.hold_breaker(SERVICES, "tickets", "open", None)
    held.hold_endpoint(SERVICES, "tickets", "down", "127.0.0.1:2")
    held.keep([service("tickets", 1)])
    assert [one.host for one in held.message.overrides] == [""]
    held.keep([])
    assert held.message.overrides == []
