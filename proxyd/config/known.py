"""What control is told of a service that uses the catalogue: its probe, its fields, the form of its errors."""

from proxyd.catalog.templates import fill, filled_in
from proxyd.config.use import Use
from proxyd.core.catalogue import KnownField, KnownService, Probe


def known(name: str, use: Use) -> KnownService:
    """Return the noun for the service ``name``."""
    definition = use.definition
    errors = definition.errors
    request_id = errors.request_id if errors is not None else None
    return KnownService(
        service=name,
        definition=definition.name,
        title=definition.title,
        probe=_probe(use),
        scheme=use.scheme.name if use.scheme is not None else "",
        fields=_fields(use),
        deprecation=tuple(definition.deprecation.headers),
        error_code=errors.code if errors is not None else "",
        error_message=errors.message if errors is not None else "",
        request_id=request_id.header or "" if request_id is not None else "",
        status_page=definition.status_page,
        documentation=tuple(definition.documentation),
    )


def _probe(use: Use) -> Probe:
    probe = use.definition.probe
    return Probe(
        method=probe.method,
        path=fill(probe.path, use.values),
        host=fill(probe.host or "", use.values),
        headers=tuple(filled_in(dict(probe.headers), use.values).items()),
        body=fill(probe.body, use.values),
        expect=tuple(probe.expect),
        says=tuple((int(status), verdict) for status, verdict in probe.says.items()),
        body_says=tuple(probe.body_says.items()),
        scopes=probe.scopes.header if probe.scopes is not None else "",
    )


def _fields(use: Use) -> tuple[KnownField, ...]:
    if use.scheme is None:
        return ()
    secrets = use.given.of_scheme(use.scheme, use.definition)
    fields = use.definition.fields
    return tuple(
        KnownField(name, fields[name].title, fields[name].where, secrets.get(name, ""))
        for name in (*use.scheme.fields, *use.scheme.optional)
        if name in secrets or name in use.given.options
    )
