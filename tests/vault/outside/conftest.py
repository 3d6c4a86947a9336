"""A double of OpenBao on a virtual clock, and what asks it."""

import json
import random
from urllib.parse import urlsplit

import pytest
import trio

from proxyd.core.settings import Reference, SecretSource, VaultLogin, VaultSource
from proxyd.vault.outside.hashicorp import Hashicorp
from proxyd.vault.outside.provider import OutsideError
from proxyd.vault.outside.vaults import Vaults
from proxyd.vault.outside.wire import Answer
from proxyd.vault.secrets import Secrets
from tests.lab.openbao import Bao

ADDRESS = "https://vault.example:8200"
WALL = 1_800_000_000.0
TOKEN = "hvs.of-the-user"
SEED = 7
ROLE = VaultLogin("approle", secret="vault/secret-id", role_id="role-1")


class Lab:
    """Secrets that come from doubles by their addresses."""

    def __init__(self):
        self.bao = Bao(trio.current_time)
        self.nodes = {ADDRESS: self.bao}
        self.values = {"vault/secret-id": b"secret-id-1", "vault/token": TOKEN.encode()}
        self.heads = []
        self.logged = []
        self.out, self.heard = trio.open_memory_channel(100)
        self.vaults = Vaults(self.opened, lambda *words: self.logged.append(words))
        self.secrets = Secrets(self.out.send_nowait, clock=wall, vaults=self.vaults, rng=random.Random(SEED))

    def opened(self, source):
        return self.open(source)

    def open(self, source):
        return Hashicorp(source, self.ask, self.values.get, wall, random.Random(SEED))

    async def ask(self, method, url, host, document, headers):
        parts = urlsplit(url)
        self.heads.append(dict(headers))
        node = self.nodes.get(f"{parts.scheme}://{parts.netloc}")
        if node is None:
            raise OutsideError(f"{host} cannot be asked: refused")
        body = b"" if document is None else json.dumps(document).encode()
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        return Answer(*node.answer(method, target, dict(headers), body))

    async def load(self, *sources, vault=None):
        return self.secrets.commit(await self.secrets.prepare(sources, (vault or source(),)))

    def value(self, name):
        return self.secrets.get(name).value

    def why(self, name):
        return self.secrets.get(name).why


def wall():
    return WALL + trio.current_time()


def source(login=ROLE, addresses=(ADDRESS,), **more):
    return VaultSource("company", addresses=addresses, login=login, **more)


def stored(name, path="apps/github", field="token", **more):
    return SecretSource(name, outside=Reference("company", path, field, **more))


def lent(name, field="password"):
    return SecretSource(name, outside=Reference("company", "database/creds/ro", field, is_lease=True))


@pytest.fixture
async def lab(autojump_clock):
    return Lab()
