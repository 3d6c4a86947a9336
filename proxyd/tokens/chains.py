"""Credentials as a cloud's own tools find them: profiles, SSO, workload identity, programs, logins of command lines.

The vendor's library does it, in a thread, each time anew; it is an extra of this package and loaded when first needed.
What it asks, and the programs that its files name, are the library's business: ``hosts`` and the bounds of ``client``
do not hold there. Its words may quote a program's output and are not passed on, only the kind of its error.
"""

import datetime
import importlib
from collections.abc import Callable
from typing import Final

import trio

from proxyd.tokens.aws import RESULTS
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask, Issued

SECONDS: Final = 45.0
"""One search may take; a thread that takes longer is left to itself."""

MAX_THREADS: Final = 4
"""At a time, those that were left to themselves among them."""

UNKNOWN_LIFE: Final = 900.0
"""Seconds after which is looked again, where the library does not tell of an end: files and logins change."""

_threads: Final = trio.lowlevel.RunVar[trio.CapacityLimiter]("proxyd chains")


async def aws(ask: Ask) -> Issued:
    """https://docs.aws.amazon.com/boto3/latest/guide/credentials.html, by botocore."""
    return await _found(ask, "aws", "botocore", _aws, "aws sts get-caller-identity")


async def gcp(ask: Ask) -> Issued:
    """https://cloud.google.com/docs/authentication/application-default-credentials, by google-auth."""
    return await _found(ask, "gcp", "google-auth", _gcp, "gcloud auth application-default print-access-token")


async def azure(ask: Ask) -> Issued:
    """https://learn.microsoft.com/azure/developer/python/sdk/authentication/credential-chains, by azure-identity."""
    return await _found(ask, "azure", "azure-identity", _azure, "az account get-access-token")


def _aws(ask: Ask) -> Issued | None:
    session = importlib.import_module("botocore.session").Session(profile=ask.option("profile") or None)
    found = session.get_credentials()
    if found is None:
        return None
    frozen = found.get_frozen_credentials()
    values = frozen.access_key, frozen.secret_key, frozen.token or ""
    ends = getattr(found, "_expiry_time", None)  # there is no public name
    life = ends.timestamp() - ask.wall() if ends is not None else UNKNOWN_LIFE
    return Issued({name: _checked(value) for name, value in zip(RESULTS, values, strict=True)}, life)


def _gcp(ask: Ask) -> Issued:
    auth = importlib.import_module("google.auth")
    requests = importlib.import_module("google.auth.transport.requests")
    found, _ = auth.default(scopes=ask.option("scope").split() or None)
    found.refresh(requests.Request())
    ends = found.expiry  # UTC, without saying so
    life = ends.replace(tzinfo=datetime.UTC).timestamp() - ask.wall() if ends is not None else UNKNOWN_LIFE
    return Issued({"access_token": _checked(found.token)}, life)


def _azure(ask: Ask) -> Issued:
    identity = importlib.import_module("azure.identity")
    with identity.DefaultAzureCredential(exclude_interactive_browser_credential=True) as chain:
        found = chain.get_token(ask.option("scope"))
    return Issued({"access_token": _checked(found.token)}, found.expires_on - ask.wall())


async def _found(ask: Ask, extra: str, library: str, search: Callable[[Ask], Issued | None], command: str) -> Issued:
    try:
        with trio.fail_after(SECONDS):
            issued = await trio.to_thread.run_sync(
                _guarded, search, ask, extra, library, command, abandon_on_cancel=True, limiter=_limiter()
            )
    except trio.TooSlowError:
        raise TokenError(f"{library} has found nothing within {SECONDS:g} s") from None
    if issued is None:
        raise TokenError(f"{library} found no credential; as the daemon's user, try: {command}", is_final=True)
    if issued.life <= 0:
        raise TokenError(f"what {library} found is over already; as the daemon's user, try: {command}")
    return issued


def _guarded(search: Callable[[Ask], Issued | None], ask: Ask, extra: str, library: str, command: str) -> Issued | None:
    try:
        return search(ask)
    except ImportError:
        why = f"the flow {ask.source.flow} needs {library}, which is not installed: pip install 'proxyd[{extra}]'"
        raise TokenError(why, is_final=True) from None
    except TokenError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the library raises
        kind = type(error).__name__
        raise TokenError(f"{library} found none ({kind}); as the daemon's user, try: {command}") from None


def _checked(value: object) -> bytes:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise TokenError("what the vendor's library found cannot be sent: it is no printable text")
    return value.encode("ascii")


def _limiter() -> trio.CapacityLimiter:
    try:
        return _threads.get()
    except LookupError:
        made = trio.CapacityLimiter(MAX_THREADS)
        _threads.set(made)
        return made
