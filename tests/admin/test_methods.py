import pytest
import trio

from proxyd.admin.methods import answer_call
from proxyd.admin.role import Role
from proxyd.admin.rpc import Call
from proxyd.admin.session import Session
from proxyd.admin.table import METHODS
from proxyd.core.refusal import Refusal
from tests.admin.fakes import FakeService

CHANGING = {"reload", "drain", "upgrade", "stop"}


async def call(method, *params, role=Role.FULL, service=None):
    return await answer_call(Call(1, method, list(params)), Session(service or FakeService(), role, 1001))


async def test_hello_says_what_the_caller_may_do():
    hello = await call("hello", role=Role.READER)
    assert (hello["name"], hello["protocol"], hello["role"], hello["uid"]) == ("proxyd", 1, "reader", 1001)
    assert hello["methods"] == list(METHODS)


async def test_methods_lists_every_method_with_its_parameters():
    listed = {entry["name"]: entry for entry in await call("methods")}
    assert list(listed) == list(METHODS)
    assert listed["service"]["params"] == [
        {"name": "name", "kind": "text", "required": True, "help": "name of the service"}
    ]
    assert listed["log_level"]["params"][0]["choices"] == ["debug", "info", "warning", "error"]


async def test_an_unknown_method_names_the_nearest():
    with pytest.raises(Refusal, match="there is no method 'statsu'") as caught:
        await call("statsu")
    assert (caught.value.code, caught.value.nearest) == ("unknown_method", "status")


async def test_surplus_parameters_are_refused():
    with pytest.raises(Refusal, match="reload takes no parameters; got 1 values"):
        await call("reload", "now")


def test_what_changes_the_daemon_needs_the_full_role():
    assert {name for name, method in METHODS.items() if method.role is Role.FULL} >= CHANGING


@pytest.mark.parametrize("name", sorted(CHANGING))
async def test_a_reader_changes_nothing(name):
    service = FakeService()
    with pytest.raises(Refusal, match="full role"):
        await call(name, role=Role.READER, service=service)
    assert service.calls == []


async def test_a_reader_sees_the_log_level_and_does_not_set_it():
    service = FakeService()
    assert await call("log_level", role=Role.READER, service=service) == {"level": "info"}
    with pytest.raises(Refusal, match="log_level with level needs the full role"):
        await call("log_level", "debug", role=Role.READER, service=service)
    assert await call("log_level", "debug", service=service) == {"level": "debug"}


async def test_a_service_is_named():
    assert await call("service", "tickets") == {"name": "tickets"}
    with pytest.raises(Refusal) as caught:
        await call("service", {"name": "ticket"})
    assert (caught.value.code, caught.value.nearest) == ("not_found", "tickets")


async def test_drain_passes_on_what_is_given():
    service = FakeService()
    await call("drain", {"exit": True, "seconds": 5}, service=service)
    await call("drain", service=service)
    assert service.calls == [("drain", {"exit": True, "seconds": 5}), ("drain", {})]


async def test_upgrade_has_bounds_and_defaults():
    service = FakeService()
    await call("upgrade", service=service)
    await call("upgrade", 5, None, service=service)
    assert service.calls == [("upgrade", 60.0, None), ("upgrade", 5.0, None)]
    with pytest.raises(Refusal, match="seconds: expected 1 to 600, got 0"):
        await call("upgrade", 0, service=service)


@pytest.mark.parametrize("status", ["9xx", "40", "x04", "4x4", "0xx"])
async def test_a_status_is_a_number_or_a_class(status):
    with pytest.raises(Refusal, match="status: expected a status"):
        await call("exchanges", {"status": status})
    assert await call("exchanges", {"status": "4xx", "limit": 5}) == []


async def test_the_ca_comes_as_pem():
    assert await call("ca") == {"pem": "-----BEGIN CERTIFICATE-----\n"}


async def test_a_call_that_hangs_ends_in_an_error(autojump_clock):
    service = FakeService()
    service.status = trio.sleep_forever
    with pytest.raises(Refusal, match="status took longer than 60 s") as caught:
        await call("status", service=service)
    assert caught.value.code == "timeout"
