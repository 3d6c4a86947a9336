"""Vaults elsewhere by the client that control has: TLS, redirects, sizes."""

import gzip

import pytest

from proxyd.control import vaults
from proxyd.control.credentials import withheld
from proxyd.core.settings import Reference, SecretSource, Settings, VaultLogin, VaultSource
from proxyd.vault.outside.provider import OutsideError
from tests.lab.openbao import Bao, BaoServer
from tests.lab.pki import create_pki

TOKEN = "hvs.of-the-user"
REFERENCE = Reference("company", "apps/github", "token")


def opened(*addresses, roots=""):
    source = VaultSource("company", addresses=addresses, login=VaultLogin(secret="vault/token"), roots_pem=roots)
    return vaults.opener({"vault/token": TOKEN.encode()}.get, lambda *_: None)(source)


@pytest.fixture
def bao():
    made = Bao()
    made.issue(TOKEN)
    made.put("apps/github", token="ghp_1")
    return made


async def test_a_secret_comes_by_verified_tls(bao, tmp_path):
    pki = create_pki(tmp_path)
    with BaoServer(bao, pki) as server:
        assert (await opened(server.url, roots=pki.roots.read_text()).read(REFERENCE)).value("token") == b"ghp_1"
        with pytest.raises(OutsideError, match="certificate verify failed"):
            await opened(server.url).read(REFERENCE)


async def test_a_redirect_goes_to_named_addresses_alone(bao):
    with BaoServer(bao) as active, BaoServer(Bao(leader=active.url)) as standby:
        assert (await opened(standby.url, active.url).read(REFERENCE)).value("token") == b"ghp_1"
        before = len(bao.asked)
        with pytest.raises(OutsideError, match="does not name"):
            await opened(standby.url).read(REFERENCE)
        assert len(bao.asked) == before


async def test_a_huge_answer_is_not_read(bao):
    bao.hostile = b'{"data": {"data": {"token": "' + b"x" * 300_000 + b'"}}}'
    with BaoServer(bao) as server, pytest.raises(OutsideError, match="more than 256 KiB"):
        await opened(server.url).read(REFERENCE)


async def test_an_answer_that_would_grow_is_not_unpacked(bao, monkeypatch):
    bomb = gzip.compress(b" " * 10_000_000)
    asked = []

    def answer(method, url, headers, body):
        asked.append(headers["accept-encoding"])
        return 200, {"content-encoding": "gzip"}, bomb

    monkeypatch.setattr(bao, "answer", answer)
    with BaoServer(bao) as server, pytest.raises(OutsideError, match="compresses its answer"):
        await opened(server.url).read(REFERENCE)
    assert set(asked) == {"identity"}


async def test_nobody_there_is_said(bao):
    with BaoServer(bao) as server:
        url = server.url
    with pytest.raises(OutsideError, match="localhost cannot be asked: ConnectError"):
        await opened(url).read(REFERENCE)


def test_what_logs_in_to_vaults_stays_in_control():
    settings = Settings(
        "proxyd.yaml",
        (),
        secrets=(SecretSource("vault/token", env="T"), SecretSource("a", outside=REFERENCE)),
        vaults=(VaultSource("company", secrets=("vault/token",)),),
    )
    assert withheld(settings) == {"vault/token"}
