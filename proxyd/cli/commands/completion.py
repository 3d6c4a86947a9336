"""``proxyd completion``: a script that completes command lines."""

import argparse
from typing import Final

from proxyd.cli.exits import OK
from proxyd.cli.parser import Commands, command

SHELLS: Final = ("bash", "zsh", "fish")

EPILOG: Final = """\
  bash:  proxyd completion bash > ~/.local/share/bash-completion/completions/proxyd
  zsh:   proxyd completion zsh > "${fpath[1]}/_proxyd"
  fish:  proxyd completion fish > ~/.config/fish/completions/proxyd.fish
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "completion", "print a script that completes command lines in a shell", _completion)
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"the shell: {', '.join(SHELLS)}")


def _completion(arguments: argparse.Namespace) -> int:
    from proxyd.cli.completion import script
    from proxyd.cli.main import build_parser

    print(script(arguments.shell, build_parser()), end="")
    return OK
