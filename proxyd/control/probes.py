"""What ``proxyd test`` is to send for each service, and how its answer is to be read."""

from collections.abc import Callable
from typing import Any, Final

from proxyd.control.controller import Controller
from proxyd.core.catalogue import KnownService, Probe
from proxyd.core.service import BaseUrl, Service
from proxyd.vault.state import SecretState

_NO_PROBE: Final = Probe("GET", "/", expect=())
"""For services without a definition: it tells whether there is an answer."""


def probes(control: Controller) -> list[dict[str, Any]]:
    """Return one entry for each service; secrets as names."""
    settings, snapshot = control.settings, control.snapshot
    if settings is None or snapshot is None:
        return []
    known = {one.service: one for one in settings.known}
    return [_entry(service, known.get(service.name), control.secrets.get) for service in snapshot.services]


def _entry(
    service: Service, known: KnownService | None, state_of: Callable[[str], SecretState | None]
) -> dict[str, Any]:
    probe = known.probe if known is not None else _NO_PROBE
    path = _path(service.base, probe) if known is not None else service.base.path + "/"
    return {
        "service": service.name,
        "title": known.title if known is not None else service.name,
        "definition": known.definition if known is not None else None,
        "method": probe.method,
        "url": f"{service.base.scheme}://{_authority(service.base, probe)}{path}",
        "gateway_path": path.removeprefix(service.base.path) if not probe.host else None,
        "headers": dict(probe.headers),
        "body": probe.body,
        "expect": list(probe.expect),
        "says": {str(status): word for status, word in probe.says},
        "body_says": dict(probe.body_says),
        "scopes": probe.scopes,
        "error_code": known.error_code if known is not None else "",
        "error_message": known.error_message if known is not None else "",
        "request_id": known.request_id if known is not None else "",
        "fields": [
            {
                "name": field.name,
                "title": field.title,
                "where": field.where,
                "secret": field.secret or None,
                "why": state.why if (state := state_of(field.secret)) is not None else "",
            }
            for field in (known.fields if known is not None else ())
        ],
        "secrets": list(dict.fromkeys(name for auth in service.auths for name in auth.secret_names)),
        "status_page": known.status_page if known is not None else "",
        "documentation": list(known.documentation) if known is not None else [],
    }


def _path(base: BaseUrl, probe: Probe) -> str:
    """Return the whole path: definitions write it from the root, before which a base path of the user's own goes."""
    if probe.host or not base.path or probe.path.startswith(f"{base.path}/"):
        return probe.path
    return base.path + probe.path


def _authority(base: BaseUrl, probe: Probe) -> str:
    if probe.host:
        return probe.host
    host = f"[{base.host}]" if ":" in base.host else base.host
    usual = {"https": 443, "http": 80}[base.scheme]
    return host if base.port == usual else f"{host}:{base.port}"
