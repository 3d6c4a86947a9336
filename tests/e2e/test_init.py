"""What ``proxyd init`` proposes works: a daemon with that file has every secret, and adds what a file held."""

import json
from pathlib import Path

import pytest
import yaml

from tests.lab.daemon import Daemon, run_proxyd
from tests.lab.origin import HOST, TOKEN, Origin
from tests.lab.pki import Pki
from tests.lab.tools import require_tool

pytestmark = pytest.mark.e2e


def test_credentials_that_were_there_already_are_used(
    tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki
) -> None:
    folder = tmp_path_factory.mktemp("init")
    (folder / "home").mkdir()
    # npm's file: bearer, which is what the origin demands; the other files have services of their own
    (folder / "home" / ".npmrc").write_text(f"//{HOST}/v2/npm/:_authToken={TOKEN}\n")
    (folder / "home" / ".netrc").write_text("machine other.tickets.example login me password s3cret\n")
    (folder / "home" / ".pypirc").write_text(
        "[acme]\nrepository = https://pypi.tickets.example/\nusername = __token__\npassword = pypi-s3cret\n"
    )
    variables = {"GITHUB_TOKEN": "ghp_s3cret", "HOME": str(folder / "home")}
    done = run_proxyd(folder, "init", "-o", "made.yaml", "--json", variables=variables)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((folder / "made.yaml").read_text())
    assert "s3cret" not in (folder / "made.yaml").read_text() + done.stdout
    assert TOKEN not in (folder / "made.yaml").read_text() + done.stdout
    localise(config, origin, pki, folder)
    with Daemon(folder, config, variables) as daemon:
        services = {row["name"]: row for row in json.loads(daemon.run("services", "--json").stdout)}
        assert services.keys() == {"github", HOST, "other.tickets.example", "pypi.tickets.example"}
        states = {secret["name"]: secret["state"] for row in services.values() for secret in row["secrets"]}
        assert set(states.values()) == {"ok"}, states
        mark = origin.ledger.mark()
        done = daemon.run("exec", "{folders}", "--", require_tool("curl"), "-fsS", f"https://{HOST}/v2/echo")
        assert done.returncode == 0, done.stderr
        (received,) = origin.ledger.since(mark)
        assert received.values("authorization") == [f"Bearer {TOKEN}"]


def localise(config: dict, origin: Origin, pki: Pki, folder: Path) -> None:
    """Keep the file as it is but for what only this lab needs: free ports, the origin's address, its roots."""
    config["listeners"][0]["address"] = "127.0.0.1:0"
    config["admin"] = {"socket": str(folder / "admin.sock")}
    config["tls"] = {"extra_roots": str(pki.roots)}
    config["services"][HOST]["endpoints"] = [f"127.0.0.1:{origin.https_port}"]
