"""The parser of the command line as a tree of commands, for the reference and for completion."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """An option, or an argument that has a place instead of a name."""

    names: tuple[str, ...]
    """``-c``, ``--config``; empty for an argument."""
    value: str
    """What stands for the value; empty: the option takes none."""
    help: str
    choices: tuple[str, ...] = ()
    required: bool = False
    rest: bool = False
    """The argument takes all words that are left."""

    @property
    def is_file(self) -> bool:
        """Whether the value is a file that may exist."""
        return self.value in ("FILE", "SOCKET")

    @property
    def is_folder(self) -> bool:
        """Whether the value is a folder."""
        return self.value == "DIR"


@dataclass(frozen=True, slots=True)
class Node:
    """One command, or the program itself."""

    path: tuple[str, ...]
    """Words that lead to it: empty for the program, ``("ca", "export")``."""
    help: str
    parser: argparse.ArgumentParser
    options: tuple[Word, ...]
    arguments: tuple[Word, ...]
    commands: tuple["Node", ...]

    def walk(self) -> Iterator["Node"]:
        """Yield this command and all below it."""
        yield self
        for node in self.commands:
            yield from node.walk()


def tree(parser: argparse.ArgumentParser, path: tuple[str, ...] = (), text: str = "") -> Node:
    """Return the tree below ``parser``."""
    options: list[Word] = []
    arguments: list[Word] = []
    commands: list[Node] = []
    for action in parser._actions:  # argparse has no public way to look into a parser
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands += [tree(sub, (*path, name), helps.get(name, "")) for name, sub in action.choices.items()]
        elif action.option_strings:
            options.append(_word(action))
        else:
            arguments.append(_word(action))
    return Node(path, text, parser, tuple(options), tuple(arguments), tuple(commands))


def _word(action: argparse.Action) -> Word:
    takes = not isinstance(action, argparse._StoreTrueAction | argparse._HelpAction | argparse._VersionAction)
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return Word(
        names=tuple(action.option_strings),
        value=value if takes else "",
        help=(action.help or "").replace("%%", "%"),
        choices=tuple(map(str, action.choices or ())),
        required=action.required,
        rest=action.nargs == argparse.REMAINDER,
    )
