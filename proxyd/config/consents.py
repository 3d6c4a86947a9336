"""What ``connect`` of a scheme says of a service that uses it."""

from proxyd.catalog.templates import OPTION, fill, varied
from proxyd.config.use import Use
from proxyd.core.settings import Consent, TokenSource

_RENEWED = "refresh_token"


def consent(name: str, use: Use, line: int) -> Consent | None:
    """Return how consent is had for the service ``name``; None: not at all, or nothing is to be stored."""
    scheme = use.scheme
    if scheme is None or scheme.connect is None:
        return None
    section, token, values = scheme.connect, scheme.token, use.values
    secrets = use.given.of_scheme(scheme, use.definition)
    if section.stores not in secrets:
        return None
    url = section.token_url or (token.url if token is not None else None) or ""
    hosts = section.hosts or (token.hosts if token is not None else [])
    filled = (fill(host, values) for host in varied(hosts, use.definition.vary))
    known = use.definition.fields
    client = [field for field in section.client if field in secrets or field in use.given.options]
    source = TokenSource(
        name=use.token,
        service=name,
        flow="consent",
        url=fill(url, values),
        secrets=tuple((field, secrets[field]) for field in client if field in secrets),
        options=(
            *((field, use.given.options[field]) for field in client if field in use.given.options),
            ("client_auth", section.client_auth),
        ),
        hosts=tuple(dict.fromkeys(host for host in filled if not OPTION.search(host))),
        line=line,
    )
    scope = fill(section.scope, values)
    return Consent(
        source,
        title=use.definition.title,
        stores=section.stores,
        secret=secrets[section.stores],
        is_renewed=section.stores == _RENEWED,
        device_url=fill(section.device_url or "", values),
        authorize_url=fill(section.authorize_url or "", values),
        redirect=section.redirect,
        issuer=fill(section.issuer, values),
        scope="" if OPTION.search(scope) else scope,
        parameters=tuple((key, fill(value, values)) for key, value in section.parameters.items()),
        fields=tuple(
            (field, known[field].title, known[field].where)
            for field in section.client
            if field in known and field in (*scheme.fields, *scheme.optional)
        ),
    )
