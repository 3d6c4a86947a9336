"""``proxyd exec``: what the child gets, and what becomes of its exit code."""

import signal
import ssl
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.lab.daemon import SECRETS, Configuration, Daemon, configuration, run_proxyd
from tests.lab.origin import BASE_URL, KEY, TOKEN, Origin
from tests.lab.pki import Pki
from tests.lab.tools import require_tool

pytestmark = pytest.mark.e2e

PRINT_ENVIRONMENT = "import os; print('\\n'.join(f'{k}={v}' for k, v in os.environ.items()))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Path:
    """A folder with a configuration file."""
    folder = tmp_path_factory.mktemp("exec")
    (folder / "proxyd.yaml").write_text(yaml.safe_dump(configuration(origin, pki, folder)))
    return folder


@pytest.fixture(scope="module")
def child(folder: Path) -> dict[str, str]:
    """The environment of a child whose parent had NO_PROXY, a proxy and a roots folder of its own."""
    variables = {**SECRETS, "NO_PROXY": "*", "no_proxy": "*", "https_proxy": "http://other.example:1"}
    done = run_proxyd(folder, *words("-c", str(folder / "proxyd.yaml")), "--", *PYTHON, variables=variables)
    assert done.returncode == 0, done.stderr
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs}


PYTHON = (sys.executable, "-c", PRINT_ENVIRONMENT)


def words(*more: str) -> tuple[str, ...]:
    return ("exec", "{folders}", *more)


def test_proxy_variables_stand_in_both_cases(child: dict[str, str]) -> None:
    proxy = child["HTTPS_PROXY"]
    assert proxy.startswith("http://127.0.0.1:")
    assert {child[name] for name in ("HTTP_PROXY", "http_proxy", "https_proxy")} == {proxy}


def test_no_proxy_is_emptied(child: dict[str, str]) -> None:
    assert child["NO_PROXY"] == child["no_proxy"] == ""


def test_secrets_are_replaced_by_placeholders(child: dict[str, str]) -> None:
    assert child["TICKETS_TOKEN"]
    assert child["PLAIN_KEY"]
    for name, value in child.items():
        assert TOKEN not in value, name
        assert KEY not in value, name


@pytest.mark.parametrize(
    "name",
    [
        *("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO"),
        *("NODE_EXTRA_CA_CERTS", "npm_config_cafile", "DENO_CERT"),
    ],
)
def test_every_runtime_is_told_the_bundle(child: dict[str, str], folder: Path, name: str) -> None:
    bundle = child[name]
    trusted = ssl.create_default_context(cafile=bundle).get_ca_certs(binary_form=True)
    local = ssl.PEM_cert_to_DER_cert((folder / "state" / "ca.pem").read_text())
    assert local in trusted
    assert len(trusted) > 10, "the system's roots are in the bundle too"


def test_other_runtimes_are_told_too(child: dict[str, str]) -> None:
    assert child["NODE_USE_ENV_PROXY"] == "1"
    assert Path(child["WGETRC"]).name.endswith("wgetrc")
    assert "-Dhttps.proxyPort=" in child["JAVA_TOOL_OPTIONS"]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM)],
)
def test_exit_code_is_the_childs(folder: Path, script: str, code: int) -> None:
    done = run_proxyd(folder, *words("-c", str(folder / "proxyd.yaml")), "--", "sh", "-c", script)
    assert done.returncode == code, done.stderr


def test_unknown_command_is_127_as_in_a_shell(folder: Path) -> None:
    done = run_proxyd(folder, *words("-c", str(folder / "proxyd.yaml")), "--", "no-such-program-here")
    assert done.returncode == 127
    assert "no-such-program-here" in done.stderr


def test_standard_output_is_the_childs_alone(folder: Path) -> None:
    done = run_proxyd(folder, *words("-c", str(folder / "proxyd.yaml")), "--", "echo", "hello")
    assert done.stdout == "hello\n"


def test_private_daemon_ends_with_its_child(folder: Path) -> None:
    run_proxyd(folder, *words("-c", str(folder / "proxyd.yaml")), "--", "true")
    left = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in left if line and str(folder) in " ".join(line)]


def test_running_daemon_is_used_when_there_is_one(daemon: Daemon) -> None:
    before = len(daemon.log())
    done = daemon.run("exec", "{folders}", "--", require_tool("curl"), "-fsS", f"{BASE_URL}/echo?by=running")
    assert done.returncode == 0, done.stderr
    entries = daemon.wait_for_log(before + 1)[before:]
    assert "/v2/echo" in entries[0]["path"]


def test_without_daemon_and_file_unknown_hosts_are_tunnelled(folder: Path) -> None:
    done = run_proxyd(folder, *words(), "--", "sh", "-c", 'echo "$HTTPS_PROXY"')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("http://127.0.0.1:")


def test_bad_configuration_is_told_before_anything_runs(folder: Path, origin: Origin, pki: Pki) -> None:
    broken: Configuration = configuration(origin, pki, folder) | {"wrokers": 1}
    (folder / "broken.yaml").write_text(yaml.safe_dump(broken))
    done = run_proxyd(folder, *words("-c", str(folder / "broken.yaml")), "--", "echo", "ran")
    assert done.returncode not in {0, 127}
    assert done.stdout == ""
    assert "wrokers" in done.stderr
    assert "workers" in done.stderr
