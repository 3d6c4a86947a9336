"""Vaults elsewhere, put together: how each kind is opened, and how it is asked.

Questions go through the bounded client that issuers of tokens are asked with.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from proxyd.core.settings import VaultSource
from proxyd.tokens.client import Client
from proxyd.tokens.errors import TokenError
from proxyd.vault.outside.hashicorp import Hashicorp
from proxyd.vault.outside.provider import OutsideError, Provider
from proxyd.vault.outside.wire import Answer


def opener(secret: Callable[[str], bytes | None]) -> Callable[[VaultSource], Provider]:
    """Return what opens a vault; ``secret`` returns the value by which proxyd logs in to it."""
    return partial(_opened, secret)


def _opened(secret: Callable[[str], bytes | None], source: VaultSource) -> Provider:
    return Hashicorp(source, partial(_ask, Client(source.roots_pem)), secret)


async def _ask(client: Client, method: str, url: str, host: str, document: Any, headers: Mapping[str, str]) -> Answer:
    try:
        said = await client.ask(url, (host,), method=method, document=document, headers=headers)
    except TokenError as error:
        raise OutsideError(str(error)) from None
    return Answer(said.status, said.headers, said.body)
