"""Writes docs/configuration.md and conf/schema.json from the models: ``python -m proxyd.config.reference ROOT``.

With ``--check`` nothing is written and a stale file is an error.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from proxyd.config.model import FORM

_HEAD: Final = """\
# Configuration reference

Generated from the models by `python -m proxyd.config.reference`; change the models, not this page. Examples are in
[conf/](../conf/), the JSON schema for editors is [conf/schema.json](../conf/schema.json).

- The file is YAML 1.2: `no` and `22:22` are text, `010` is ten. Tags and repeated keys are refused.
- A key that is not listed here is an error. So is a key without a value: leave it out. `proxyd check -c FILE` lists
  every mistake with its line and column.
- Durations carry their unit: `250ms`, `2s`, `5m`, `1h`, `2d`. Sizes are bytes or carry theirs: `64KiB`, `1MiB`, `1GiB`.
- Files that are read are relative to the configuration file, files that are written to the state folder, sockets to
  the runtime folder.
- No secret stands in the file: `secrets` says where values come from, everything else names them.
- Without a file, `proxyd run` listens on `127.0.0.1:3128` with `unknown_hosts: tunnel`, admin HTTP on `127.0.0.1:3130`.

"""

_NOTES: Final = {
    "telemetry.access_log": (
        "A file that is moved away is left within a second; `proxyd reload`, SIGHUP and SIGUSR1 open the path again at "
        "once. Where the disk is full, lines are lost and counted, `proxyd status` says so, and no line is torn."
    ),
    "access.rules[].allow": (
        "`deny` has the same conditions. A rule judges services or hosts, never both; with neither it judges all. "
        "A tunnel hides methods and paths: there a rule that names them fits when it denies, never when it allows. "
        "`uid`, `gid`, `user` and `cidr` may be written in the plural."
    ),
    "secrets.NAME": (
        "A secret that is named elsewhere and does not stand here comes from the vault, where it has the same name: "
        "`proxyd secret set NAME`."
    ),
    "services.NAME": (
        "`hosts` is needed unless `use` brings them. A host belongs to one service. The host of `base_url` must be "
        "among `hosts`. Plain http with `auth` is refused without `insecure: true`."
    ),
}

_FORMS: Final = {
    "name": "name",
    "secret": "name under `secrets` or of the vault",
    "service": "name under `services`, or `*`",
    "user": "text without `:`",
    "path": "path",
    "range": "CIDR or IP address",
    "host": "host pattern",
    "ip:port": "`ip:port`",
    "ip:port or unix:path": "`ip:port` or `unix:PATH`",
    "origin": "origin",
    "host:port": "`host:port`",
    "url": "URL",
    "header": "header name",
    "method": "method",
    "parameter": "parameter name",
    "variable": "variable name",
    "field": "field",
    "argument": "text",
    "text": "text",
    "condition": "condition",
}


def reference_text() -> str:
    """Return the page: one table of keys for each section."""
    lines = [_HEAD.rstrip(), ""]
    for path, node, depth in _sections("", FORM.schema, 2):
        lines += [f"{'#' * depth} {_title(path)}", "", node.get("description", ""), ""]
        if path in _NOTES:
            lines += [_NOTES[path], ""]
        lines += ["| key | value | default | |", "|---|---|---|---|"]
        required = node.get("required", ())
        lines += [_row(key, FORM.resolve(item), key in required) for key, item in node["properties"].items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def schema_text() -> str:
    """Return the JSON schema as it is shipped."""
    return json.dumps(FORM.schema, indent=2, ensure_ascii=False) + "\n"


def files(root: Path) -> dict[Path, str]:
    """Return what belongs into which file below the project's ``root``."""
    return {root / "docs" / "configuration.md": reference_text(), root / "conf" / "schema.json": schema_text()}


def main(arguments: list[str] | None = None) -> int:
    """Write or check the generated files; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m proxyd.config.reference", description=main.__doc__)
    parser.add_argument("root", type=Path, nargs="?", default=Path(), help="the project's folder")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    options = parser.parse_args(arguments)
    stale = [
        path
        for path, text in files(options.root).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if options.check:
            sys.stderr.write(f"{path} is stale; run python -m proxyd.config.reference\n")
        else:
            path.write_text(files(options.root)[path], encoding="utf-8")
    return 1 if options.check and stale else 0


def _sections(path: str, node: dict[str, Any], depth: int) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield (path, schema, heading depth) of every map of fixed keys, in the order of the file."""
    yield path, node, depth
    for key, item in node["properties"].items():
        if path == "access.rules[]" and key == "deny":  # the same conditions as allow
            continue
        below = f"{path}.{key}" if path else key
        for inner, suffix in _maps(FORM.resolve(item)):
            yield from _sections(below + suffix, inner, min(depth + 1, 4) if path else 2)


def _maps(node: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the maps behind a key: itself, the items of its list, the values of its names, the schemes of a union."""
    if "properties" in node:
        yield node, ""
    elif "discriminator" in node:
        for tag, reference in node["discriminator"]["mapping"].items():
            yield FORM.resolve({"$ref": reference}), f" (scheme: {tag})"
    elif "anyOf" in node:  # the last form is the whole one
        yield from _maps(FORM.resolve(node["anyOf"][-1]))
    elif isinstance(node.get("items"), dict):
        yield from ((inner, "[]" + suffix) for inner, suffix in _maps(FORM.resolve(node["items"])))
    elif isinstance(node.get("additionalProperties"), dict):
        yield from ((inner, ".NAME" + suffix) for inner, suffix in _maps(FORM.resolve(node["additionalProperties"])))


def _title(path: str) -> str:
    return f"`{path}`" if path else "Sections"


def _row(key: str, node: dict[str, Any], required: bool) -> str:
    default = "required" if required else ""
    if "default" in node:
        default = f"`{json.dumps(node['default']) if not isinstance(node['default'], str) else node['default']}`"
    return f"| `{key}` | {_form(node)} | {default} | {node.get('description', '')} |"


def _form(node: dict[str, Any]) -> str:
    node = FORM.resolve(node)
    if "discriminator" in node or "properties" in node:
        return "map"
    if node.get("format") in ("duration", "size"):
        return f"{node['format']}, {node['x-range']}"
    if node.get("format") in _FORMS:
        return _FORMS[node["format"]]
    if "const" in node or "enum" in node:
        return " or ".join(f"`{word}`" for word in node.get("enum", [node.get("const")]))
    if "anyOf" in node:
        return _choice([_form(choice) for choice in node["anyOf"]])
    return _plain_form(node)


def _choice(forms: list[str]) -> str:
    return " or ".join(forms) if not forms[0].startswith("list of ") else f"{forms[1]}, or a list"


def _plain_form(node: dict[str, Any]) -> str:
    kind = node["type"]
    if kind == "array":
        return f"list of {_form(node['items'])}"
    if kind == "boolean":
        return "`true` or `false`"
    if kind == "integer":
        return f"number, {node['minimum']} to {node['maximum']}"
    return "map of names"


if __name__ == "__main__":
    sys.exit(main())
