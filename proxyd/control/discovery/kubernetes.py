"""Endpoints from Kubernetes: the EndpointSlices of a service are listed, then watched.

The protocol is the API's own (kubernetes.io, "Efficient detection of changes"): a list has a resourceVersion from which
a watch goes on; bookmarks move it forward; when the server no longer knows it (410 Gone, as a status or as an event),
everything is listed again. The token is read anew for every request, since kubelet rotates it.
"""

import json
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import trio

from proxyd.control.discovery.slices import SliceSet, items, text
from proxyd.control.discovery.watch import DiscoveryError, Watch
from proxyd.core.discovery import Slices
from proxyd.core.units import KIB, MIB

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, the CA and its namespace."""
PAGE: Final = 500
"""Slices in one answer to a list."""
MAX_ANSWER: Final = 16 * MIB
MAX_EVENT: Final = 4 * MIB
"""etcd stores nothing beyond 1.5 MiB."""
MAX_PAGES: Final = 10
MAX_SMALL: Final = 64 * KIB
"""Bytes of a token, or of an error's text."""
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 15.0
WATCH_SECONDS: Final = 240
"""After which the server ends a watch, up to a quarter later so that not all end at once; another one begins."""
GRACE_SECONDS: Final = 30.0
"""A watch that is silent for this much longer is broken."""
GAP_SECONDS: Final = 1.0
"""Between the beginnings of two watches at least."""

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE = 401, 403, 404, 410


class Gone(Exception):
    """The resourceVersion is too old: list again."""


async def follow(finder: Slices, watch: Watch) -> None:
    """Tell ``watch`` what the API says, until cancelled."""
    session = _Session(finder)
    while True:
        try:
            await _list_and_watch(session, watch)
        except Gone:
            await trio.sleep(watch.spread(GAP_SECONDS))
        except DiscoveryError as error:
            watch.failed(str(error))
            await trio.sleep(watch.pause())


async def _list_and_watch(session: "_Session", watch: Watch) -> None:
    slices, version = await session.list()
    watch.found(slices.endpoints())
    events = _Events(slices, version, watch)
    while True:
        began = trio.current_time()
        await session.watch(events)
        await trio.sleep_until(began + GAP_SECONDS)


class _Events:
    """Takes in what a watch brings: one JSON object per line."""

    def __init__(self, slices: SliceSet, version: str, watch: Watch) -> None:
        self.version = version
        self.spread = watch.spread
        self._slices = slices
        self._watch = watch
        self._rest = b""

    def begin(self) -> None:
        """Another watch begins: what is left of the former is none of its own."""
        self._rest = b""

    def take(self, chunk: bytes) -> None:
        """Take in bytes of the stream. DiscoveryError, Gone."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_EVENT:
            raise DiscoveryError(f"an event has more than {MAX_EVENT // MIB} MiB")
        for line in lines:
            if line.strip():
                self._event(_map(line))
        self._watch.found(self._slices.endpoints())

    def _event(self, event: dict[str, Any]) -> None:
        kind, item = text(event, "type"), event.get("object")
        match kind:
            case "ADDED" | "MODIFIED":
                self._slices.put(item)
            case "DELETED":
                self._slices.drop(item)
            case "ERROR":
                _refuse(item)
            case "BOOKMARK":
                pass
            case _:
                raise DiscoveryError("the API's answer makes no sense: an event of an unknown type")
        self.version = text(item, "metadata", "resourceVersion")


def _refuse(status: Any) -> None:
    """Raise what an ERROR event says."""
    code = status.get("code") if isinstance(status, dict) else None
    if code == _GONE:
        raise Gone
    raise DiscoveryError(f"the watch was ended with the error {code}")


class _Session:
    """Requests of one service's slices."""

    def __init__(self, finder: Slices) -> None:
        self._finder = finder

    async def list(self) -> tuple[SliceSet, str]:
        """Return all slices and the version from which to watch. DiscoveryError, Gone."""
        slices, version, more = SliceSet(self._finder.slice_port), "", ""
        for _ in range(MAX_PAGES):
            query = {"limit": str(PAGE)} | ({"continue": more} if more else {})
            page = await self._page(query)
            for item in items(page, "items"):
                slices.put(item)
            version = text(page, "metadata", "resourceVersion")
            more = page["metadata"].get("continue") or ""
            if not more:
                return slices, version
        raise DiscoveryError(f"the list has more than {MAX_PAGES * PAGE} EndpointSlices")

    async def _page(self, query: dict[str, str]) -> dict[str, Any]:
        body = bytearray()

        def take(chunk: bytes) -> None:
            body.extend(chunk)
            if len(body) > MAX_ANSWER:
                raise DiscoveryError(f"the answer has more than {MAX_ANSWER // MIB} MiB")

        await self._get(query, ANSWER_SECONDS, take)
        return _map(body)

    async def watch(self, events: _Events) -> None:
        """Have ``events`` take all that comes until the server ends the watch. DiscoveryError, Gone."""
        query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": events.version}
        seconds = round(WATCH_SECONDS + events.spread(WATCH_SECONDS / 4))
        query["timeoutSeconds"] = str(seconds)
        events.begin()
        await self._get(query, seconds + GRACE_SECONDS, events.take)

    async def _get(self, query: dict[str, str], silence: float, take: Callable[[bytes], None]) -> None:
        """Have ``take`` take the body of a good answer. DiscoveryError, Gone."""
        import httpx  # only those who run in Kubernetes need it

        namespace = self._finder.namespace or await _read(ACCOUNT / "namespace", "the pod's namespace")
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        token = await _read(Path(self._finder.token_file or ACCOUNT / "token"), "the token")
        timeout = httpx.Timeout(CONNECT_SECONDS, read=silence)
        api = self._finder.api or _api_of_pod()
        headers = {"authorization": f"Bearer {token}", "accept": "application/json", "accept-encoding": "identity"}
        params = {"labelSelector": f"kubernetes.io/service-name={self._finder.service}", **query}
        try:
            async with (
                httpx.AsyncClient(verify=self._context(api), trust_env=False, timeout=timeout) as client,
                client.stream("GET", f"{api}{path}", params=params, headers=headers) as response,
            ):
                if response.status_code == _GONE:
                    raise Gone
                if response.status_code != httpx.codes.OK:
                    raise DiscoveryError(_refusal(response.status_code, namespace))
                await _pour(response.aiter_raw(), take)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DiscoveryError(f"{api}: {_why(error)}") from error

    def _context(self, api: str) -> ssl.SSLContext | bool:
        if not api.startswith("https:"):
            return False
        path = self._finder.ca_file or str(ACCOUNT / "ca.crt")
        try:
            return ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise DiscoveryError(f"{path}: the CA of the API cannot be read: {error.strerror or error}") from error


async def _pour(chunks: AsyncIterator[bytes], take: Callable[[bytes], None]) -> None:
    """Give all chunks to ``take``; raise what it raises.

    A stream that is left is cancelled where it reads, so that the generators it is made of unwind at once and none
    is left to the garbage collector.
    """
    refusal: Exception | None = None
    with trio.CancelScope() as scope:
        async for chunk in chunks:
            if refusal is None:
                try:
                    take(chunk)
                except (DiscoveryError, Gone) as error:
                    refusal = error
                    scope.cancel()
    if refusal is not None:
        raise refusal


def _why(error: Exception) -> str:
    """Return what an error says, or the first of its causes that says something."""
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _refusal(status: int, namespace: str) -> str:
    if status == _UNAUTHORIZED:
        return "the API refuses the token (401)"
    if status == _FORBIDDEN:
        return (
            f"the API forbids it (403); the service account needs get, list and watch of endpointslices "
            f"(discovery.k8s.io) in the namespace {namespace}"
        )
    if status == _NOT_FOUND:
        return "the API knows no discovery.k8s.io/v1 (404); it came with Kubernetes 1.21"
    return f"the API answers {status}"


def _api_of_pod() -> str:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise DiscoveryError("KUBERNETES_SERVICE_HOST is not set: this is no pod; name the API with `api`")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


async def _read(path: Path, what: str) -> str:
    """Read a small file of one line. DiscoveryError."""
    try:
        async with await trio.open_file(path, "rb") as file:
            data = await file.read(MAX_SMALL)
        return str(data.decode("ascii").strip())
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not plain text"
        raise DiscoveryError(f"{path}: {what} cannot be read: {why}") from None


def _map(data: bytes | bytearray) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise DiscoveryError("the API's answer is not JSON") from None
    if not isinstance(value, dict):
        raise DiscoveryError("the API's answer makes no sense: no object")
    return value
