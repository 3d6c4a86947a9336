"""One place in the vault for something of proxyd's own, such as the local CA's root."""

from typing import Final

from proxyd.vault.errors import NoSuchSecret
from proxyd.vault.store import Vault

CA_ROOT: Final = "@ca-root"
"""The local CA's private key and certificate."""


class Compartment:
    """Holds one value; satisfies proxyd.certs.root.Keep. Every method may block; VaultError."""

    def __init__(self, vault: Vault, name: str = CA_ROOT) -> None:
        self._vault = vault
        self._name = name

    def load(self) -> bytes | None:
        """Return what it holds."""
        try:
            return self._vault.get(self._name).value
        except NoSuchSecret:
            return None

    def store(self, data: bytes) -> bytes:
        """Put ``data`` there unless something is there already; return what counts."""
        return self._vault.add(self._name, data)

    def empty(self) -> bool:
        """Take out what it holds; False: nothing was there."""
        try:
            self._vault.discard(self._name)
        except NoSuchSecret:
            return False
        return True

    @property
    def title(self) -> str:
        """Where it is, for messages."""
        return f"the vault ({self._vault.folder})"
