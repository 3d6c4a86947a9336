"""Writes proxyd(1) from the command line's own words: ``python packaging/debian/man.py > proxyd.1``."""

import argparse
from collections.abc import Iterator

import proxyd
from proxyd.cli.main import build_parser

FILES = (
    ("/etc/proxyd/proxyd.yaml", "the configuration of the service; examples are in /usr/share/doc/proxyd/examples"),
    ("/run/proxyd", "sockets, the admin socket among them"),
    ("/var/lib/proxyd", "what outlives a restart: the vault and the local authority"),
    ("/var/log/proxyd", "the access log"),
)


def page(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the lines of the page."""
    yield f'.TH PROXYD 1 "" "proxyd {proxyd.__version__}" "User Commands"'
    yield ".SH NAME"
    yield "proxyd \\- credentials for an application's outbound traffic"
    yield ".SH SYNOPSIS"
    yield ".B proxyd"
    yield escape("[--admin SOCKET] COMMAND ...")
    yield ".SH DESCRIPTION"
    yield escape(parser.description or "")
    yield ".SH COMMANDS"
    yield from commands(parser, "proxyd")
    yield ".SH FILES"
    for path, text in FILES:
        yield from (".TP", f".I {escape(path)}", escape(text))
    for paragraph in (parser.epilog or "").split("\n\n"):
        title, *lines = paragraph.strip().splitlines()
        yield f'.SH "{title.rstrip(":").upper()}"'
        yield ".nf"
        yield from (escape(line.strip()) for line in lines)
        yield ".fi"


def commands(parser: argparse.ArgumentParser, path: str) -> Iterator[str]:
    """Yield every command below ``parser``, each with its options."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, command in action.choices.items():
            below = any(isinstance(one, argparse._SubParsersAction) for one in command._actions)
            if below:
                yield from commands(command, f"{path} {name}")
                continue
            yield from (".TP", f".B {escape(f'{path} {name}')}", escape(texts.get(name, "")))
            yield from options(command)


def options(command: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the options of one command, indented below it."""
    shown = [action for action in command._actions if action.dest != "help" and action.help != argparse.SUPPRESS]
    if not shown:
        return
    yield ".RS"
    for action in shown:
        metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        words = ", ".join(action.option_strings) + (f" {metavar}" if action.nargs != 0 else "")
        yield from (".TP", f".B {escape(words.strip())}", escape(action.help or ""))
    yield ".RE"


def escape(text: str) -> str:
    """Return ``text`` as roff means it."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    print("\n".join(page(build_parser())))
