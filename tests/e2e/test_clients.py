"""Real clients, each as ``proxyd exec -c FILE -- client``: they hold no credential, the origin demands one."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.lab.daemon import SECRETS, configuration, environment, run_proxyd
from tests.lab.ledger import Received
from tests.lab.origin import BASE_URL, HOST, TOKEN, Origin
from tests.lab.pki import Pki
from tests.lab.tools import require_node, require_tool

pytestmark = pytest.mark.e2e

CLIENTS = Path(__file__).parent / "clients"
ECHO = f"{BASE_URL}/echo"
SHOW_PLACEHOLDER = 'echo "$TICKETS_TOKEN" >placeholder; '


@dataclass(slots=True)
class Application:
    """One folder with a configuration; runs commands as an application beside a private daemon."""

    folder: Path
    file: Path
    origin: Origin
    variables: dict[str, str]
    output: str = ""
    """Standard output of the last command."""

    def run(self, *command: str, seconds: float = 90) -> list[Received]:
        """Run ``command`` and return what reached the origin, after checking what must hold for every client.

        The command runs in a shell that first writes down the placeholder that it was given for the secret.
        """
        mark = self.origin.ledger.mark()
        shell = ("sh", "-c", SHOW_PLACEHOLDER + 'exec "$@"', "sh", *command)
        words = ("exec", "{folders}", "-c", str(self.file), "--", *shell)
        done = run_proxyd(self.folder, *words, variables=self.variables, seconds=seconds)
        assert done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        self.output = done.stdout
        received = self.origin.ledger.since(mark)
        placeholder = (self.folder / "placeholder").read_text().strip()
        assert placeholder, "the child got no placeholder"
        assert TOKEN not in placeholder
        assert received, "nothing reached the origin"
        for entry in received:
            assert entry.authorised, f"refused by the origin: {entry.head}"
            assert entry.values("authorization") == [f"Bearer {TOKEN}"]
            assert placeholder not in entry.head
        return received


@pytest.fixture
def application(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Application:
    folder = tmp_path_factory.mktemp("app")  # short: Unix socket paths end at 108 bytes
    file = folder / "proxyd.yaml"
    file.write_text(yaml.safe_dump(configuration(origin, pki, folder)))
    return Application(folder, file, origin, dict(SECRETS))


def test_curl(application: Application) -> None:
    curl = require_tool("curl")
    received = application.run("sh", "-c", f'{curl} -fsS -H "Authorization: Bearer $TICKETS_TOKEN" {ECHO}')
    assert [(entry.method, entry.target) for entry in received] == [("GET", "/v2/echo")]
    assert received[0].sni == HOST


def test_curl_without_any_authorization_of_its_own(application: Application) -> None:
    application.run(require_tool("curl"), "-fsS", ECHO)


def test_curl_posts_a_body(application: Application) -> None:
    curl = require_tool("curl")
    received = application.run(curl, "-fsS", "--json", '{"title": "Printer on fire"}', f"{BASE_URL}/echo")
    assert received[0].method == "POST"
    assert received[0].body_bytes == len('{"title": "Printer on fire"}')


def test_curl_over_plain_http_is_upgraded_to_tls(application: Application) -> None:
    received = application.run(require_tool("curl"), "-fsS", ECHO.replace("https:", "http:"))
    assert received[0].door == "https"
    assert received[0].values("host") == [HOST]


def test_wget(application: Application) -> None:
    wget = require_tool("wget")
    application.run("sh", "-c", f'{wget} -q -O - --header "Authorization: Bearer $TICKETS_TOKEN" {ECHO}')


def test_git_clone(application: Application) -> None:
    git = require_tool("git")
    header = "http.extraHeader=Authorization: Bearer $TICKETS_TOKEN"
    received = application.run("sh", "-c", f'{git} -c "{header}" clone -q {BASE_URL}/git/ticketkit.git clone')
    assert (application.folder / "clone" / "README").read_text() == "ticketkit\n"
    assert any(entry.target.endswith("/git-upload-pack") for entry in received)


def test_pip_download(application: Application) -> None:
    index = BASE_URL.replace("https://", "https://user:$TICKETS_TOKEN@") + "/simple/"
    pip = f"{sys.executable} -m pip download --no-cache-dir --no-deps --index-url {index} ticketkit"
    application.run("sh", "-c", pip)
    assert (application.folder / "ticketkit-1.0.0-py3-none-any.whl").exists()


def test_pip_install(application: Application) -> None:
    application.run(
        *(sys.executable, "-m", "pip", "install", "--no-cache-dir", "--target", "site"),
        *("--index-url", f"{BASE_URL}/simple/", "ticketkit"),
    )
    assert (application.folder / "site" / "ticketkit.py").exists()


def test_npm_install(application: Application) -> None:
    node, npm = require_node()
    (application.folder / ".npmrc").write_text(
        f"registry={BASE_URL}/npm/\n//{HOST}/v2/npm/:_authToken=${{TICKETS_TOKEN}}\naudit=false\nfund=false\n"
    )
    (application.folder / "package.json").write_text('{"name": "app", "version": "1.0.0"}')
    application.variables["PATH"] = f"{Path(node).parent}:{os.environ['PATH']}"
    application.run(node, npm, "install", "--cache", str(application.folder / "cache"), "ticketkit")
    assert (application.folder / "node_modules" / "ticketkit" / "index.js").exists()


@pytest.mark.parametrize("library", ["requests", "httpx", "aiohttp"])
def test_python(application: Application, library: str) -> None:
    pytest.importorskip(library)
    application.run(sys.executable, str(CLIENTS / f"get_{library}.py"), ECHO)
    assert application.output == "GET\n"


def test_node_fetch(application: Application) -> None:
    node, _ = require_node()
    application.run(node, str(CLIENTS / "get_fetch.mjs"), ECHO)
    assert application.output == "GET\n"


@pytest.fixture
def go_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, compiled."""
    go, folder = require_tool("go"), tmp_path_factory.mktemp("go")
    variables = {**environment(folder), "GOCACHE": str(folder / "cache"), "GO111MODULE": "off", "CGO_ENABLED": "0"}
    command = [go, "build", "-o", str(folder / "get"), str(CLIENTS / "get.go")]
    subprocess.run(command, env=variables, check=True, capture_output=True, timeout=110)
    return folder / "get"


def test_go(application: Application, go_client: Path) -> None:
    application.run(str(go_client), ECHO)
    assert '"method": "GET"' in application.output
