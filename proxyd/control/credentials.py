"""Secrets as workers and the log are told of them."""

from proxyd.core.messages import SetCredential
from proxyd.core.settings import Settings
from proxyd.telemetry.log import Log
from proxyd.vault.state import SecretState


def credential(state: SecretState) -> SetCredential:
    """Return what a worker is to know of a secret."""
    why = state.why if state.secret is None else ""
    former = [secret.reveal() for secret in state.former]
    return SetCredential(state.source.name, state.value, why, state.serial, former)


def withheld(settings: Settings) -> frozenset[str]:
    """Return the names of secrets that no worker gets: only flows of tokens and logins to vaults need them."""
    used = {name for service in settings.services for auth in service.auths for name in auth.secret_names}
    used |= {user.secret for listener in settings.listeners for user in listener.users}
    kept = {name for source in settings.tokens for _, name in source.secrets}
    kept |= {name for vault in settings.vaults for name in vault.secrets}
    return frozenset(kept) - used


def withdrawn(name: str) -> SetCredential:
    """Return what a worker is to know of a secret that the configuration names no more."""
    return SetCredential(name, None, "it is no longer in the configuration")


def log_change(log: Log, state: SecretState) -> None:
    """Say that a secret is another one now, or why it is not."""
    if state.why and state.source.vault and state.secret is None:
        log.info("secret_removed", secret=state.source.name)
    elif state.why:
        log.warning("secret_refresh_failed", secret=state.source.name, detail=state.why)
    else:
        log.info("secret_changed", secret=state.source.name)
