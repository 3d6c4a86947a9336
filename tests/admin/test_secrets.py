"""The vault's admin methods: who may call them, with which parameters."""

import pytest

from proxyd.admin.methods import answer_call
from proxyd.admin.role import Role
from proxyd.admin.rpc import Call
from proxyd.admin.secrets import SECRET_METHODS
from proxyd.admin.session import Session
from proxyd.core.refusal import Refusal
from tests.admin.fakes import FakeService


class FakeVault:
    """Returns what it was asked for."""

    async def secrets(self):
        return [{"name": "a"}]

    async def store(self, name, value):
        return ["store", name, value]

    async def rotate(self, name, value, overlap=None):
        return ["rotate", name, value, overlap]

    async def remove(self, name):
        return ["remove", name]

    async def rekey(self, **values):
        return ["rekey", values]

    async def backup(self, passphrase=None):
        return ["backup", passphrase]

    async def restore(self, data, passphrase=None, key=None, replacing=False):
        return ["restore", data, passphrase, key, replacing]


async def call(method, *params, role=Role.FULL):
    service = FakeService()
    service.vault = FakeVault()
    return await answer_call(Call(1, method, list(params)), Session(service, role, 1001))


@pytest.mark.parametrize(
    ("method", "params", "asked"),
    [
        ("secret.set", ["a", b"v"], ["store", "a", b"v"]),
        ("secret.set", [{"name": "a", "value": "v"}], ["store", "a", b"v"]),
        ("secret.rotate", ["a", b"v"], ["rotate", "a", b"v", None]),
        ("secret.rotate", ["a", b"v", 60], ["rotate", "a", b"v", 60]),
        ("secret.rm", ["a"], ["remove", "a"]),
        ("secret.rekey", [], ["rekey", {}]),
        ("secret.rekey", [{"kind": "env", "place": "K", "material": "AAAA"}],
         ["rekey", {"kind": "env", "place": "K", "material": "AAAA"}]),
        ("secret.backup", [b"correct horse"], ["backup", b"correct horse"]),
        ("secret.restore", [{"data": "AAAA", "replace": True}], ["restore", "AAAA", None, None, True]),
        ("secrets", [], [{"name": "a"}]),
    ],
)  # fmt: skip
async def test_parameters_reach_the_vault(method, params, asked):
    assert await call(method, *params) == asked


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("secret.set", ["a"], "value is missing"),
        ("secret.set", ["a", 5], "value: expected bytes or text"),
        ("secret.set", ["a", b"x" * 70_000], "longer than 65536 bytes"),
        ("secret.set", ["", b"v"], "name: expected 1 to 128 characters"),
        ("secret.rotate", ["a", b"v", -1], "overlap: expected 0 to"),
        ("secret.rekey", ["ring"], "kind: expected file or credential or env or passphrase"),
        ("secret.restore", [], "data is missing"),
    ],
)
async def test_wrong_parameters_are_refused_without_quoting_a_value(method, params, words):
    with pytest.raises(Refusal, match=words) as caught:
        await call(method, *params)
    assert "xxxx" not in caught.value.message


@pytest.mark.parametrize("method", [method.name for method in SECRET_METHODS])
async def test_a_reader_sees_names_and_changes_nothing(method):
    if method == "secrets":
        assert await call(method, role=Role.READER) == [{"name": "a"}]
    else:
        with pytest.raises(Refusal, match="full role"):
            await call(method, "a", b"v", role=Role.READER)
