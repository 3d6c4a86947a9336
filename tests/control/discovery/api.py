"""A double of the Kubernetes API: lists and watches EndpointSlices as its documentation describes, as a script says."""

import json
from urllib.parse import parse_qsl, urlsplit

import trio

PATH = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


def slice_of(name, version, *endpoints, ports=({"name": "https", "port": 8443, "protocol": "TCP"},)):
    """Return an EndpointSlice; an endpoint is an address, or an address with its conditions."""
    entries = [entry if isinstance(entry, tuple) else (entry, {"ready": True}) for entry in endpoints]
    return {
        "metadata": {"name": name, "resourceVersion": str(version)},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": conditions} for address, conditions in entries],
        "ports": [*ports],
    }


def bookmark(version):
    return "BOOKMARK", {"kind": "EndpointSlice", "metadata": {"resourceVersion": str(version)}}


class Api:
    """Serves one connection after another; every request is kept in ``asked`` and judged by the token."""

    def __init__(self):
        self.token = "first-token"
        self.slices = []
        self.version = 10
        self.page = 500
        self.status = 200
        """What every request is answered with."""
        self.watch_status = 200
        self.asked = []
        """The query of each request, in order."""
        self.changed = trio.Event()
        self._events_out, self._events_in = trio.open_memory_channel(100)
        self.port = 0
        self.tls = None
        """A server's context, set before it runs; None: plain http."""

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        if self.tls:
            listeners = [trio.SSLListener(listener, self.tls, https_compatible=True) for listener in listeners]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    def send(self, kind, item):
        """An event for the watch that runs, or the next one. ``None`` ends the watch."""
        self._events_out.send_nowait((kind, item))

    def end_watch(self):
        self._events_out.send_nowait(None)

    async def until(self, condition):
        """Wait until ``condition`` holds of what was asked."""
        with trio.fail_after(10):
            while not condition():
                await self.changed.wait()

    async def _serve(self, stream):
        with trio.move_on_after(30):
            head = b""
            while b"\r\n\r\n" not in head:
                try:
                    chunk = await stream.receive_some(4096)
                except trio.BrokenResourceError:  # it did not like the certificate
                    return
                if not chunk:
                    return
                head += chunk
            target = head.split(b" ")[1].decode()
            query = dict(parse_qsl(urlsplit(target).query))
            self.asked.append(query)
            self.changed.set()
            self.changed = trio.Event()
            status = self.watch_status if "watch" in query else self.status
            if f"authorization: bearer {self.token}\r\n" not in head.decode().lower():
                status = 401
            if urlsplit(target).path != PATH:
                status = 404
            try:
                if status != 200:
                    await self._answer(stream, status, {"kind": "Status", "code": status})
                elif "watch" in query:
                    await self._watch(stream)
                else:
                    await self._list(stream, query)
            except trio.BrokenResourceError:
                return

    async def _list(self, stream, query):
        begin = int(query.get("continue", "0"))
        end = begin + self.page
        metadata = {"resourceVersion": str(self.version)}
        if end < len(self.slices):
            metadata["continue"] = str(end)
        await self._answer(stream, 200, {"metadata": metadata, "items": self.slices[begin:end]})

    @staticmethod
    async def _answer(stream, status, value):
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        await stream.send_all(head.encode() + body)

    async def _watch(self, stream):
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        async for event in self._events_in:
            if event is None:
                await stream.send_all(b"0\r\n\r\n")
                return
            kind, item = event
            line = json.dumps({"type": kind, "object": item}).encode() + b"\n"
            for part in (line[:7], line[7:]):  # an event does not end where a chunk does
                await stream.send_all(b"%x\r\n%s\r\n" % (len(part), part))
