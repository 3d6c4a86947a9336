"""Vaults elsewhere in a configuration: what it means, and every mistake with its place."""

import pytest
import trustme

from proxyd.config.load import load_text
from proxyd.core.settings import Ages, Reference, VaultLogin
from proxyd.core.units import DAY
from proxyd.reading.problems import ConfigError
from tests.config.conftest import RUNTIME, STATE

HEAD = "listeners: [{name: apps, mode: forward, address: 127.0.0.1:3128}]\n"
VAULT = "vaults: {company: {address: https://vault.example:8200, auth: {secret: vault/token}}}\n"


def load(text, folder):
    return load_text(HEAD + text, "proxyd.yaml", folder, STATE, RUNTIME)


def test_a_secret_names_its_vault_and_its_place_there(tmp_path):
    settings = load(
        VAULT + "secrets:\n  a: {from: company, path: /apps/github/, field: token, version: 3, mount: kv}\n"
        "  b: {from: company, lease: database/creds/ro, field: password}\n  vault/token: {env: VAULT_TOKEN}\n",
        tmp_path,
    )
    sources = {source.name: source for source in settings.secrets}
    assert sources["a"].outside == Reference("company", "apps/github", "token", "kv", 3)
    assert sources["b"].outside == Reference("company", "database/creds/ro", "password", is_lease=True)
    [vault] = settings.vaults
    assert (vault.addresses, vault.login) == (("https://vault.example:8200",), VaultLogin(secret="vault/token"))
    assert (vault.mount, vault.kv, vault.poll, vault.kind) == ("secret", 2, 60.0, "hashicorp")


def test_the_login_comes_from_proxyds_own_vault_where_nothing_else_is_said(tmp_path):
    settings = load(VAULT, tmp_path)
    assert [(source.name, source.vault) for source in settings.secrets] == [("vault/token", "vault/token")]


def test_a_pods_token_and_roots_are_found(tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    settings = load(
        "vaults: {k: {address: [https://a.example, 'http://[::1]:8200/vault/'], roots: ca.pem, namespace: team/ci, "
        "auth: {method: kubernetes, role: proxyd, mount: k8s/prod}}}\n",
        tmp_path,
    )
    [vault] = settings.vaults
    assert vault.addresses == ("https://a.example:443", "http://[::1]:8200/vault")
    assert vault.login.token_file == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert (vault.namespace, vault.login.mount) == ("team/ci", "k8s/prod")
    assert vault.roots_pem.startswith("-----BEGIN CERTIFICATE-----")


WRONG = [
    ("secrets: {a: {from: compamy, path: x}}", "secrets.a.from: no vault of this name stands under vaults; did you"),
    ("secrets: {a: {from: company}}", "secrets.a: neither is given; expected path for a stored secret, lease for"),
    ("secrets: {a: {from: company, path: x, lease: y}}", "secrets.a: both are given; expected path for"),
    ("secrets: {a: {from: company, lease: y, version: 2}}", "secrets.a.version: version is for stored secrets"),
    ("secrets: {a: {from: company, path: ../x}}", "secrets.a.path: not a path"),
    ("secrets: {a: {from: company, path: x, env: Y}}", "secrets.a: env and from are given; expected exactly one"),
    ("secrets: {a: {env: Y, field: x}}", "secrets.a.field: field is for secrets from a vault elsewhere"),
    ("secrets: {vault/token: {from: company, path: x}}", "vaults.company.auth.secret: proxyd logs in by this secret"),
    ("vaults: {v: {auth: {secret: t}}}", "vaults.v.address: the key is missing"),
    ("vaults: {v: {address: http://vault.example, auth: {secret: t}}}", "vaults.v.address: the login would travel"),
    ("vaults: {v: {address: https://v.example}}", "vaults.v.auth.secret: the method token needs secret"),
    ("vaults: {v: {address: https://v.example, auth: {method: approle}}}", "the method approle needs role_id"),
    ("vaults: {v: {address: https://v.example, auth: {method: jwt, role: r}}}", "vaults.v.auth: no JWT is named"),
    ("vaults: {v: {address: https://v.example, auth: {secret: t, role: r}}}", "role is for kubernetes and jwt"),
    ("vaults: {v: {address: https://v.example, auth: {secret: t}, kv: 3}}", "vaults.v.kv: out of range"),
    (
        "vaults: {v: {address: https://v.example, auth: {secret: t}, roots: none.pem}}",
        "v.roots: the file cannot",
    ),
    ("vaults: {v: {address: https://v.example, auth: {secret: t}, options: {a: 1}}}", "options are for plugins"),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_mistake_is_told_with_its_place(text, words, tmp_path):
    section = text if text.startswith("vaults") else VAULT + text
    with pytest.raises(ConfigError) as caught:
        load(section + "\n", tmp_path)
    assert words in str(caught.value)


def test_a_plugins_options_are_read_by_it(tmp_path):
    text = "vaults: {mine: {kind: folder, options: {folder: /srv/secrets}}}\nsecrets: {a: {from: mine, path: x}}\n"
    [vault] = load(text, tmp_path).vaults
    assert (vault.kind, vault.options) == ("folder", {"folder": "/srv/secrets"})


PLUGIN_WRONG = [
    ("kind: foldr", "vaults.v.kind: no vault of this name is installed; there are folder"),
    ("kind: folder", "vaults.v.options.folder: the key is missing"),
    ("kind: folder, options: {folder: a}", "vaults.v.options: folder must be an absolute path"),
    ("kind: folder, options: {folder: /a}, kv: 1", "kv is for kind hashicorp; a plugin has its own under options"),
    ("kind: 'os:path', options: {}", "os:path is no vault: a class that derives from proxyd.sdk.Vault is expected"),
]


@pytest.mark.parametrize(("text", "words"), PLUGIN_WRONG, ids=[words for _, words in PLUGIN_WRONG])
def test_a_plugins_mistake_is_told_with_its_place(text, words, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(f"vaults: {{v: {{{text}}}}}\n", tmp_path)
    assert words in str(caught.value)


def test_ages_are_the_usual_ones_where_a_secret_says_nothing_else(tmp_path):
    text = (
        "ages: {max_age: 90d, warn_before: [1d, 14d]}\n"
        "secrets:\n  a: {env: A}\n  b: {env: B, max_age: 30d, over: deny}\n"
    )
    settings = load(text, tmp_path)
    a, b = settings.secrets
    assert a.ages == settings.ages == Ages(90 * DAY, (14 * DAY, DAY), deny=False)
    assert b.ages == Ages(30 * DAY, (14 * DAY, DAY), deny=True)
    assert load("", tmp_path).ages == Ages()
