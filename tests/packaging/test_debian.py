"""The Debian package's own files: its list, its scripts, its configuration and its manual page."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from proxyd.cli.main import build_parser
from proxyd.config.load import load_text

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "packaging" / "debian"


def test_every_file_that_the_package_takes_from_the_tree_is_there():
    package = yaml.safe_load((FOLDER / "nfpm.yaml").read_text())
    sources = [one["src"] for one in package["contents"] if "src" in one and one.get("type") != "symlink"]
    sources += package["scripts"].values()
    assert not [source for source in sources if not source.startswith("${DEB_STAGE}/") and not any(ROOT.glob(source))]


def test_what_an_administrator_changes_is_a_conffile():
    package = yaml.safe_load((FOLDER / "nfpm.yaml").read_text())
    assert [one["dst"] for one in package["contents"] if one.get("type") == "config|noreplace"] == [
        "/etc/proxyd/proxyd.yaml",
        "/etc/logrotate.d/proxyd",
    ]


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm", "build.sh", "../container/build.sh"])
def test_a_script_is_shell(name):
    subprocess.run(["sh", "-n", str(FOLDER / name)], check=True, timeout=10)


def test_the_configuration_that_is_installed_loads():
    text = (FOLDER / "proxyd.yaml").read_text()
    assert load_text(text, "proxyd.yaml", ROOT, Path("/var/lib/proxyd"), Path("/run/proxyd")).listeners
    uncommented = text.replace("\n# ", "\n")
    services = uncommented[uncommented.index("services:") :]
    whole = load_text(text + services, "proxyd.yaml", ROOT, Path("/var/lib/proxyd"), Path("/run/proxyd"))
    assert [service.name for service in whole.services] == ["tickets"]


def test_the_manual_page_has_every_command():
    done = subprocess.run(
        [sys.executable, str(FOLDER / "man.py")], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    (commands,) = (action for action in build_parser()._actions if action.choices and action.nargs == "A...")
    missing = [name for name in commands.choices if f".B proxyd {name}".replace("-", "\\-") not in done.stdout]
    assert not missing
    assert ".SH NAME\nproxyd \\- " in done.stdout
