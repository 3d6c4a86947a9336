"""Identities of SPIFFE: X.509-SVIDs and bundles from the Workload API of an agent such as SPIRE's.

``path`` says what of it: ``x509/certificate`` (with its chain), ``x509/key``, ``x509/pem`` (both in one),
``x509/bundle``, ``x509/bundle/TRUST-DOMAIN`` of a federated one, ``x509/crl``. ``field`` names one of several
identities, by its hint or its SPIFFE ID; without it the first counts, which is the agent's default.
"""

import importlib.util
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxyd.sdk import Fetched, Reference, Vault, VaultPluginError
from proxyd_plugins.spiffe.wire import MAX_BYTES, Answer, MalformedAnswer, Svid, read_answer

METHOD: Final = "/SpiffeWorkloadAPI/FetchX509SVID"
METADATA: Final = (("workload.spiffe.io", "true"),)
"""Without it the agent refuses to answer (SPIFFE_Workload_Endpoint.md §3)."""
SECONDS: Final = 8.0
"""How long the agent may take; proxyd leaves a call alone after ten."""
TOGETHER_SECONDS: Final = 2.0
"""What is fetched within this comes from one answer: a certificate and its key belong together."""

_SOCKET: Final = re.compile(r"unix:(?://)?(/[!-~]+)")
_TCP: Final = re.compile(r"tcp://(\[[0-9a-fA-F:.]+\]|[0-9.]+):([0-9]{1,5})")


@dataclass(frozen=True)
class Options:
    """What stands under ``options``."""

    endpoint: str = ""
    """``unix:///run/spire/agent.sock`` or ``tcp://127.0.0.1:8000``; without it: SPIFFE_ENDPOINT_SOCKET."""
    target: str = field(init=False, repr=False, default="")

    def __post_init__(self) -> None:
        """Refuse an endpoint that is none, and a machine that lacks the library."""
        if importlib.util.find_spec("grpc") is None:
            raise ValueError("the library grpcio is not installed: pip install 'proxyd[spiffe]'")
        endpoint = self.endpoint or os.environ.get("SPIFFE_ENDPOINT_SOCKET", "")
        if not endpoint:
            raise ValueError("endpoint is missing, and SPIFFE_ENDPOINT_SOCKET is not set")
        unix, tcp = _SOCKET.fullmatch(endpoint), _TCP.fullmatch(endpoint)
        if unix is None and tcp is None:
            raise ValueError("endpoint must be unix:///path or tcp://IP:port")
        object.__setattr__(self, "target", f"unix:{unix[1]}" if unix is not None else endpoint.removeprefix("tcp://"))


class Spiffe(Vault):
    """A workload's own identity."""

    api_version = 1
    options_type = Options

    def __init__(self, options: Any, host: Any) -> None:
        super().__init__(options, host)
        self._lock = threading.Lock()
        self._had: tuple[float, Answer] | None = None

    async def fetch(self, reference: Reference) -> Fetched:
        """Return a part of what the agent gives now; it may block, for every call has a thread of its own."""
        with self._lock:
            now = time.monotonic()
            if self._had is None or now - self._had[0] >= TOGETHER_SECONDS:
                self._had = now, _asked(self.options.target)
            answer = self._had[1]
        return _part(answer, reference.path, reference.field)


def _asked(target: str) -> Answer:
    import grpc

    options = (("grpc.max_receive_message_length", MAX_BYTES), ("grpc.enable_http_proxy", 0))
    try:
        with grpc.insecure_channel(target, options=options) as channel:
            call = channel.unary_stream(METHOD)(b"", timeout=SECONDS, metadata=METADATA)
            return read_answer(next(call))
    except StopIteration:
        raise VaultPluginError("the Workload API ended without an answer") from None
    except MalformedAnswer as error:
        raise VaultPluginError(f"the Workload API answers what cannot be read: {error}") from None
    except grpc.RpcError as error:
        code = error.code().name
        raise VaultPluginError(f"the Workload API answers {code}{_ADVICE.get(code, '')}") from None


_ADVICE: Final = {
    "PERMISSION_DENIED": ": no identity is registered for proxyd's user or program; register one with the agent",
    "UNAVAILABLE": ": does the agent run, and may proxyd reach its socket?",
    "DEADLINE_EXCEEDED": f": none within {SECONDS:g} s",
    "INVALID_ARGUMENT": ": is this the socket of a Workload API?",
    "UNIMPLEMENTED": ": is this the socket of a Workload API?",
}

_PARTS: Final[Mapping[str, Callable[[Svid], bytes]]] = {
    "x509/certificate": lambda svid: svid.certificate,
    "x509/key": lambda svid: svid.key,
    "x509/pem": lambda svid: svid.certificate + svid.key,
    "x509/bundle": lambda svid: svid.bundle,
}
_FEDERATED: Final = "x509/bundle/"


def _part(answer: Answer, path: str, wanted: str) -> Fetched:
    if path == "x509/crl":
        return Fetched(_some(answer.crls, "gives no list of revoked certificates"))
    if path.startswith(_FEDERATED):
        bundles, domain = dict(answer.federated), path.removeprefix(_FEDERATED)
        return Fetched(_some(bundles.get(domain, b""), f"gives no bundle of the trust domain {domain}"))
    part = _PARTS.get(path)
    if part is None:
        raise VaultPluginError(f"{path} is no part of an identity: {', '.join(_PARTS)}, {_FEDERATED}DOMAIN or x509/crl")
    svid = next((one for one in answer.svids if not wanted or wanted in (one.hint, one.id)), None)
    if svid is None:
        raise VaultPluginError(f"the Workload API gives no identity {wanted}; there are {len(answer.svids)} others")
    if path == "x509/bundle":
        return Fetched(_some(svid.bundle, "gives no bundle"))
    return Fetched(part(svid), version=svid.serial, created=svid.begins, expires=svid.ends)


def _some(value: bytes, why: str) -> bytes:
    if not value:
        raise VaultPluginError(f"the Workload API {why}")
    return value
