"""twine with a placeholder, through proxyd, to a double of the upload API."""

import base64
import zipfile
from pathlib import Path

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("twine",)
AGAINST = "double of the upload API"
HOST = ".".join(("upload", "pypi", "org"))
TOKEN = "pypi-AgEIcHlwaS5vcmcAAAAAAAAA"


def check(asked):
    """The index's rule: Basic of __token__ and the token."""
    pair = base64.b64encode(f"__token__:{TOKEN}".encode()).decode()
    return (
        "" if asked.value("authorization") == f"Basic {pair}" else "Invalid or non-existent authentication information"
    )


def answers(asked):
    if asked.method == "POST" and asked.path == "/legacy/" and b'name="content"' in asked.body:
        return Answer(200, "")
    return Answer(400, "nothing to upload")


def wheel(folder: Path) -> Path:
    path = folder / "labtool-1.0-py3-none-any.whl"
    info = "labtool-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labtool.py", "x = 1\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: labtool\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"labtool.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def test_twine_uploads_with_a_placeholder(pki_of, vendor, proxied, tmp_path):
    import sys

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, lambda why: Answer(403, why))
    proxy = proxied(pki, {"pypi": {"secret": {"token": "pypi/token"}, **loopback(double.port)}}, {"pypi/token": TOKEN})
    words = ["upload", "--repository-url", f"https://{HOST}/legacy/", "-u", "__token__", "-p", PLACEHOLDER]
    program = [sys.executable, "-m", "twine", *words, "--non-interactive", "--disable-progress-bar"]
    proxy.output(*program, str(wheel(tmp_path)))
    assert double.refused == []
    assert PLACEHOLDER.encode() not in double.asked[-1].body
