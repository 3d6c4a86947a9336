"""Azure's own storage client with a placeholder, through proxyd, to a real Azurite; and Entra's token by doubles."""

import base64
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogue.lab.issuer import asking
from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer
from tests.lab.daemon import wait_until

CLIENTS = ("azure-storage-blob", "requests")
AGAINST = "azurite"
HOST, MANAGEMENT = "acme.blob.core.windows.net", "management.azure.com"
KEY = base64.b64encode(b"the key of an account of storage").decode()
OTHER = base64.b64encode(b"another key altogether, of nobody").decode()
TENANT, CLIENT, SECRET = "11111111-2222-3333-4444-555555555555", "client-1", "s3cret~of-a-client"
TOKEN = "eyJ0eXAiOiJKV1QifQ.e30.AAAA"


@pytest.fixture
def azurite(tmp_path, pki_of):
    """A server that checks Shared Key; yields its port and the authority."""
    program = shutil.which(
        "azurite-blob", path=f"{Path(sys.prefix) / 'node_modules/.bin'}{os.pathsep}{os.environ['PATH']}"
    )
    assert program is not None, "npm install azurite"
    pki = pki_of(HOST)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(tmp_path / "blobs")]
    command += ["--cert", str(pki.certificate), "--key", str(pki.key), "--skipApiVersionCheck", "--disableTelemetry"]
    variables = {**os.environ, "AZURITE_ACCOUNTS": f"acme:{KEY}"}
    with (
        (tmp_path / "azurite.log").open("wb") as log,
        subprocess.Popen(command, env=variables, stdout=log, stderr=log) as server,
    ):
        try:
            wait_until(lambda: _listens(port), "Azurite")
            yield port, pki
        finally:
            server.terminate()


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("key", [KEY, OTHER], ids=["right", "wrong"])
def test_the_client_works_with_a_placeholder(azurite, proxied, key):
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import BlobServiceClient

    port, pki = azurite
    proxied(pki, {"azure": {"secret": {"account_key": "a/key"}, **loopback(port, [HOST])}}, {"a/key": key})
    placeholder = base64.b64encode(PLACEHOLDER.encode()).decode()
    client = BlobServiceClient(f"https://{HOST}", credential={"account_name": "acme", "account_key": placeholder})
    with client:
        if key != KEY:
            with pytest.raises(HttpResponseError, match="AuthorizationFailure"):
                client.create_container("box", retry_total=0)
            return
        box = client.create_container("box")
        box.upload_blob("a folder/ä.txt", b"data", metadata={"made": "by proxyd"})
        assert [blob.name for blob in box.list_blobs(name_starts_with="a f")] == ["a folder/ä.txt"]
        assert box.download_blob("a folder/ä.txt").readall() == b"data"


def check(asked):
    """Entra gives a token for client credentials (form or Basic); management takes it as a bearer."""
    if asked.path == f"/{TENANT}/oauth2/v2.0/token":
        form = asked.form()
        is_client = form.get("client_id") == CLIENT and form.get("client_secret") == SECRET
        scoped = form.get("scope") == "https://management.azure.com/.default"
        return "" if is_client and scoped and form.get("grant_type") == "client_credentials" else "invalid_client"
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "InvalidAuthenticationToken"


def answers(asked):
    match asked.method, asked.path:
        case "POST", path if path.endswith("/token"):
            return Answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN})
        case "GET", "/subscriptions":
            return Answer(200, {"value": [{"subscriptionId": "s-1", "displayName": "Acme"}]})
    return Answer(404)


def test_management_takes_the_token_that_entra_gave(pki_of, vendor, proxied, tmp_path):
    import requests

    pki = pki_of(MANAGEMENT, "localhost")
    double = vendor(pki, check, answers)
    secret = {"client_id": "a/id", "client_secret": "a/secret"}
    service = {"secret": secret, "options": {"tenant": TENANT}, **loopback(double.port)}
    catalogue = [asking("azure", double.port, tmp_path)]
    proxied(pki, {"azure": service}, {"a/id": CLIENT, "a/secret": SECRET}, catalogue=catalogue)
    fields = {"Authorization": f"Bearer {PLACEHOLDER}"}
    url = f"https://{MANAGEMENT}/subscriptions?api-version=2022-12-01"
    answer = requests.get(url, headers=fields, timeout=30)
    assert answer.json()["value"][0]["displayName"] == "Acme"
    assert double.refused == []
