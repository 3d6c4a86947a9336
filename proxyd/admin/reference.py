"""Writes docs/admin-socket.md from the table of methods: ``python -m proxyd.admin.reference [ROOT]``.

With ``--check`` nothing is written and a stale page is an error.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from proxyd.admin import rpc, session, unix
from proxyd.admin.method import VALUE_BYTES, Kind, Method, Param
from proxyd.admin.role import Role
from proxyd.admin.table import METHODS, PROTOCOL
from proxyd.core.units import KIB, MIB
from proxyd.telemetry import recent

EXAMPLE: Final = Path("docs", "examples", "admin_socket.py")
PAGE: Final = Path("docs", "admin-socket.md")

_HEAD: Final = f"""\
# The admin socket

Generated from the methods by `python -m proxyd.admin.reference`; change `proxyd/admin/table.py`, not this page.

The daemon answers on a Unix socket: `admin.socket` of the configuration, else `admin.sock` in the runtime folder
(`/run/proxyd` for root, `$XDG_RUNTIME_DIR/proxyd` or `/tmp/proxyd-UID` for others).

## Who may do what

The kernel is asked who is at the other end (SO_PEERCRED, SO_PEERGROUPS); nothing that a client sends counts.

| caller | role | may |
|---|---|---|
| root, and the daemon's own user | full | call everything |
| a user or a member of a group under `admin.readers` | reader | call what the methods below mark with reader |
| anyone else | none | nothing: the connection is closed, and the log says so |

```yaml
admin:
  socket: /run/proxyd-admin/admin.sock     # in a folder that readers can enter; the runtime folder is private
  readers: {{uids: [1001], gids: [990]}}
```

The socket has mode 0600. With readers it is wider, so that they reach it: 0660 and the group where `readers` names one
group and no user, else 0666. Who is a reader changes with a reload, the socket's mode with the next start.

## Protocol

[MessagePack-RPC](https://github.com/msgpack-rpc/msgpack-rpc/blob/master/spec.md), so any client of it will do.

| message | form |
|---|---|
| request | `[0, msgid, method, params]`: msgid an unsigned 32-bit integer, params an array |
| response | `[1, msgid, error, result]`: error is nil, or `{{code, message}}` with `nearest` where a name is unknown |
| notification | `[2, method, params]`: from the daemon what was subscribed to; from a client it is ignored |

`params` are values in the order of the tables below, or one map of names: `["tickets"]` or `[{{"name": "tickets"}}]`.
What is left out or nil has its default. Requests of one connection are answered in order. What is no such message ends
the connection.

This is protocol {PROTOCOL} (`hello`, `version`). New methods, parameters and fields leave the number as it is: a client
ignores fields that it does not know. What goes, or changes its meaning, raises it.

| limit | number |
|---|---|
| a request | {rpc.MESSAGE_BYTES // MIB} MiB |
| connections | {unix.CONNECTIONS}, of which readers {unix.READER_CONNECTIONS} |
| a connection without a request or subscription | {unix.IDLE_SECONDS / 60:.0f} minutes |
| a call | 60 s where nothing else is said |
| an answer that is not read | {unix.WRITE_SECONDS:.0f} s |
| subscriptions | {session.SUBSCRIPTIONS} of a connection, {recent.SUBSCRIBERS} in all |
| a subscriber that reads nothing | {unix.STALL_SECONDS / 60:.0f} minutes |
| notifications that wait for a subscriber | `buffer`, and {recent.BUFFER_BYTES // MIB} MiB |
| a parameter of kind bytes | {VALUE_BYTES // KIB} KiB |

Error codes: `unknown_method`, `invalid_params`, `forbidden` (it needs the full role), `not_found`, `not_kept`, `busy`,
`unavailable`, `refused`, `vault`, `timeout`, `internal` (the daemon's log says where).

`proxyd ctl METHOD [JSON]` makes one call and prints the result as JSON. [cli.md](cli.md) has the commands for people.

## Subscriptions

`subscribe` answers with a number; from then on the daemon sends notifications until `unsubscribe`, or until the
connection ends.

| notification | params |
|---|---|
| `exchange` | `[subscription, exchange]`: the fields of a line of the access log |
| `notice` | `[subscription, notice]`: `{{time, level, name, detail, process}}`, for whoever operates proxyd |
| `dropped` | `[subscription, count]`: so many did not fit the buffer since the last notification |

Traffic never waits for a subscriber.

## Methods

Results are plain maps, lists and scalars; secrets appear as names, never as values. Exchanges show paths without their
query.
"""

_TAIL: Final = """\
## Example

Python, with the package msgpack alone ([docs/examples/admin_socket.py](examples/admin_socket.py)):

```python
{example}```

## HTTP

`admin.http: 127.0.0.1:3130` adds an HTTP address for Prometheus and orchestrators. Only GET and HEAD are served, and
nothing that a web page could make a browser send: a Host that is not this address or localhost (DNS rebinding), an
Origin or a Sec-Fetch-Site of another site are answered 403. Errors are problem details (RFC 9457).

| path | answer |
|---|---|
| `/metrics` | Prometheus' text format |
| `/live` | 200 while the control process runs |
| `/ready` | 200 once every worker has applied a configuration and the admin socket answers, else 503 |

Both addresses are bound at the start: a reload that changes them says so and takes effect at the next start.
"""


def page_text(example: str) -> str:
    """Return the page; ``example`` is the source of the example."""
    lines = [_HEAD, *map(_section, METHODS.values())]
    return "\n".join(lines) + "\n" + _TAIL.format(example=example)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the page; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m proxyd.admin.reference", description=main.__doc__)
    parser.add_argument("root", type=Path, nargs="?", default=Path(), help="the project's folder")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    options = parser.parse_args(arguments)
    page = options.root / PAGE
    text = page_text((options.root / EXAMPLE).read_text(encoding="utf-8"))
    if page.exists() and page.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        sys.stderr.write(f"{page} is stale; run python -m proxyd.admin.reference\n")
        return 1
    page.write_text(text, encoding="utf-8")
    return 0


def _section(method: Method) -> str:
    role = "" if method.role is Role.READER else " (full role)"
    lines = [f"### `{method.name}`{role}", "", f"{method.help[0].upper()}{method.help[1:]}.", ""]
    if method.params:
        lines += ["| parameter | kind | |", "|---|---|---|", *map(_row, method.params), ""]
    return "\n".join([*lines, f"Result: {method.result}.", ""])


def _row(param: Param) -> str:
    kind = " or ".join(f"`{choice}`" for choice in param.choices) or param.kind.value
    if param.kind is Kind.TEXTS and param.choices:
        kind = f"list of {kind}"
    if param.kind in (Kind.WHOLE, Kind.NUMBER) and param.most:
        kind += f", {param.least} to {param.most}"
    notes = [note for note in ("required" * param.required, "full role" * (param.role is Role.FULL)) if note]
    noted = f" ({', '.join(notes)})" if notes else ""
    return f"| `{param.name}` | {kind} | {param.help}{noted} |"


if __name__ == "__main__":
    sys.exit(main())
