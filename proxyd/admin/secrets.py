"""The admin methods of the vault. Values go in and never come out."""

from typing import Any, Final

from proxyd.admin.method import Kind, Method, Param
from proxyd.admin.role import Role
from proxyd.admin.session import Session

MAX_BACKUP_TEXT: Final = 900 * 1024
"""Base64 of a backup, within the longest request."""
MAX_OVERLAP: Final = 90 * 86400.0
KEY_KINDS: Final = ("file", "credential", "env", "passphrase")

_NAME: Final = Param("name", Kind.TEXT, "name of the secret", required=True, least=1, most=128)
_VALUE: Final = Param("value", Kind.BYTES, "the value; 64 KiB at most, no line break", required=True)
_CHANGE: Final = (
    "`workers` use it, `used_by` names services and listeners, `problems` the workers that have not taken it within 5 s"
)


async def _set(session: Session, name: str, value: bytes) -> Any:
    return await session.service.vault.store(name, value)


async def _rotate(session: Session, name: str, value: bytes, overlap: float | None = None) -> Any:
    return await session.service.vault.rotate(name, value, overlap)


async def _remove(session: Session, name: str) -> Any:
    return await session.service.vault.remove(name)


async def _rekey(session: Session, **values: Any) -> Any:
    return await session.service.vault.rekey(**values)


async def _backup(session: Session, passphrase: bytes | None = None) -> Any:
    return await session.service.vault.backup(passphrase)


async def _restore(
    session: Session, data: str, passphrase: bytes | None = None, key: bytes | None = None, replace: bool = False
) -> Any:
    return await session.service.vault.restore(data, passphrase, key, replace)


SECRET_METHODS: Final = (
    Method("secrets", "the secrets of the vault and of the configuration",
           "a list: name, source (`vault`, `env`, `file`, `command`, or the name of a vault elsewhere), version in "
           "use, versions, age, when it ends, state (`ok`, `ends soon`, `over age`, `ended`, `not used`), last use "
           "(best effort), who names it; never a value",
           lambda session: session.service.vault.secrets()),
    Method("secret.set", "store a secret in the vault, as its only version",
           f"`{{ok, name, version, workers, used_by, problems}}`, once it is on the disk and in use: {_CHANGE}",
           _set, (_NAME, _VALUE), Role.FULL),
    Method("secret.rotate", "store a new version of a secret; the former one counts until its overlap ends",
           "as `secret.set`, and `overlap_seconds`", _rotate,
           (_NAME, _VALUE,
            Param("overlap", Kind.NUMBER, "seconds that proxy users may still use the former value; a day by default",
                  most=int(MAX_OVERLAP))),
           Role.FULL),
    Method("secret.rm", "forget a secret; what uses it ends within `drain_old`", "as `secret.set`, without a version",
           _remove, (_NAME,), Role.FULL),
    Method("secret.rekey", "seal the vault anew, with a new key where it is in a file or given here",
           "as `secret.set`, and `key`: which key it is",
           _rekey,
           (Param("kind", Kind.TEXT, "where the new key is from now on", choices=KEY_KINDS),
            Param("place", Kind.TEXT, "path, or name of the variable or credential"),
            Param("material", Kind.TEXT, "base64 of the new key or passphrase; none for a file"),
            Param("accept", Kind.FLAG, "take the vault as the latest although an older one seems to be in its place")),
           Role.FULL),
    Method("secret.backup", "return a backup of the vault, the local CA included",
           "`{data}`: base64; sealed with the passphrase, or with the vault's own key", _backup,
           (Param("passphrase", Kind.BYTES, "passphrase of the backup"),), Role.FULL),
    Method("secret.restore", "put a backup in the place of what the vault holds",
           "as `secret.set`, and `secrets`: how many, `ca_changed`: whether proxyd must be started again for its CA",
           _restore,
           (Param("data", Kind.TEXT, "base64 of the backup", required=True, least=1, most=MAX_BACKUP_TEXT),
            Param("passphrase", Kind.BYTES, "passphrase of the backup"),
            Param("key", Kind.BYTES, "key of the backup, where it is not the vault's own"),
            Param("replace", Kind.FLAG, "give up the secrets that the vault holds")),
           Role.FULL),
)  # fmt: skip
