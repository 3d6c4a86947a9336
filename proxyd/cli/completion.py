"""Completion scripts for bash, zsh and fish, made from the parser: the shell needs nothing of proxyd to complete.

All three know commands, options, fixed values, files and folders. After ``exec --`` the command's own completion is
not known; files are offered.
"""

import argparse
from collections.abc import Iterable
from typing import Final

from proxyd.cli.tree import Node, Word, tree

_BASH_HEAD: Final = """\
# bash completion for proxyd; made by `proxyd completion bash`
_proxyd() {
  local cur prev path word words options i
  cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path=
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word == -- ]]; then COMPREPLY=($(compgen -c -f -- "$cur")); return; fi
    case "$path/$word" in
"""
_BASH_MIDDLE: Final = """\
    esac
  done
  case "$path:$prev" in
"""
_BASH_TAIL: Final = """\
  if [[ $cur == -* ]]; then words=$options; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o filenames -F _proxyd proxyd
"""

_ZSH_HEAD: Final = """\
#compdef proxyd
# zsh completion for proxyd; made by `proxyd completion zsh`
"""


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script for ``bash``, ``zsh`` or ``fish``."""
    return {"bash": bash, "zsh": zsh, "fish": fish}[shell](tree(parser))


def bash(root: Node) -> str:
    """Return the script for bash."""
    nodes = list(root.walk())
    lines = [f"      {_quote('/' + '/'.join(node.path))}) path=/{'/'.join(node.path)} ;;" for node in nodes[1:]]
    script = _BASH_HEAD + "\n".join(lines) + "\n" + _BASH_MIDDLE
    for node in nodes:
        for word in (word for word in node.options if word.value):
            patterns = "|".join(_quote(f"{_key(node)}:{name}") for name in word.names)
            script += f"    {patterns}) {_bash_values(word)}; return ;;\n"
    script += '  esac\n  case "$path" in\n'
    for node in nodes:
        options = [name for word in node.options for name in word.names]
        words = [below.path[-1] for below in node.commands]
        words += [choice for word in node.arguments for choice in word.choices]
        script += f"    {_quote(_key(node))}) words={_quote(' '.join(words))} options={_quote(' '.join(options))} ;;\n"
    return script + "  esac\n" + _BASH_TAIL


def zsh(root: Node) -> str:
    """Return the script for zsh: one function per command."""
    functions = [_zsh_function(node) for node in root.walk()]
    return _ZSH_HEAD + "\n".join(functions) + '\n_proxyd "$@"\n'


def fish(root: Node) -> str:
    """Return the script for fish: one line per word, each with the commands that it may follow."""
    lines = ["# fish completion for proxyd; made by `proxyd completion fish`", "complete -c proxyd -f"]
    for node in root.walk():
        condition = _fish_condition(node)
        lines += [
            f"complete -c proxyd -n {condition} -a {_quote(below.path[-1])} -d {_quote(below.help)}"
            for below in node.commands
        ]
        for word in node.arguments:
            if word.choices:
                lines.append(f"complete -c proxyd -n {condition} -a {_quote(' '.join(word.choices))}")
            elif word.rest or word.is_file:
                lines.append(f"complete -c proxyd -n {condition} -F")
        for word in node.options:
            names = " ".join(f"-{'l' if name[:2] == '--' else 's'} {name.lstrip('-')}" for name in word.names)
            lines.append(f"complete -c proxyd -n {condition} {names}{_fish_value(word)} -d {_quote(word.help)}")
    return "\n".join(lines) + "\n"


def _key(node: Node) -> str:
    return f"/{'/'.join(node.path)}" if node.path else ""


def _bash_values(word: Word) -> str:
    if word.choices:
        return f'COMPREPLY=($(compgen -W {_quote(" ".join(word.choices))} -- "$cur"))'
    if word.is_folder:
        return 'COMPREPLY=($(compgen -d -- "$cur"))'
    return 'COMPREPLY=($(compgen -f -- "$cur"))' if word.is_file else "COMPREPLY=()"


def _zsh_function(node: Node) -> str:
    name = "_".join(("_proxyd", *(word.replace("-", "_") for word in node.path)))
    specs = [_zsh_option(word) for word in node.options]
    if node.commands:
        described = " ".join(_quote(f"{below.path[-1]}:{below.help}") for below in node.commands)
        cases = "\n".join(
            f"        {_quote(below.path[-1])}) {name}_{below.path[-1].replace('-', '_')} ;;" for below in node.commands
        )
        specs += ["'1:command:->command'", "'*::argument:->rest'"]
        return (
            f"{name}() {{\n  local state line\n  _arguments -C {_joined(specs)}\n  case $state in\n"
            f"    command) local -a commands=({described}); _describe command commands ;;\n"
            f"    rest)\n      case ${{line[1]}} in\n{cases}\n      esac ;;\n  esac\n}}"
        )
    specs += [_zsh_argument(word) for word in node.arguments]
    return f"{name}() {{\n  _arguments {_joined(specs)}\n}}"


def _zsh_option(word: Word) -> str:
    value = f":{_zsh_text(word.value)}:{_zsh_action(word)}" if word.value else ""
    names = word.names[0] if len(word.names) == 1 else "'{" + ",".join(word.names) + "}'"
    return f"'{names}[{_zsh_text(word.help)}]{value}'"


def _zsh_argument(word: Word) -> str:
    if word.rest:
        return "'*:::command:_normal'"
    colons = ":" if word.required else "::"
    return f"'{colons}{_zsh_text(word.value)}:{_zsh_action(word)}'"


def _zsh_action(word: Word) -> str:
    if word.choices:
        return f"({' '.join(word.choices)})"
    if word.is_folder:
        return "_files -/"
    return "_files" if word.is_file else " "


def _zsh_text(text: str) -> str:
    """Return text for within a spec of _arguments, which stands in single quotes."""
    for special in ("\\", "[", "]", ":"):
        text = text.replace(special, "\\" + special)
    return text.replace("'", "'\\''")


def _fish_condition(node: Node) -> str:
    if not node.path:
        return "__fish_use_subcommand"
    seen = [f"__fish_seen_subcommand_from {word}" for word in node.path]
    if node.commands:
        seen.append(f"not __fish_seen_subcommand_from {' '.join(below.path[-1] for below in node.commands)}")
    return _quote("; and ".join(seen))


def _fish_value(word: Word) -> str:
    if not word.value:
        return ""
    if word.choices:
        return f" -x -a {_quote(' '.join(word.choices))}"
    if word.is_folder:
        return " -x -a '(__fish_complete_directories)'"
    return " -r -F" if word.is_file else " -x"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _joined(specs: Iterable[str]) -> str:
    return " \\\n    ".join(specs)
