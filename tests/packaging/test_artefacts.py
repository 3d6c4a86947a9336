"""The wheel and the sdist: built by the project's backend, looked into, installed, and run."""

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import proxyd
from tests.lab.curl import fetch
from tests.lab.daemon import Daemon, configuration, environment
from tests.lab.origin import BASE_URL

ROOT = Path(__file__).parents[2]
NAME = f"proxyd-{proxyd.__version__}"


def run(*command, cwd, home=None):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(home or cwd),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def build(source, target, *kinds):
    """Build ``kinds`` without a network: the backend is the one that is installed."""
    flags = [word for kind in kinds for word in ("-t", kind)]
    run(sys.executable, "-m", "hatchling", "build", "-d", target, *flags, cwd=source, home=target.parent)


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """The program ``proxyd`` of a new environment: the wheel, and the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    wheel = dist / f"{NAME}-py3-none-any.whl"
    pip = ("-m", "pip", "--python", python, "--disable-pip-version-check")
    run(sys.executable, *pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    # Paths alone: a .pth file among them would bring the working tree in.
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("-packages")))
    return folder / "bin" / "proxyd"


def test_the_wheel_holds_the_program_and_what_it_reads(dist):
    with zipfile.ZipFile(dist / f"{NAME}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
    assert {"proxyd/py.typed", "proxyd/config/default.yaml", "proxyd/cli/main.py"} <= names
    assert "proxyd_plugins/__init__.py" in names
    assert f"{NAME}.dist-info/licenses/LICENSE" in names
    assert {name.split("/")[0] for name in names} == {"proxyd", "proxyd_plugins", f"{NAME}.dist-info"}


def test_every_file_of_the_package_is_in_the_wheel(dist):
    with zipfile.ZipFile(dist / f"{NAME}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
    for base, package in ((ROOT, "proxyd"), (ROOT / "plugins", "proxyd_plugins")):
        files = [path for path in (base / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert {path.relative_to(base).as_posix() for path in files} <= names


def test_the_sdist_holds_sources_examples_documents_and_packaging(dist):
    with tarfile.open(dist / f"{NAME}.tar.gz") as sdist:
        names = {name.removeprefix(f"{NAME}/") for name in sdist.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "conf/schema.json", "conf/minimal.yaml"} <= names
    assert {"plugins/proxyd_plugins/__init__.py", "docs/configuration.md", "packaging/systemd/proxyd.service"} <= names
    top = {name.split("/")[0] for name in names}
    assert top == {
        *("proxyd", "plugins", "conf", "docs", "packaging"),
        *("LICENSE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"),
    }


def test_the_sdist_builds_the_same_wheel(dist, tmp_path):
    run("tar", "-xzf", dist / f"{NAME}.tar.gz", cwd=tmp_path)
    build(tmp_path / NAME, tmp_path / "again", "wheel")
    wheel = f"{NAME}-py3-none-any.whl"
    assert (tmp_path / "again" / wheel).read_bytes() == (dist / wheel).read_bytes()


def test_the_installed_program_runs_from_the_wheel(installed, tmp_path):
    assert run(installed, "--version", cwd=tmp_path) == f"proxyd {proxyd.__version__}\n"
    where = "import proxyd, proxyd_plugins; print(proxyd.__file__, proxyd_plugins.__file__)"
    for path in run(installed.with_name("python"), "-c", where, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed.parents[1])


@pytest.mark.parametrize("words", [(), ("-c", ROOT / "conf" / "minimal.yaml")], ids=["default", "minimal"])
def test_the_installed_program_checks_configurations(installed, tmp_path, words):
    folders = ("--state-dir", tmp_path / "state", "--runtime-dir", tmp_path / "run")
    run(installed, "check", *words, *folders, cwd=tmp_path)


@pytest.mark.e2e
def test_the_installed_daemon_serves_a_request(installed, origin, pki, tmp_path):
    with Daemon(tmp_path / "d", configuration(origin, pki, tmp_path / "d"), program=str(installed)) as daemon:
        fetch(daemon, f"{BASE_URL}/echo")
        (entry,) = daemon.wait_for_log(1)
    assert (entry["status"], entry["credential"]) == (200, "tickets/token")
