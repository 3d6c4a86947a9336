"""The one place that turns a call into its answer."""

import difflib
from typing import Any

import trio

from proxyd.admin.rpc import Call
from proxyd.admin.session import Session
from proxyd.admin.table import METHODS
from proxyd.core.refusal import Refusal


async def answer_call(call: Call, session: Session) -> Any:
    """Return the result. Refusal when the call is not possible."""
    method = METHODS.get(call.method)
    if method is None:
        nearest = next(iter(difflib.get_close_matches(call.method[:64], METHODS, 1)), None)
        raise Refusal("unknown_method", f"there is no method {call.method[:64]!r}", nearest)
    with trio.move_on_after(method.seconds):
        return await method(session, call.params)
    raise Refusal("timeout", f"{call.method} took longer than {method.seconds:.0f} s")
