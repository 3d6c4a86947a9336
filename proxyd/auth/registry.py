"""Credential schemes by name."""

from collections.abc import Callable
from typing import Final

from proxyd.auth import field
from proxyd.auth.alibaba import Alibaba
from proxyd.auth.azure import AzureSas, AzureSharedKey
from proxyd.auth.body import FormField, JsonField
from proxyd.auth.challenge import ChallengeInjector
from proxyd.auth.cookie import CookieInjector
from proxyd.auth.edgegrid import EdgeGrid
from proxyd.auth.message_mac import MessageMac
from proxyd.auth.oracle import Oracle
from proxyd.auth.query import QueryInjector
from proxyd.auth.sentry import Sentry
from proxyd.auth.sigv4 import SigV4
from proxyd.core.exchange import Injector, Signer
from proxyd.core.service import Auth

FIELDS: Final[dict[str, Callable[[Auth], Injector]]] = {
    "bearer": field.bearer,
    "basic": field.basic,
    "header": field.header,
    "query": QueryInjector,
    "cookie": CookieInjector,
}
"""Those that change the head alone."""

SIGNERS: Final[dict[str, Callable[[Auth], Signer]]] = {
    "challenge": ChallengeInjector,
    "json": JsonField,
    "form": FormField,
    "sentry": Sentry,
    "hmac": MessageMac,
    "sigv4": SigV4,
    "edgegrid": EdgeGrid,
    "oracle": Oracle,
    "alibaba": Alibaba,
    "azure_shared_key": AzureSharedKey,
    "azure_sas": AzureSas,
}

SCHEMES: Final[dict[str, Callable[[Auth], Injector]]] = {**FIELDS, **SIGNERS}


def compile(auth: Auth) -> Injector:  # noqa: A001 - what it does, as re.compile
    """Return the injector for ``auth``; ValueError for a scheme that nobody knows."""
    make = SCHEMES.get(auth.scheme)
    if make is None:
        raise ValueError(f"unknown credential scheme {auth.scheme}; known: {', '.join(sorted(SCHEMES))}")
    return make(auth)
