"""Server contexts for interception: leaves come from control, contexts are made here and kept within a bound."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import trio
from OpenSSL import SSL

from proxyd.core.errors import Flag, ProxyError
from proxyd.core.messages import InstallLeaf
from proxyd.net.tls import server_context

WAIT_SECONDS: Final = 10.0
"""How long a handshake waits for a leaf that control has yet to mint."""

RENEW_SECONDS: Final = 300.0
"""A leaf with less time left than this is asked for again."""


class Leaves:
    """Leaves and their contexts, the least recently used forgotten first."""

    def __init__(self, want: Callable[[str, str], None], limit: int = 512) -> None:
        self._want = want
        self.limit = limit
        self._leaves: OrderedDict[str, InstallLeaf] = OrderedDict()
        self._contexts: OrderedDict[str, SSL.Context] = OrderedDict()
        self._waiting: dict[str, trio.Event] = {}
        self._refused: dict[str, str] = {}

    def install(self, leaf: InstallLeaf) -> None:
        """Take a leaf, or the word that there is none."""
        if leaf.refused:
            self._refused[leaf.host] = leaf.refused
        else:
            self._leaves[leaf.host] = leaf
            self._leaves.move_to_end(leaf.host)
            self._contexts.pop(leaf.host, None)
            while len(self._leaves) > self.limit:
                self._leaves.popitem(last=False)
        event = self._waiting.pop(leaf.host, None)
        if event is not None:
            event.set()

    async def context(self, host: str, caller: str) -> SSL.Context:
        """Return a context whose certificate is for ``host``. ProxyError 503 when none is to be had."""
        leaf = self._leaves.get(host)
        left = leaf.expires - time.time() if leaf is not None else 0.0
        if leaf is None or left <= 0:
            leaf = await self._ask(host, caller)
        else:
            self._leaves.move_to_end(host)
            if left < RENEW_SECONDS and host not in self._waiting:
                self._waiting[host] = trio.Event()  # asked for once; the present one serves meanwhile
                self._want(host, caller)
        context = self._contexts.get(host)
        if context is None:
            context = self._contexts[host] = server_context(leaf.chain_pem, leaf.key_pem)
            while len(self._contexts) > self.limit:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(host)
        return context

    async def _ask(self, host: str, caller: str) -> InstallLeaf:
        event = self._waiting.get(host)
        if event is None:
            event = self._waiting[host] = trio.Event()
            self._refused.pop(host, None)
            self._want(host, caller)
        with trio.move_on_after(WAIT_SECONDS):
            await event.wait()
        leaf = self._leaves.get(host)
        if leaf is None or leaf.expires <= time.time():
            self._waiting.pop(host, None)
            why = self._refused.get(host, "the control process does not answer")
            raise ProxyError(503, Flag.CONFIGURATION, "tls_protocol_error", f"no certificate for {host}: {why}")
        return leaf
