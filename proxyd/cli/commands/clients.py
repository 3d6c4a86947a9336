"""Commands that take programs through proxyd: exec, env and bridge."""

import argparse
import os
import sys
from pathlib import Path

from proxyd.cli.context import admin_socket, call, print_json, runtime_dir, state_dir
from proxyd.cli.exits import OK, USAGE, CommandError
from proxyd.cli.parser import Commands, command, config_option, folder_options, json_option


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    execute = command(commands, "exec", "run a command whose traffic goes through proxyd", _exec)
    config_option(execute, "start a private daemon with this configuration, for this command alone")
    folder_options(execute)
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD [ARG ...]", help="the command")
    env = command(commands, "env", "print shell lines that send a shell's programs through proxyd", _env)
    folder_options(env)
    json_option(env)
    carry = command(commands, "bridge", "open a TCP port that leads to a listener's Unix socket", _bridge)
    folder_options(carry)
    carry.add_argument(
        "--listen", metavar="IP:PORT", default="127.0.0.1:0", help="default 127.0.0.1:0; the URL is printed"
    )
    carry.add_argument("--socket", metavar="PATH", type=Path, help="default: the running daemon's forward listener")


def _exec(arguments: argparse.Namespace) -> int:
    from proxyd.cli.execute import execute

    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise CommandError("exec: no command; write it after --, such as: proxyd exec -- curl https://…", USAGE)
    if arguments.config is not None and arguments.admin:
        raise CommandError("exec: -c starts a private daemon, --admin names one that runs; choose one", USAGE)
    socket, explicit = admin_socket(arguments)
    return execute(
        words,
        config=arguments.config,
        admin=socket,
        explicit=explicit,
        state=state_dir(arguments),
        runtime=runtime_dir(arguments),
    )


def _env(arguments: argparse.Namespace) -> int:
    from proxyd.cli.clients import make_client
    from proxyd.cli.variables import REMOVED, client_variables, gateway_variables, shell_exports

    answer = call(arguments, "environment")
    gateway = gateway_variables(answer)
    if gateway and not answer["proxy"]:
        variables, removed = gateway, False
    else:
        client = make_client(answer, runtime_dir(arguments), os.environ)
        variables, removed = client_variables(client, os.environ), True
    if arguments.json:
        return print_json(variables)
    print(shell_exports(variables, REMOVED if removed else ()), end="")
    return OK


def _bridge(arguments: argparse.Namespace) -> int:
    from proxyd.cli.bridge import bind, bridge, is_loopback

    path = arguments.socket or call(arguments, "environment")["proxy_socket"]
    if not path:
        raise CommandError("bridge: no forward listener on a Unix socket serves without a password; name a --socket")
    host, _, port = arguments.listen.rpartition(":")
    try:
        sock = bind((host.strip("[]") or "127.0.0.1", int(port)))
    except (OSError, ValueError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not an address; write IP:PORT"
        raise CommandError(f"bridge: cannot listen on {arguments.listen}: {why}") from None
    if not is_loopback(sock):
        print("proxyd: every machine that reaches this port has the bridge's rights", file=sys.stderr)
    bridge(sock, str(path), lambda text: print(text, flush=True))
    return OK
