"""Backups: a vault's file, sealed with the vault's own key or with a passphrase.

One with a passphrase has a data key of its own, so that whoever learns the passphrase learns what the backup holds
and nothing that was stored later.
"""

import os
from dataclasses import replace

from proxyd.vault import cipher, image
from proxyd.vault.cipher import DataKeys, Scrypt
from proxyd.vault.errors import VaultError, WrongKey
from proxyd.vault.image import Image, KeyInfo
from proxyd.vault.keys import Key, from_passphrase
from proxyd.vault.store import Vault

WHERE = "the backup"


def backup(vault: Vault, passphrase: bytes | None = None) -> bytes:
    """Return a backup of everything, the local CA's key too. VaultError."""
    opened = vault.open()
    if opened is None:
        raise VaultError(f"there is no vault in {vault.folder} yet: nothing to back up")
    own, keys = opened.image, opened.keys
    if passphrase is not None:
        key = from_passphrase(passphrase, "", os.urandom(cipher.ID_BYTES), Scrypt())
        fresh = DataKeys.fresh()
        entries = tuple(
            replace(entry, sealed=cipher.seal_value(fresh, own.id, entry.name, entry.version, value))
            for entry in own.entries
            for value in [cipher.open_value(keys, own.id, entry.name, entry.version, entry.sealed)]
        )
        wrapped = cipher.wrap(fresh, key.material, own.id)
        own, keys = replace(own, key=key.info(own.id), wrapped=wrapped, entries=entries), fresh
    body = image.encode(own)
    return body + cipher.file_tag(keys, own.id, body)


def key_of(data: bytes) -> KeyInfo:
    """Return what a backup was sealed with. VaultError: it is none."""
    return _decoded(data)[0].key


def restore(
    vault: Vault, data: bytes, *, passphrase: bytes | None = None, key: bytes | None = None, replacing: bool = False
) -> int:
    """Put a backup in the place of what the vault holds; return how many secrets it has. VaultError.

    ``passphrase`` or ``key`` (32 bytes) opens the backup; without them, the vault's own key.
    """
    found, keys = _open(vault, data, passphrase, key)
    return vault.adopt(found, keys, replacing=replacing)


def _open(vault: Vault, data: bytes, passphrase: bytes | None, material: bytes | None) -> tuple[Image, DataKeys]:
    found, body, tag = _decoded(data)
    info = found.key
    if passphrase is not None and info.kind == "passphrase":
        key = Key("passphrase", "", info.scrypt.derive(passphrase, info.salt), info.salt, info.scrypt)
    elif material is not None:
        key = Key("file", "", material)
    else:
        try:
            key = vault.keyring.unlock(info, found.id)
        except WrongKey:
            raise WrongKey(
                f"the backup was sealed with the {info.title}, which is not this vault's; give it with --key-file, or "
                "the passphrase when it is asked for"
            ) from None
    if cipher.key_id(key.material, found.id) != info.id:
        raise WrongKey(f"the backup was sealed with another {'passphrase' if info.kind == 'passphrase' else 'key'}")
    try:
        keys = cipher.unwrap(found.wrapped, key.material, found.id)
    except ValueError:
        raise image.damaged(WHERE) from None
    if not image.same(tag, cipher.file_tag(keys, found.id, body)):
        raise image.damaged(WHERE)
    return found, keys


def _decoded(data: bytes) -> tuple[Image, bytes, bytes]:
    if len(data) > image.MAX_FILE:
        raise VaultError(f"{WHERE} is larger than any vault ({image.MAX_FILE} bytes)")
    body, tag = image.split(data, WHERE)
    return image.decode(body, WHERE), body, tag
