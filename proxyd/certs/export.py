"""What clients read: the root certificate, and a bundle of the system's roots with the local one added.

Runtimes that take one CA file take it *instead of* the system's, hence the bundle.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import certifi

from proxyd.certs.root import sync_folder

ROOT_NAME: Final = "ca.pem"
BUNDLE_NAME: Final = "ca-bundle.pem"

SYSTEM_BUNDLES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Alpine, Arch
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, RHEL
    Path("/etc/ssl/ca-bundle.pem"),  # openSUSE
    Path("/etc/ssl/cert.pem"),
)
"""Not taken from SSL_CERT_FILE: a daemon that runs under ``proxyd exec`` would bundle its own bundle."""


def export(state_dir: Path, root_pem: bytes, system_bundles: Sequence[Path] = SYSTEM_BUNDLES) -> tuple[Path, Path]:
    """Write the root and the bundle (mode 0644) into ``state_dir`` and return their paths. OSError: not writable."""
    root_path, bundle_path = state_dir / ROOT_NAME, state_dir / BUNDLE_NAME
    replace(root_path, root_pem, 0o644)
    roots = system_roots(system_bundles)
    replace(bundle_path, roots + (b"" if roots.endswith(b"\n") else b"\n") + root_pem, 0o644)
    return root_path, bundle_path


def system_roots(system_bundles: Sequence[Path] = SYSTEM_BUNDLES) -> bytes:
    """Return the system's roots as PEM: the distribution's bundle, or certifi's where there is none."""
    for path in system_bundles:
        try:
            return path.read_bytes()
        except OSError:
            continue  # the next distribution's place; certifi in the end
    return Path(certifi.where()).read_bytes()


def replace(path: Path, data: bytes, mode: int) -> None:
    """Write ``data`` to ``path`` so that readers see the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
