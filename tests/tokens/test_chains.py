"""Credentials by the vendors' own libraries, with homes and programs of the test; what is not installed is skipped."""

import importlib
import json
import stat
import sys
import time

import pytest
import trio

from proxyd.core.settings import TokenSource
from proxyd.tokens import chains
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask, Issued
from proxyd.tokens.registry import FLOWS

EXTRAS = {"aws_chain": "aws", "gcp_chain": "gcp", "azure_chain": "azure"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home without credentials, and no metadata server."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


async def run(flow, **options):
    source = TokenSource("token:s", "s", flow, options=tuple(options.items()))
    return await FLOWS[flow](Ask(source, None, lambda field: b""))


def program(folder, text):
    path = folder / "credentials-program"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def at(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


# --- AWS ------------------------------------------------------------------------------------------


def profile(home, text):
    pytest.importorskip("botocore")
    found = program(home, text)
    (home / "config").write_text(f"[profile work]\ncredential_process = {found}\n")


async def test_a_profile_whose_program_gives_keys_until_a_time(home):
    said = {"Version": 1, "AccessKeyId": "ASIA1", "SecretAccessKey": "s1", "SessionToken": "t1", "Expiration": at(3600)}
    profile(home, f"print({json.dumps(json.dumps(said))})")
    issued = await run("aws_chain", profile="work")
    assert issued.values == {"issued_key_id": b"ASIA1", "issued_key": b"s1", "issued_session": b"t1"}
    assert 3500 < issued.life <= 3600


async def test_keys_of_a_file_have_no_session_and_are_looked_at_again(home):
    pytest.importorskip("botocore")
    (home / "credentials").write_text("[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s2\n")
    issued = await run("aws_chain")
    assert issued.values == {"issued_key_id": b"AKIA1", "issued_key": b"s2", "issued_session": b""}
    assert issued.life == chains.UNKNOWN_LIFE


async def test_a_program_that_fails_is_named_by_its_error_and_not_quoted(home):
    profile(home, "import sys; print('very-private', file=sys.stderr); sys.exit(3)")
    with pytest.raises(TokenError, match=r"botocore found none \(CredentialRetrievalError\)") as caught:
        await run("aws_chain", profile="work")
    assert "very-private" not in str(caught.value)
    assert "aws sts get-caller-identity" in str(caught.value)


async def test_a_home_without_credentials_is_said(home):
    pytest.importorskip("botocore")
    with pytest.raises(TokenError, match="botocore found no credential") as caught:
        await run("aws_chain")
    assert caught.value.is_final


# --- Google ---------------------------------------------------------------------------------------


async def test_application_default_credentials_of_a_person(home, monkeypatch):
    auth = pytest.importorskip("google.auth")
    pytest.importorskip("requests")
    from google.oauth2 import credentials

    def refresh(self, request):
        import datetime

        self.token = "ya29.of-" + self.refresh_token
        self.expiry = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=1)

    assert auth
    monkeypatch.setattr(credentials.Credentials, "refresh", refresh)
    file = home / "adc.json"
    kind = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "r",
        "quota_project_id": "p",
    }
    file.write_text(json.dumps(kind))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    issued = await run("gcp_chain", scope="https://www.googleapis.com/auth/cloud-platform")
    assert issued.values == {"access_token": b"ya29.of-r"}
    assert 3500 < issued.life <= 3600


# --- Azure ----------------------------------------------------------------------------------------


async def test_what_az_login_left_is_had_by_az(home, monkeypatch):
    pytest.importorskip("azure.identity")
    folder = home / "bin"
    folder.mkdir()
    said = {
        "accessToken": "eyJ.of.az",
        "expires_on": int(time.time()) + 3600,
        "expiresOn": "2030-01-01 00:00:00.000000",
    }
    program(folder, f"print({json.dumps(json.dumps(said))})").rename(folder / "az")
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    issued = await run("azure_chain", scope="https://management.azure.com/.default")
    assert issued.values == {"access_token": b"eyJ.of.az"}
    assert 3500 < issued.life <= 3600


# --- all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", EXTRAS)
async def test_without_the_library_the_extra_is_named(flow, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(TokenError, match=rf"not installed: pip install 'proxyd\[{EXTRAS[flow]}\]'") as caught:
        await run(flow)
    assert caught.value.is_final


async def test_a_search_without_an_end_is_left_to_itself(monkeypatch, autojump_clock):
    import threading

    gate = threading.Event()
    monkeypatch.setattr(chains, "_aws", lambda ask: gate.wait(20) and None)
    monkeypatch.setattr(chains, "SECONDS", 0.2)
    with trio.fail_after(10), pytest.raises(TokenError, match="nothing within"):
        await run("aws_chain")
    gate.set()


@pytest.mark.parametrize(("values", "life", "why"), [({}, -1, "over already")])
async def test_what_is_over_is_not_used(values, life, why, monkeypatch):
    monkeypatch.setattr(chains, "_aws", lambda ask: Issued(values, life))
    with pytest.raises(TokenError, match=why):
        await run("aws_chain")


def test_nothing_of_the_libraries_is_loaded_before_it_is_needed():
    import subprocess

    names = "('botocore', 'google.auth', 'azure')"
    code = f"import sys, proxyd.tokens.registry; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
