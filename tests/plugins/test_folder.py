"""The example of a vault, by the same door that control uses."""

import json

import pytest

from proxyd.core.settings import Reference, SecretSource, VaultSource
from proxyd.vault.outside.plugin import PluginVault
from proxyd.vault.outside.provider import OutsideError
from proxyd.vault.outside.vaults import Vaults
from proxyd.vault.secrets import Secrets


@pytest.fixture
async def vault(tmp_path):
    (tmp_path / "apps").mkdir()
    source = VaultSource("mine", kind="folder", options={"folder": str(tmp_path)})
    return PluginVault(source, lambda name: None, lambda *words: None)


def put(folder, **values):
    (folder / "apps" / "github.json").write_text(json.dumps(values))


async def test_a_key_of_a_file_is_fetched_with_its_age(vault, tmp_path):
    put(tmp_path, token="one", other=7)
    found = await vault.read(Reference("mine", "apps/github", "token"))
    assert found.value("token") == b"one"
    assert found.created == (tmp_path / "apps" / "github.json").stat().st_mtime


async def test_a_value_with_an_end_is_fetched_again_before_it(vault, tmp_path):
    put(tmp_path, token="one", expires=4_000_000_000)
    assert (await vault.read(Reference("mine", "apps/github", "token"))).expires == 4_000_000_000
    put(tmp_path, token="one", expires=1)
    with pytest.raises(OutsideError, match="a value that is over"):
        await vault.read(Reference("mine", "apps/github", "token"))


@pytest.mark.parametrize(
    ("path", "field", "words"),
    [
        ("apps/none", "token", "is not there"),
        ("../etc", "token", "leads out of the folder"),
        ("apps/github", "other", "has no text under other"),
        ("apps/broken", "token", "holds no JSON object"),
    ],
)
async def test_what_cannot_be_had_is_said(vault, tmp_path, path, field, words):
    put(tmp_path, token="one", other=7)
    (tmp_path / "apps" / "broken.json").write_text("[" * 100_000)
    with pytest.raises(OutsideError, match=words):
        await vault.read(Reference("mine", path, field))


async def test_secrets_of_a_configuration_come_from_it(vault, tmp_path):
    put(tmp_path, token="one")
    secrets = Secrets(lambda state: None, vaults=Vaults(lambda source: vault, print))
    source = SecretSource("a", outside=Reference("mine", "apps/github", "token"))
    secrets.commit(await secrets.prepare([source], [VaultSource("mine", kind="folder")]))
    assert secrets.get("a").value == b"one"
