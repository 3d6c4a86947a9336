"""Vaults elsewhere, put together: how each kind is opened, and how it is asked.

Questions go through the bounded client that issuers of tokens are asked with.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from proxyd.core.settings import HASHICORP, VaultSource
from proxyd.tokens.client import Client
from proxyd.tokens.errors import TokenError
from proxyd.vault.outside.hashicorp import Hashicorp
from proxyd.vault.outside.plugin import PluginVault
from proxyd.vault.outside.provider import OutsideError, Provider
from proxyd.vault.outside.wire import Answer

Secret = Callable[[str], bytes | None]
LogVault = Callable[[str, str, str], None]


def opener(secret: Secret, log: LogVault) -> Callable[[VaultSource], Provider]:
    """Return what opens a vault; ``secret`` returns the value by which proxyd logs in to it."""
    return partial(_opened, secret, log)


def _opened(secret: Secret, log: LogVault, source: VaultSource) -> Provider:
    if source.kind != HASHICORP:
        return PluginVault(source, secret, log)
    return Hashicorp(source, partial(_ask, Client(source.roots_pem)), secret)


async def _ask(client: Client, method: str, url: str, host: str, document: Any, headers: Mapping[str, str]) -> Answer:
    try:
        said = await client.ask(url, (host,), method=method, document=document, headers=headers)
    except TokenError as error:
        raise OutsideError(str(error)) from None
    return Answer(said.status, said.headers, said.body)
