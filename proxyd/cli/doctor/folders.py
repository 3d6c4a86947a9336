"""What proxyd keeps on disk: whose it is, and who else can read it."""

import datetime
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proxyd.cli.doctor.findings import Finding, fail, ok, warn

KEYS: Final = ("key", "store", "gateway.token")
"""Names of files that hold keys or secrets, besides everything that ends in ``.key``."""
MOST: Final = 2000
"""Files that are looked at; a state folder holds a dozen."""


def check(state: Path, runtime: Path) -> list[Finding]:
    """Return what is wrong with the state and runtime folders, and when the CA ends."""
    return [folder("state folder", state), folder("runtime folder", runtime), authority(state)]


def folder(name: str, path: Path) -> Finding:
    """Judge one folder and what lies in it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ok(name, f"{path} is not there yet; it is made at the first start")
    except OSError as error:
        return warn(name, f"{path}: {error.strerror}", "run doctor as the user that proxyd runs as")
    if not stat.S_ISDIR(found.st_mode):
        return fail(name, f"{path} is no folder", "remove it, or name another one with --state-dir or --runtime-dir")
    if found.st_uid != os.geteuid():
        what = f"{path} belongs to uid {found.st_uid}, and you are uid {os.geteuid()}"
        return warn(name, what, "run doctor as the user that proxyd runs as")
    if found.st_mode & 0o022:
        return fail(name, f"{path}: others can write to it, so they can replace keys", f"chmod go-w {path}")
    opened = [each for each in _files(path) if _is_open(each)]
    if opened:
        names = ", ".join(each.name for each in opened[:3]) + (" …" if len(opened) > 3 else "")
        return fail(name, f"{path}: others can read or write {names}", f"chmod go-rwx {' '.join(map(str, opened[:3]))}")
    return ok(name, f"{path}, yours alone")


def authority(state: Path) -> Finding:
    """Judge the certificate that clients must trust."""
    path = state / "ca.pem"
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        return ok("local CA", "not made yet; the first start makes it")
    except OSError as error:
        return warn("local CA", f"{path}: {error.strerror}", "run doctor as the user that proxyd runs as")
    from cryptography import x509

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return fail("local CA", f"{path} is no certificate", "remove it; the daemon writes it again when it starts")
    now = datetime.datetime.now(datetime.UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= now <= end:
        what = f"it is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, which is not now"
        return fail("local CA", what, "look at the clock; an old CA: see docs/guides/troubleshooting.md")
    return ok("local CA", f"valid until {end:%Y-%m-%d}")


def _files(folder: Path) -> Iterator[Path]:
    seen = 0
    for parent, folders, names in os.walk(folder):
        if parent != str(folder):
            folders.clear()  # two levels are all there are
        for name in names:
            seen += 1
            if seen > MOST:
                return
            yield Path(parent, name)


def _is_open(path: Path) -> bool:
    """Whether others can read a key or write to a file."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    is_key = path.name in KEYS or path.suffix == ".key"
    return bool(found.st_mode & (0o077 if is_key else 0o022))
