"""The sections that say where secrets are: the sources of their values, and the key of the vault."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from proxyd.config.vaults import VaultPath
from proxyd.core.settings import Ages
from proxyd.core.units import DAY, MILLISECOND, MINUTE
from proxyd.reading import names
from proxyd.reading.readers import Seconds, Text, Whole
from proxyd.reading.sections import Section
from proxyd.reading.values import FilePath, Name, SecretName

AgeLimit = Annotated[float, Seconds(0.0, 3660 * DAY)]
Warnings = Annotated[list[Annotated[float, Seconds(1.0, 3660 * DAY)]], Field(max_length=8)]


class SecretSection(Section):
    """Where a value comes from: exactly one of `env`, `file`, `command`, `vault` and `from`."""

    env: Annotated[str, Text(names.environment_name, "variable", names.ENV_PATTERN)] = ""
    """An environment variable of the daemon; `proxyd exec` takes it away from the program it runs."""
    file: FilePath = ""
    """A file, read again when it changes; relative to the configuration file."""
    command: Annotated[list[Annotated[str, Text(names.argument, "argument")]], Field(min_length=1)] | None = None
    """A program and its arguments, run without a shell; its output is the value."""
    vault: SecretName = ""
    """A secret in the vault, under the name that `proxyd secret set` was given."""
    outside: Annotated[Name, Field(alias="from")] = ""
    """A vault elsewhere, by its name under `vaults`."""
    path: VaultPath = ""
    """Path of the secret in that vault, below the mount of its key-value engine; of a plugin's what it says."""
    lease: VaultPath = ""
    """Path of a dynamic secret, such as `database/creds/readonly`; it is renewed and replaced as its lease wants."""
    field: Annotated[str, Text(names.plain_text, "text")] = ""
    """Which field of it. Without: the only one."""
    mount: VaultPath = ""
    """Where the engine is mounted, if not where the vault says."""
    version: Annotated[int, Whole(0, 2**31)] = 0
    """Version of the secret; 0: the latest."""
    timeout: Annotated[float, Seconds(10 * MILLISECOND, 10 * MINUTE)] = 10.0
    """How long the command may take."""
    ttl: Annotated[float, Seconds(1.0, 30 * DAY)] = 300.0
    """How long its output is used before the command is run again."""
    max_age: AgeLimit | None = None
    """How old it may be; without: as `ages` says. Known for proxyd's vault, files, and vaults that tell it."""
    warn_before: Warnings | None = None
    """When its end is told; without: as `ages` says."""
    over: Literal["warn", "deny"] | None = None
    """What happens when it is over its age or its end; without: as `ages` says."""


class AgesSection(Section):
    """How old secrets may be, and when ends are told beforehand. A secret may say otherwise for itself."""

    max_age: AgeLimit = 0.0
    """How old a secret may be, where its age is known; 0s: as old as it likes."""
    warn_before: Warnings = [30 * DAY, 7 * DAY, DAY]
    """How long before the end of a secret or certificate it is told, once each; of short lives only what fits."""
    over: Literal["warn", "deny"] = "warn"
    """`deny`: a secret over its age or its end is not used any more; requests that need it are answered 500."""

    def compiled(self) -> Ages:
        """Return the policy."""
        return Ages(self.max_age, tuple(sorted(self.warn_before, reverse=True)), self.over == "deny")


def ages_of(section: SecretSection, usual: Ages) -> Ages:
    """Return the policy of one secret."""
    own = usual
    if section.max_age is not None:
        own = replace(own, max_age=section.max_age)
    if section.warn_before is not None:
        own = replace(own, warn_before=tuple(sorted(section.warn_before, reverse=True)))
    return own if section.over is None else replace(own, deny=section.over == "deny")


class VaultSection(Section):
    """Where the key of the vault is: at most one of these keys.

    Without any: the systemd credential `proxyd-vault-key`, the file `vault/key` in the state folder, the variable
    `PROXYD_VAULT_KEY` or `PROXYD_VAULT_PASSPHRASE`, whichever fits first; the file is made when there is none of them.
    """

    key_file: FilePath = ""
    """File with the key (64 hexadecimal digits or base64 of 32 bytes), mode 0600; relative to the configuration."""
    env: Annotated[str, Text(names.environment_name, "variable", names.ENV_PATTERN)] = ""
    """Environment variable with the key."""
    credential: Name = ""
    """Name of a systemd credential with the key (`LoadCredential=`, `LoadCredentialEncrypted=`)."""
    passphrase_env: Annotated[str, Text(names.environment_name, "variable", names.ENV_PATTERN)] = ""
    """Environment variable with a passphrase; scrypt makes the key of it, which takes some 0.4 s and 128 MiB."""
