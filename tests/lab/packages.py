"""Something to clone, to pip install and to npm install: one tiny package ``ticketkit`` in three shapes."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

NAME = "ticketkit"
VERSION = "1.0.0"
WHEEL = f"{NAME}-{VERSION}-py3-none-any.whl"
TARBALL = f"{NAME}-{VERSION}.tgz"


def create_packages(content: Path, base_url: str) -> None:
    """Fill ``content``; ``base_url`` is where a client will find it. No repository where git is missing."""
    _create_index(content)
    _create_registry(content, base_url)
    if shutil.which("git"):
        _create_repository(content / "git" / f"{NAME}.git")


def _create_index(content: Path) -> None:
    files = {
        f"{NAME}.py": b"ANSWER = 42\n",
        f"{NAME}-{VERSION}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n".encode(),
        f"{NAME}-{VERSION}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{NAME}-{VERSION}.dist-info/RECORD"
    lines = [f"{name},sha256={_urlsafe(data)},{len(data)}" for name, data in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    wheel = content / "packages" / WHEEL
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    page = content / "simple" / NAME / "index.html"
    page.parent.mkdir(parents=True)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    page.write_text(f'<!doctype html><a href="/v2/packages/{WHEEL}#sha256={digest}">{WHEEL}</a>\n')


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _create_registry(content: Path, base_url: str) -> None:
    manifest = {"name": NAME, "version": VERSION, "main": "index.js"}
    tarball = content / "npm" / NAME / "-" / TARBALL
    tarball.parent.mkdir(parents=True)
    with tarfile.open(tarball, "w:gz") as archive:
        for name, text in (("package.json", json.dumps(manifest)), ("index.js", "module.exports = 42;\n")):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    found = {"tarball": f"{base_url}/npm/{NAME}/-/{TARBALL}", "integrity": f"sha512-{digest}"}
    document = {"name": NAME, "dist-tags": {"latest": VERSION}, "versions": {VERSION: {**manifest, "dist": found}}}
    (content / "npm" / NAME / "package.json").write_text(json.dumps(document))


def _create_repository(bare: Path) -> None:
    """One commit on ``main``; HOME points into the tree so that no user's configuration takes part."""
    work = bare.with_suffix(".work")
    work.mkdir(parents=True)
    (work / "README").write_text("ticketkit\n")
    variables = {"PATH": os.environ["PATH"], "HOME": str(work), "GIT_CONFIG_NOSYSTEM": "1"}
    author = ("-c", "user.name=lab", "-c", "user.email=lab@example.invalid")
    for command in (
        ("init", "-q", "-b", "main"),
        ("add", "README"),
        (*author, "commit", "-q", "-m", "First"),
        ("clone", "-q", "--bare", ".", str(bare)),
    ):
        subprocess.run(["git", *command], cwd=work, env=variables, check=True, capture_output=True)
