"""The command line: what words there are, and which function each one calls.

Nothing heavy is imported here: ``status`` is to answer at once, so trio, pydantic and the daemon's own packages come
in where a command needs them.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import proxyd
from proxyd.cli import paths, rpc
from proxyd.cli.exits import BY_SIGNAL, FAILURE, OK, USAGE, CommandError
from proxyd.cli.tables import printable, render

EPILOG: Final = """\
exit codes:
  0  it is done
  1  it failed, or the daemon refused
  2  the command line or the configuration is wrong
  3  no daemon answers on the admin socket
  exec returns the command's own code, 128+N for signal N, 126 and 127 as shells do

environment:
  PROXYD_ADMIN  the admin socket, when --admin does not name it
"""

_SIGINT: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = build_parser().parse_args(words)
    try:
        code: int = arguments.function(arguments)
        sys.stdout.flush()
        return code
    except CommandError as error:
        print(f"proxyd: {_multiline(str(error))}", file=sys.stderr)
        return error.code
    except BrokenPipeError:  # such as `proxyd status | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILURE
    except KeyboardInterrupt:
        return BY_SIGNAL + _SIGINT


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="proxyd",
        description="A sidecar that carries an application's traffic to third-party services and adds credentials.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"proxyd {proxyd.__version__}")
    _admin(parser, "")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = _command(commands, "run", "run the daemon in the foreground", _run)
    _config(run, "without it: a forward proxy on 127.0.0.1:3128")
    _folders(run)
    check = _command(commands, "check", "report every mistake of a configuration file", _check)
    _config(check, "without it: the embedded default")
    _folders(check)
    _json(check)
    _init_and_doctor(commands)
    execute = _command(commands, "exec", "run a command whose traffic goes through proxyd", _exec)
    _config(execute, "start a private daemon with this configuration, for this command alone")
    _folders(execute)
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD [ARG ...]", help="the command")
    env = _command(commands, "env", "print shell lines that send a shell's programs through proxyd", _env)
    _folders(env)
    _json(env)
    _authority(commands)

    for name, text, empty in (
        ("status", "the daemon at a glance", "nothing"),
        ("services", "the configured services", "no services are configured"),
        ("pools", "upstream connections", "no pools: nothing has been sent yet"),
    ):
        show = _command(commands, name, text, _show)
        show.set_defaults(method=name, empty=empty)
        _json(show)
    _json(_command(commands, "config", "the configuration in use as JSON, secrets as names", _show_config))
    _json(_command(commands, "reload", "read the configuration again, as SIGHUP does", _reload))
    _json(_command(commands, "stop", "drain and end the daemon", _stop))
    ctl = _command(commands, "ctl", "make one admin call ('ctl methods' lists them)", _ctl)
    ctl.add_argument("method", metavar="METHOD")
    ctl.add_argument("params", metavar="JSON", nargs="?", help="parameters: a JSON array, or one value")
    return parser


def _command(
    commands: Any, name: str, text: str, function: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(function=function)
    _admin(parser, argparse.SUPPRESS)  # a default here would undo what stands before the command
    return parser


def _init_and_doctor(commands: Any) -> None:
    init = _command(commands, "init", "write a commented configuration for the credentials found here", _init)
    init.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("proxyd.yaml"), help="the file to write"
    )
    init.add_argument("--force", action="store_true", help="replace a file that exists")
    init.add_argument("--stdout", action="store_true", help="print it, write nothing")
    _json(init)


def _authority(commands: Any) -> None:
    parser = commands.add_parser("ca", help="the certificate that clients must trust", allow_abbrev=False)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _admin(parser, argparse.SUPPRESS)
    for name, text, function in (
        ("export", "print it as PEM", _ca_export),
        ("install", "put it into the system's store (Debian)", _ca_install),
        ("uninstall", "take it out of the system's store", _ca_uninstall),
    ):
        _folders(_command(verbs, name, text, function))


def _admin(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--admin", metavar="SOCKET", default=default, help="the daemon's admin socket")


def _config(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help=f"the configuration file; {text}")


def _folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state-dir", metavar="DIR", type=Path, help="what outlives a restart: the local CA")
    parser.add_argument("--runtime-dir", metavar="DIR", type=Path, help="sockets")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


# --- commands ---------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    from proxyd.cli.run import run

    return run(arguments.config, _state(arguments), _runtime(arguments), arguments.admin)


def _check(arguments: argparse.Namespace) -> int:
    from proxyd.cli.check import check

    return check(arguments.config, _state(arguments), _runtime(arguments), arguments.json)


def _init(arguments: argparse.Namespace) -> int:
    from proxyd.cli.init import init

    return init(
        arguments.output,
        os.environ,
        Path.home(),
        force=arguments.force,
        stdout=arguments.stdout,
        as_json=arguments.json,
    )


def _exec(arguments: argparse.Namespace) -> int:
    from proxyd.cli.execute import execute

    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise CommandError("exec: no command; write it after --, such as: proxyd exec -- curl https://…", USAGE)
    if arguments.config is not None and arguments.admin:
        raise CommandError("exec: -c starts a private daemon, --admin names one that runs; choose one", USAGE)
    socket, explicit = _socket(arguments)
    return execute(
        words,
        config=arguments.config,
        admin=socket,
        explicit=explicit,
        state=_state(arguments),
        runtime=_runtime(arguments),
    )


def _env(arguments: argparse.Namespace) -> int:
    from proxyd.cli.clients import make_client
    from proxyd.cli.variables import client_variables, shell_exports

    socket, explicit = _socket(arguments)
    answer = rpc.call(socket, "environment", any_owner=explicit)
    client = make_client(answer, _runtime(arguments), os.environ)
    variables = client_variables(client, os.environ.get("JAVA_TOOL_OPTIONS", ""))
    if arguments.json:
        return _print_json(variables)
    print(shell_exports(variables), end="")
    return OK


def _ca_export(arguments: argparse.Namespace) -> int:
    print(_root_pem(arguments), end="")
    return OK


def _ca_install(arguments: argparse.Namespace) -> int:
    from proxyd.cli.authority import Store, install

    return install(_root_pem(arguments), Store())


def _ca_uninstall(arguments: argparse.Namespace) -> int:
    from proxyd.cli.authority import Store, uninstall

    return uninstall(Store())


def _show(arguments: argparse.Namespace) -> int:
    value = _call(arguments, arguments.method)
    if arguments.json:
        return _print_json(value)
    print(render(value, arguments.empty), end="")
    return OK


def _show_config(arguments: argparse.Namespace) -> int:
    return _print_json(_call(arguments, "config"))  # too deep for a table


def _reload(arguments: argparse.Namespace) -> int:
    answer = _call(arguments, "reload")
    accepted = bool(answer["ok"])
    if arguments.json:
        _print_json(answer)
        return OK if accepted else FAILURE
    for problem in answer["problems"]:
        print(printable(str(problem)), file=sys.stderr)
    if accepted:
        print(f"reloaded: version {answer['version']} is in use")
        return OK
    print(f"refused: version {answer['version']} stays in use", file=sys.stderr)
    return FAILURE


def _stop(arguments: argparse.Namespace) -> int:
    answer = _call(arguments, "stop")
    if arguments.json:
        return _print_json(answer)
    print("stopping: connections are drained")
    return OK


def _ctl(arguments: argparse.Namespace) -> int:
    params: list[Any] = []
    if arguments.params is not None:
        try:
            value = json.loads(arguments.params)
        except ValueError as error:
            raise CommandError(f"ctl: the parameters are no JSON: {error}", USAGE) from None
        params = value if isinstance(value, list) else [value]
    return _print_json(_call(arguments, arguments.method, *params))


# --- what commands share ----------------------------------------------------------------------------


def _call(arguments: argparse.Namespace, method: str, *params: object) -> Any:
    socket, explicit = _socket(arguments)
    return rpc.call(socket, method, *params, any_owner=explicit)


def _root_pem(arguments: argparse.Namespace) -> str:
    from proxyd.cli.authority import root_pem

    socket, explicit = _socket(arguments)
    return root_pem(socket, _state(arguments), explicit)


def _socket(arguments: argparse.Namespace) -> tuple[Path, bool]:
    """Return the admin socket, and whether somebody named it."""
    named = arguments.admin or os.environ.get("PROXYD_ADMIN", "")
    return (Path(named), True) if named else (paths.admin_socket(_runtime(arguments)), False)


def _state(arguments: argparse.Namespace) -> Path:
    return arguments.state_dir or paths.state_dir(os.environ, os.geteuid())


def _runtime(arguments: argparse.Namespace) -> Path:
    return getattr(arguments, "runtime_dir", None) or paths.runtime_dir(os.environ, os.geteuid())


def _print_json(value: Any) -> int:
    print(json.dumps(value, indent=2))
    return OK


def _multiline(text: str) -> str:
    return "\n".join(map(printable, text.splitlines()))


if __name__ == "__main__":
    sys.exit(main())
