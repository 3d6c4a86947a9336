"""Makes a Client of what the daemon says: writes the files that variables point at.

They stand in the caller's own runtime folder, under a name made of their content: a second call finds them, and a new
root or another proxy never changes a file that a running program has read.
"""

import hashlib
import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from proxyd.cli.exits import CommandError
from proxyd.cli.paths import private
from proxyd.cli.variables import TRUSTSTORE_PASSWORD, Client, gateway_variables, php_ini, wgetrc

FOLDER: Final = "client"
WGETRC_BYTES: Final = 1024 * 1024


def make_client(answer: Any, runtime: Path, variables: Mapping[str, str]) -> Client:
    """Return the Client for the daemon's ``environment`` answer; CommandError when a file cannot be had."""
    try:
        proxy, bundle = str(answer["proxy"] or ""), Path(answer["ca_bundle"])
        names = tuple(map(str, answer["secret_variables"]))
    except (KeyError, TypeError):
        raise CommandError("the daemon's answer to environment is not understood; is it another version?") from None
    if not proxy and answer.get("proxy_socket"):
        raise CommandError("the forward listener is a Unix socket: use proxyd exec, or HTTP_PROXY=URL of proxyd bridge")
    if not proxy:
        raise CommandError("no listener of the daemon serves without a password; add one of mode forward without users")
    folder = private(private(runtime) / FOLDER)
    try:
        pem = bundle.read_bytes()
    except OSError as error:
        raise CommandError(f"{bundle}: {error.strerror}; the daemon writes it when it starts") from None
    rc = wgetrc(proxy, str(bundle), _own_wgetrc(variables)).encode(errors="surrogateescape")
    ini = php_ini(str(bundle)).encode()
    php = private(folder / f"{hashlib.sha256(ini).hexdigest()[:16]}-php")
    _keep(php, "proxyd.ini", ini, lambda: ini)
    return Client(
        proxy=proxy,
        ca_bundle=str(bundle),
        wgetrc=str(_keep(folder, "wgetrc", rc, lambda: rc)),
        truststore=str(_keep(folder, "truststore.p12", pem, lambda: truststore(pem))),
        php_folder=str(php),
        secret_variables=names,
        gateway=gateway_variables(answer),
    )


def truststore(pem: bytes) -> bytes:
    """Return a PEM bundle as the PKCS#12 that Java takes for a truststore."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some roots of old have odd serial numbers
        certificates = x509.load_pem_x509_certificates(pem)
        entries = [pkcs12.PKCS12Certificate(each, b"root-%d" % index) for index, each in enumerate(certificates)]
        return pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(TRUSTSTORE_PASSWORD.encode()))


def _own_wgetrc(variables: Mapping[str, str]) -> str:
    path = Path(variables.get("WGETRC") or Path(variables.get("HOME") or "/", ".wgetrc"))
    try:
        with path.open("rb") as file:
            return file.read(WGETRC_BYTES).decode(errors="surrogateescape")
    except OSError:
        return ""  # most people have none


def _keep(folder: Path, name: str, source: bytes, make: Callable[[], bytes]) -> Path:
    path = folder / f"{hashlib.sha256(source).hexdigest()[:16]}-{name}"
    if path.exists():
        return path
    temporary = folder / f".{secrets.token_hex(8)}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(make())
        temporary.replace(path)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    return path
