"""A commented configuration file made of what was found. Pure text; nothing in it is a secret."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from proxyd.catalog.found import Findings, Proposal, Source

_WIDTH: Final = 112

_HEAD: Final = """\
# proxyd's configuration, written by `proxyd init`.
#
#   proxyd check -c FILE              every mistake at once
#   proxyd run -c FILE                the daemon, in the foreground
#   proxyd exec -- COMMAND            a command whose traffic goes through it
#   proxyd doctor                     what does not work yet on this machine, and what to do
#
# No secret stands in this file, only where each one comes from. Every setting: docs/configuration.md.

listeners:
  # What HTTP_PROXY and HTTPS_PROXY point at. Hosts that are no service are passed on unread (tunnel); `deny` refuses
  # them, `intercept` decrypts them with the local CA.
  - {name: apps, mode: forward, address: 127.0.0.1:3128, unknown_hosts: tunnel}
  # For programs whose base URL can be set: http://SERVICE/… on gateway.sock in the runtime folder.
  - {name: gateway, mode: gateway}

# /metrics, /live and /ready.
admin: {http: 127.0.0.1:3130}
"""

_NO_SERVICES: Final = """
# No credential was found, so no service is proposed. A service looks like this:
#
# services:
#   github: {secret: github/token}                       # one of `proxyd services --catalogue`
#   tickets:
#     hosts: [api.tickets.example]
#     base_url: https://api.tickets.example/v2
#     auth: {scheme: bearer, secret: tickets/token}      # or basic, header, query
# secrets:
#   tickets/token: {env: TICKETS_TOKEN}                  # or {vault: …}, {file: …}, {command: […]}
"""

_SERVICES: Final = """
# Services: the hosts that each one answers on, and the credential that is added there and nowhere else. Remove those
# that you do not want.
"""

_SECRETS: Final = """
# Where the secrets come from. proxyd needs the variables; the application does not: `proxyd exec` replaces them by a
# placeholder, and an application that proxyd runs beside should be started without them. To take a value out of the
# environment for good: `proxyd secret set NAME`, and {vault: NAME} here.
"""

_ACCESS: Final = """
# Who may call what. Without this section: services are for the user that proxyd runs as, unknown hosts for everybody
# who reaches the listener. The first rule that fits decides.
# access:
#   default: deny
#   rules:
#     - {allow: {services: "*", methods: [GET, HEAD]}}
#     - {allow: {hosts: ["*"]}}

# One JSON line for each exchange; in the state folder.
telemetry:
  access_log: {path: access.jsonl}
"""


def document(findings: Findings) -> str:
    """Return the text of the file."""
    parts = [_HEAD]
    if findings.proposals:
        parts.append(_SERVICES + "services:\n" + "".join(map(_service, findings.proposals)))
        parts.append(_SECRETS + "secrets:\n" + "".join(map(_secret, _sources(findings.proposals))))
    else:
        parts.append(_NO_SERVICES)
    parts.append(_ACCESS)
    if findings.remarks:
        lines = [f"{remark.found}: {remark.why}" for remark in findings.remarks]
        parts.append("\n# Found and not used:\n" + _comments(lines))
    if findings.unknown:
        intro = (
            "These variables look like credentials, and which service they are for is not known here. For each one "
            "that belongs to an HTTP API: add a service with its hosts, and a secret {env: NAME}."
        )
        parts.append("\n" + _comment(intro) + _comments(findings.unknown))
    return "".join(parts)


def _service(proposal: Proposal) -> str:
    lines = [_comment(f"From {proposal.found}. {proposal.note}".strip(), "  ").rstrip("\n"), f"  {proposal.service}:"]
    if proposal.use:
        lines += _use(proposal)
        return "\n".join(lines) + "\n"
    lines.append(f"    hosts: [{', '.join(proposal.hosts)}]")
    if proposal.base_url:
        lines.append(f"    base_url: {proposal.base_url}")
    if proposal.encoded_slash:
        lines.append("    encoded_slash: true")
    lines.append(f"    auth: {proposal.auth}")
    return "\n".join(lines) + "\n"


def _use(proposal: Proposal) -> list[str]:
    """Return the lines of a service that uses the catalogue."""
    lines = [f"    use: {proposal.use}"] if proposal.use != proposal.service else []
    lines += [f"    hosts: [{', '.join(proposal.hosts)}]"] if proposal.own_hosts else []
    lines.append(f"    secret: {proposal.secret}")
    if proposal.options:
        options = ", ".join(f"{name}: {json.dumps(value)}" for name, value in proposal.options)
        lines.append(f"    options: {{{options}}}")
    return lines


def _sources(proposals: Iterable[Proposal]) -> list[Source]:
    return list({source.secret: source for proposal in proposals for source in proposal.sources}.values())


def _secret(source: Source) -> str:
    where = f"env: {source.env}" if source.env else f"command: {_flow(source.command)}"
    where = f"file: {json.dumps(source.file)}" if source.file else where
    return f"  {source.secret}: {{{where}}}\n"


def _flow(words: Sequence[str]) -> str:
    """A list of texts: JSON's quoting is YAML's too."""
    return "[" + ", ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"


def _comments(lines: Iterable[str]) -> str:
    return "".join(_comment(line, bullet="- ") for line in lines)


def _comment(text: str, indent: str = "", bullet: str = "") -> str:
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    rows = textwrap.wrap(printable, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    first, rest = f"{indent}# {bullet}", f"{indent}# {' ' * len(bullet)}"
    return "".join(f"{first if number == 0 else rest}{row}\n" for number, row in enumerate(rows))
