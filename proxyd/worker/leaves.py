"""Server contexts for interception: leaves come from control, contexts are made here and kept within a bound."""

import math
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio
from OpenSSL import SSL

from proxyd.core.errors import Flag, ProxyError
from proxyd.core.messages import InstallLeaf
from proxyd.net.alpn import PROTOCOLS, alpn_context
from proxyd.net.tls import server_context

_Context = TypeVar("_Context")

WAIT_SECONDS: Final = 10.0
"""How long a handshake waits for a leaf that control has yet to mint."""

RENEW_SECONDS: Final = 300.0
"""A leaf with less time left than this is asked for again."""


class _Question:
    """What was asked of control and not answered yet."""

    __slots__ = ("answered", "asked")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.asked = -math.inf
        """Monotonic seconds of the last time that it was put."""


class _Contexts(Generic[_Context]):
    """Contexts of one library, made from leaves when they are first asked for."""

    def __init__(self, make: Callable[[bytes, bytes], _Context]) -> None:
        self._make = make
        self._made: OrderedDict[str, _Context] = OrderedDict()

    def get(self, leaf: InstallLeaf, limit: int) -> _Context:
        """Return the leaf's context; past ``limit`` the least recently used is forgotten."""
        context = self._made.get(leaf.host)
        if context is None:
            context = self._made[leaf.host] = self._make(leaf.chain_pem, leaf.key_pem)
            while len(self._made) > limit:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(leaf.host)
        return context

    def forget(self, host: str) -> None:
        """The host has another leaf."""
        self._made.pop(host, None)


class Leaves:
    """Leaves and their contexts, the least recently used forgotten first."""

    def __init__(self, want: Callable[[str, str], None], limit: int = 512) -> None:
        self._want = want
        self.limit = limit
        self._leaves: OrderedDict[str, InstallLeaf] = OrderedDict()
        self._contexts = _Contexts(server_context)
        self._alpn_contexts = _Contexts(lambda chain, key: alpn_context(chain, key, PROTOCOLS))
        self._waiting: dict[str, _Question] = {}
        self._refused: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._leaves)

    def install(self, leaf: InstallLeaf) -> None:
        """Take a leaf, or the word that there is none."""
        if leaf.refused:
            self._refused[leaf.host] = leaf.refused
        else:
            self._leaves[leaf.host] = leaf
            self._leaves.move_to_end(leaf.host)
            self._contexts.forget(leaf.host)
            self._alpn_contexts.forget(leaf.host)
            while len(self._leaves) > self.limit:
                self._leaves.popitem(last=False)
        question = self._waiting.pop(leaf.host, None)
        if question is not None:
            question.answered.set()

    async def context(self, host: str, caller: str) -> SSL.Context:
        """Return a context whose certificate is for ``host``. ProxyError 503 when none is to be had."""
        return self._contexts.get(await self._leaf(host, caller), self.limit)

    async def alpn_context(self, host: str, caller: str) -> ssl.SSLContext:
        """As ``context``, for clients that offer HTTP/2."""
        return self._alpn_contexts.get(await self._leaf(host, caller), self.limit)

    async def _leaf(self, host: str, caller: str) -> InstallLeaf:
        leaf = self._leaves.get(host)
        left = leaf.expires - time.time() if leaf is not None else 0.0
        if leaf is None or left <= 0:
            return await self._ask(host, caller)
        self._leaves.move_to_end(host)
        if left < RENEW_SECONDS:
            self._put(host, caller)  # the present one serves meanwhile
        return leaf

    async def _ask(self, host: str, caller: str) -> InstallLeaf:
        question = self._put(host, caller)
        with trio.move_on_after(WAIT_SECONDS):
            await question.answered.wait()
        leaf = self._leaves.get(host)
        if leaf is None or leaf.expires <= time.time():
            if self._waiting.get(host) is question:  # and not one that was put since
                del self._waiting[host]
            why = self._refused.get(host, "the control process does not answer")
            raise ProxyError(503, Flag.CONFIGURATION, "tls_protocol_error", f"no certificate for {host}: {why}")
        return leaf

    def _put(self, host: str, caller: str) -> _Question:
        """Ask control once, and again where no answer came in time: a control that restarts forgets questions."""
        question = self._waiting.get(host)
        if question is None:
            question = self._waiting[host] = _Question()
        now = trio.current_time()
        if now - question.asked >= WAIT_SECONDS:
            question.asked = now
            self._refused.pop(host, None)
            self._want(host, caller)
        return question
