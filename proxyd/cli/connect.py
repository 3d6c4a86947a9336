"""``proxyd connect``: a person's consent, had by a device code or a browser, becomes a refresh token in the vault.

Everything goes on in this process; nothing secret is in an address that is shown, nor in an argument.
"""

import getpass
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from proxyd.cli import rpc, secret
from proxyd.cli.context import json_text
from proxyd.cli.exits import USAGE, CommandError
from proxyd.cli.secret import Place
from proxyd.cli.tables import printable
from proxyd.net.process import harden

if TYPE_CHECKING:
    from proxyd.core.settings import Consent, SecretSource, Settings
    from proxyd.tokens.consent import Granted, Prompt

DEFAULT_FILE: Final = Path("proxyd.yaml")


class How(NamedTuple):
    """What the words say."""

    browser: bool
    """By the authorization code, also where devices are served."""
    port: int
    opens: bool
    """Start a browser."""
    client_id: str
    as_json: bool


def connect(place: Place, runtime: Path, service: str, how: How) -> dict[str, Any]:
    """Have consent for ``service`` and store what comes of it; return what was done. CommandError."""
    from proxyd.tokens.errors import TokenError

    harden()
    settings, place = _settings(place, runtime)
    consent = _consent(settings, service)
    found = _fields(place, settings, consent, how)
    try:
        granted = trio.run(_granted, settings, consent, {name: value for name, (value, _) in found.items()}, how)
    except TokenError as error:
        raise CommandError(f"{service}: {error}") from None
    stored, answer = [], {}
    for name, (value, is_new) in found.items():
        if is_new:
            answer = secret.store(place, name, value)
            stored.append(name)
    answer = secret.store(place, consent.secret, granted.value)
    return {**answer, "service": service, "stored": [*stored, consent.secret], "scope": granted.scope}


async def _granted(settings: "Settings", consent: "Consent", values: dict[str, bytes], how: How) -> "Granted":
    from proxyd.tokens import consent as grants
    from proxyd.tokens.client import Client
    from proxyd.tokens.flow import Ask

    names = dict(consent.source.secrets)
    client = Client(settings.extra_roots_pem.decode("ascii", "replace"))
    ask: Ask = Ask(consent.source, client, lambda field: values[names[field]])

    async def show(prompt: "Prompt") -> None:
        _show(consent, prompt, how)
        if how.opens:
            await trio.to_thread.run_sync(webbrowser.open, prompt.complete or prompt.url, abandon_on_cancel=True)

    if consent.device_url and not how.browser:
        return await grants.by_device(ask, consent, show)
    return await grants.by_browser(ask, consent, show, port=how.port, told=_complain)


def _show(consent: "Consent", prompt: "Prompt", how: How) -> None:
    if how.as_json:
        shown = {"open": prompt.url, "code": prompt.code or None, "complete": prompt.complete or None}
        print(json_text({**shown, "seconds": round(prompt.seconds)}, None), flush=True)
        return
    print(f"Open this address, and let {consent.title} give proxyd what it asks for:\n\n    {printable(prompt.url)}\n")
    if prompt.code:
        print(f"The code is  {printable(prompt.code)}\n")
    print(f"Waiting, {prompt.seconds / 60:.0f} minutes at most ...", flush=True)


def _complain(text: str) -> None:
    print(f"proxyd: {printable(text)}", file=sys.stderr)


# --- what the configuration says --------------------------------------------------------------------


def _settings(place: Place, runtime: Path) -> tuple["Settings", Place]:
    """Return the configuration (named, the running daemon's, or proxyd.yaml here), and the vault that it means."""
    from proxyd.config.load import load
    from proxyd.reading.problems import ConfigError

    path = place.config or _running(place) or DEFAULT_FILE
    if not path.is_file():
        raise CommandError(f"{path}: there is no such file; name the configuration with -c FILE", USAGE)
    try:
        return load(path, place.state, runtime), place._replace(config=path)
    except ConfigError as error:
        raise CommandError(str(error), USAGE) from None


def _running(place: Place) -> Path | None:
    try:
        status = rpc.call(place.admin, "status", any_owner=place.explicit)
    except rpc.Unreachable:
        return None
    return Path(str(status["config"])) if status.get("config") else None


def _consent(settings: "Settings", service: str) -> "Consent":
    consent = next((one for one in settings.consents if one.source.service == service), None)
    if consent is not None:
        return consent
    names = ", ".join(one.source.service for one in settings.consents)
    others = f"; those that can be connected: {names}" if names else ""
    if all(one.name != service for one in settings.services):
        raise CommandError(f"{settings.source} has no service {service}{others}", USAGE)
    lacks = "has no scheme that takes consent, or names no secret for what comes of it"
    raise CommandError(f"the service {service} {lacks} (docs/guides/tokens.md){others}", USAGE)


def _fields(place: Place, settings: "Settings", consent: "Consent", how: How) -> dict[str, tuple[bytes, bool]]:
    """Return the client's secrets by name, and whether each is new; those that are nowhere are asked for."""
    sources = {source.name: source for source in settings.secrets}
    target = sources.get(consent.secret)
    if target is not None and not target.vault:
        why = f"take it out of secrets in {settings.source}"
        raise CommandError(f"the secret {consent.secret} is not the vault's; {why}", USAGE)
    described = {name: (title, where) for name, title, where in consent.fields}
    found: dict[str, tuple[bytes, bool]] = {}
    for field, name in consent.source.secrets:
        title, where = described[field]
        given = how.client_id if field == "client_id" else ""
        known = None if given else _value(place, sources.get(name))
        value = given.encode() or known or _typed(name, title, where, is_shown=field == "client_id")
        found[name] = (value, known is None)
    if "client_id" not in dict((*consent.source.secrets, *consent.source.options)):
        title, where = described.get("client_id", ("Client ID", ""))
        raise CommandError(f"the client_id is missing from the service: {title}{f' ({where})' if where else ''}", USAGE)
    return found


def _value(place: Place, source: "SecretSource | None") -> bytes | None:
    """Return a secret that there is already."""
    from proxyd.vault.errors import NoSuchSecret, VaultError
    from proxyd.vault.sources import SecretError, read

    if source is None:
        return None
    try:
        if source.vault:
            return secret.open_vault(place).get(source.vault).value
        return trio.run(read, source)
    except NoSuchSecret:
        return None
    except (VaultError, SecretError) as error:
        raise CommandError(str(error)) from None


def _typed(name: str, title: str, where: str, *, is_shown: bool) -> bytes:
    text = f"{title}{f' ({where})' if where else ''}"
    if not sys.stdin.isatty():
        raise CommandError(f"the secret {name} has no value: {text}; store it first: proxyd secret set {name}")
    ask: Callable[[str], str] = input if is_shown else getpass.getpass
    value = ask(f"{text}: ").strip()
    if not value:
        raise CommandError(f"{title}: nothing was typed")
    return value.encode("utf-8", "surrogateescape")
