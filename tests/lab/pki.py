"""A certificate authority for origins, written to a folder: what ``tls.extra_roots`` trusts in tests."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

HOSTS = (
    "api.tickets.example",
    "other.tickets.example",
    "unknown.example",
    "localhost",
    "127.0.0.1",
    "::1",
)


@dataclass(frozen=True, slots=True)
class Pki:
    """Paths of PEM files; ``roots`` is what a client must trust."""

    roots: Path
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """Make a context for a server that holds the leaf; ALPN offers HTTP/1.1 only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def client_context(self) -> ssl.SSLContext:
        """Make a context for a client that trusts this authority and nothing else."""
        return ssl.create_default_context(cafile=str(self.roots))


def create_pki(folder: Path, hosts: tuple[str, ...] = HOSTS) -> Pki:
    """Write a root and one leaf for all of ``hosts`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(organization_name="proxyd lab")
    leaf = authority.issue_cert(*hosts)
    pki = Pki(folder / "roots.pem", folder / "leaf.pem", folder / "leaf.key")
    authority.cert_pem.write_to_path(pki.roots)
    leaf.private_key_pem.write_to_path(pki.key)
    for index, blob in enumerate(leaf.cert_chain_pems):
        blob.write_to_path(pki.certificate, append=index > 0)
    return pki
