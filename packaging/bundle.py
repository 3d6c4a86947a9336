"""Makes the folder that the Debian package and the image carry as /usr/lib/proxyd: a virtual environment, whole.

    python packaging/bundle.py FOLDER [WHEEL]

It is for the Python that runs this (its version, in /usr/bin), with proxyd from WHEEL, which is built when it is not
named, and the dependencies from PyPI. Nothing is written below the folder later: the bytecode is in it.
"""

import compileall
import json
import py_compile
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = "/usr/lib/proxyd"
PYTHON = f"python3.{sys.version_info.minor}"

LAUNCHER = f"""\
#!{HOME}/bin/python3
import sys

from proxyd.cli.main import main

sys.exit(main())
"""


def make(folder: Path, wheel: Path) -> None:
    """Fill ``folder``, which must not exist."""
    site = folder / "lib" / PYTHON / "site-packages"
    site.mkdir(parents=True)
    # The interpreter itself is asked: pip's own flags for other versions would judge markers by this one anyway.
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target", str(site))
    subprocess.run([sys.executable, *pip, str(wheel)], check=True)
    for needless in (site / "bin", site / "include", *site.glob("*/tests"), *site.glob("*/_tests")):
        shutil.rmtree(needless, ignore_errors=True)
    forget_origin(site)
    programs = folder / "bin"
    programs.mkdir()
    (programs / PYTHON).symlink_to(f"/usr/bin/{PYTHON}")
    (programs / "python3").symlink_to(PYTHON)
    (programs / "proxyd").write_text(LAUNCHER)
    (programs / "proxyd").chmod(0o755)
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH  # independent of times that packaging does not keep
    if not compileall.compile_dir(
        folder / "lib", quiet=1, stripdir=str(folder), prependdir=HOME, invalidation_mode=mode, workers=0
    ):
        raise SystemExit("bundle: some module does not compile")


def forget_origin(site: Path) -> None:
    """Drop what pip noted about the wheel's place on this machine."""
    for note in site.glob("proxyd-*.dist-info/direct_url.json"):
        assert json.loads(note.read_text())["url"].startswith("file:")
        note.unlink()


def build_wheel(folder: Path) -> Path:
    """Build proxyd's wheel in ``folder`` and return its path."""
    pip = ("-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", str(folder))
    subprocess.run([sys.executable, *pip, str(ROOT)], check=True)
    (wheel,) = folder.glob("proxyd-*.whl")
    return wheel


def main(words: list[str]) -> None:
    if not 1 <= len(words) <= 2:
        raise SystemExit("usage: bundle.py FOLDER [WHEEL]")
    with tempfile.TemporaryDirectory() as scratch:
        wheel = Path(words[1]) if len(words) == 2 else build_wheel(Path(scratch))
        make(Path(words[0]), wheel)


if __name__ == "__main__":
    main(sys.argv[1:])
