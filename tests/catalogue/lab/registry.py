"""Debian's docker-registry on loopback, and the token service that its challenges lead to.

The registry verifies tokens itself, by the service's certificate. Tokens are made by PyJWT, none of it proxyd's code.
https://distribution.github.io/distribution/spec/auth/jwt/
"""

import base64
import hashlib
import io
import json
import random
import secrets
import socket
import ssl
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.catalogue.lab.vendor import Answer, Asked
from tests.lab.daemon import wait_until
from tests.lab.pki import Pki

SERVICE = "registry.lab"
ISSUER = "lab"


class TokenService:
    """Gives tokens of a minute to one user: a check and answers for a double."""

    def __init__(self, pki: Pki, user: str, password: str) -> None:
        self._pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._user = user
        self._key = load_pem_private_key(pki.key.read_bytes(), None)
        chain = x509.load_pem_x509_certificates(pki.certificate.read_bytes())
        self._chain = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]
        self.scopes: list[list[str]] = []
        """What was asked for, by question."""

    def check(self, asked: Asked) -> str:
        """Basic of the user."""
        return "" if asked.value("authorization") == f"Basic {self._pair}" else "incorrect username or password"

    def answers(self, asked: Asked) -> Answer:
        """Grant all that is asked for."""
        import jwt

        assert asked.parameter("service") == SERVICE
        wanted = [value for name, value in asked.query if name == "scope"]
        self.scopes.append(wanted)
        access = []
        for scope in wanted:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": self._user, "aud": SERVICE, "exp": now + 60, "nbf": now - 5, "iat": now,
            "jti": secrets.token_hex(8), "access": access,
        }  # fmt: skip
        kind = "ES256" if isinstance(self._key, ec.EllipticCurvePrivateKey) else "RS256"
        token = jwt.encode(claims, self._key, kind, {"x5c": self._chain})  # type: ignore[arg-type]
        return Answer(200, {"token": token, "expires_in": 60})


@contextmanager
def registry(folder: Path, pki: Pki, realm: str) -> Iterator[int]:
    """Run the registry over TLS; yield its port."""
    port = _free_port()
    config: dict[str, Any] = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}, "delete": {"enabled": True}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "secret": "lab",
            "tls": {"certificate": str(pki.certificate), "key": str(pki.key)},
        },
        "auth": {
            "token": {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(pki.roots)},
        },
    }
    path = folder / "registry.json"  # YAML is a superset
    path.write_text(json.dumps(config))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(path)], stdout=log, stderr=log)
        try:
            wait_until(lambda: process.poll() is not None or _answers(port, pki), "docker-registry")
            assert process.poll() is None, (folder / "registry.log").read_text()
            yield port
        finally:
            process.terminate()
            process.wait(10)


def image(folder: Path) -> Path:
    """Write an image of one layer as an OCI layout (image-spec, image-layout.md)."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("noise")
        entry.size = 200_000
        tar.addfile(entry, io.BytesIO(random.Random(1).randbytes(entry.size)))
    layer = blob(packed.getvalue(), "layer.v1.tar")
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
    described = blob(json.dumps(config).encode(), "config.v1+json")
    manifest = {"schemaVersion": 2, "config": described, "layers": [layer]}
    listed = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _answers(port: int, pki: Pki) -> bool:
    context = ssl.create_default_context(cafile=str(pki.roots))
    context.check_hostname = False
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        opener.open(f"https://127.0.0.1:{port}/v2/", timeout=5)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True
