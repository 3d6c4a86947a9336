import shutil
import subprocess

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import pkcs12

from proxyd.cli.clients import make_client, truststore
from proxyd.cli.exits import CommandError


@pytest.fixture
def answer(tmp_path):
    bundle = tmp_path / "ca-bundle.pem"
    bundle.write_bytes(trustme.CA().cert_pem.bytes() + trustme.CA().cert_pem.bytes())
    return {"proxy": "http://127.0.0.1:1", "ca_bundle": str(bundle), "ca": "", "secret_variables": ["TOKEN"]}


def test_files_are_made_once_and_for_their_owner_alone(answer, tmp_path):
    (tmp_path / ".wgetrc").write_bytes(b"tries = 3\n# \xff\n")
    first = make_client(answer, tmp_path / "run", {"HOME": str(tmp_path)})
    second = make_client(answer, tmp_path / "run", {"HOME": str(tmp_path)})
    assert first == second
    assert first.secret_variables == ("TOKEN",)
    made = sorted((tmp_path / "run" / "client").iterdir())
    assert [str(path) for path in made] == sorted([first.wgetrc, first.truststore, first.php_folder])
    files = [path for path in (tmp_path / "run" / "client").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert made[0].parent.stat().st_mode & 0o777 == 0o700


def test_another_bundle_makes_another_truststore(answer, tmp_path):
    first = make_client(answer, tmp_path / "run", {})
    (tmp_path / "ca-bundle.pem").write_bytes(trustme.CA().cert_pem.bytes())
    assert make_client(answer, tmp_path / "run", {}).truststore != first.truststore


def test_the_truststore_holds_every_root(answer, tmp_path):
    data = truststore((tmp_path / "ca-bundle.pem").read_bytes())
    assert len(pkcs12.load_pkcs12(data, b"changeit").additional_certs) == 2


@pytest.mark.skipif(not shutil.which("keytool"), reason="no Java here")
def test_java_takes_the_truststore_for_one(answer, tmp_path):
    client = make_client(answer, tmp_path / "run", {})
    command = ["keytool", "-list", "-keystore", client.truststore, "-storetype", "PKCS12", "-storepass", "changeit"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("trustedCertEntry") == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"proxy": None}, "no listener of the daemon"),
        ({"ca_bundle": "/nonexistent/bundle.pem"}, "No such file"),
        ({"secret_variables": None}, "another version"),
    ],
)
def test_an_answer_that_cannot_be_used_says_why(answer, tmp_path, change, why):
    with pytest.raises(CommandError, match=why):
        make_client(answer | change, tmp_path / "run", {})


def test_a_daemon_with_unix_sockets_alone_is_reached_by_exec_or_a_bridge(answer, tmp_path):
    with pytest.raises(CommandError, match="proxyd bridge"):
        make_client({**answer, "proxy": None, "proxy_socket": "/run/apps.sock"}, tmp_path / "run", {})


def test_the_client_is_told_where_the_gateway_is(answer, tmp_path):
    reached = {"gateway_socket": "/run/g.sock", "gateway_url": None, "gateway_token_file": None}
    client = make_client({**answer, **reached}, tmp_path / "run", {})
    assert client.gateway == {"PROXYD_GATEWAY_SOCKET": "/run/g.sock"}
