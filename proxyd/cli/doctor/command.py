"""Runs every check and every trial, and prints what was found."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import proxyd
from proxyd.cli.authority import Store
from proxyd.cli.doctor import daemon, folders, machine, shell
from proxyd.cli.doctor.findings import Finding, Verdict, fail, warn, worst
from proxyd.cli.doctor.runtimes import FAMILIES, Probe, find
from proxyd.cli.doctor.trial import Result, run
from proxyd.cli.exits import FAILURE, OK, CommandError
from proxyd.cli.tables import printable, table

DEFAULT_FILE: Final = Path("proxyd.yaml")
_LAST_WORDS: Final = {
    Verdict.OK: "All is well.",
    Verdict.WARN: "It works; mind the warnings.",
    Verdict.FAIL: "Something fails.",
}


@dataclass(frozen=True, slots=True)
class Words:
    """The command line."""

    config: Path | None
    admin: Path
    explicit: bool
    """Whether somebody named the admin socket."""
    state: Path
    runtime: Path
    only: str
    """A family of runtimes; empty: all of them, and every check."""
    as_json: bool


def doctor(words: Words) -> int:
    """Look at everything, print it, and return 1 when something fails."""
    found, running = ([], None) if words.only else _checks(words)
    families = [words.only] if words.only else list(FAMILIES)
    probes, missing = find(families)
    if words.only and missing:
        found.append(fail(words.only, "it is not installed (not on PATH)", f"install {words.only}, or look at PATH"))
    if not words.as_json and sys.stderr.isatty():
        print(f"asking {len(probes)} runtimes, some seconds …", file=sys.stderr)
    results = _try(probes, words.state, running, found)
    verdict = worst([*(finding.verdict for finding in found), *(result.verdict for result in results)])
    if words.as_json:
        _print_json(found, results, missing, verdict)
    else:
        _print(found, results, missing, verdict)
    return FAILURE if verdict is Verdict.FAIL else OK


def _try(probes: Sequence[Probe], state: Path, running: daemon.Daemon | None, found: list[Finding]) -> list[Result]:
    """Have the runtimes ask; what keeps the state folder from being used is a finding, not the end."""
    proxied = {os.environ.get(name) for name in shell.PROXIES} - {None, ""}
    inside = running is not None and proxied == {running.proxy}
    foreign = running is not None and running.ca_pem.strip() != shell.ca_pem(state).strip()
    try:
        return run(probes, state, os.environ, alone=not inside and not foreign)
    except CommandError as error:
        what = f"the trial's daemon has a CA of its own, for it cannot use {state}: {error}"
    try:
        results = run(probes, None, os.environ, alone=False)
    except CommandError as error:
        found.append(fail("trial", str(error), "mend this first; no runtime was tried"))
        return []
    todo = "to test what trusts the local CA, run doctor as the user that proxyd runs as"
    found.append(warn("trial", what, todo))
    return results


def _checks(words: Words) -> tuple[list[Finding], daemon.Daemon | None]:
    running, answer = daemon.ask(words.admin, words.explicit)
    settings, configuration = daemon.configuration(_file(words, running), words.state, words.runtime)
    found = [daemon.versions(), answer, *(daemon.check(running) if running else ()), *configuration]
    if running is None and settings is not None:
        found += daemon.ports(settings)
    found += folders.check(words.state, words.runtime)
    found += machine.check(running.pid if running else None, [words.state / "ca.pem"])
    found.append(shell.proxies(os.environ, running.proxy if running else ""))
    found += shell.exceptions(os.environ, settings)
    if running is not None:
        found += shell.held(os.environ, map(str, running.environment.get("secret_variables", ())))
    found.append(shell.store(running.ca_pem if running else shell.ca_pem(words.state), Store()))
    return found, running


def _file(words: Words, running: daemon.Daemon | None) -> Path | None:
    """Return the configuration to check: the one that was named, the running daemon's, or proxyd.yaml here."""
    if words.config is not None:
        return words.config
    used = Path(str(running.status.get("config") or "")) if running else DEFAULT_FILE
    return used if used.is_file() and os.access(used, os.R_OK) else None


# --- output -----------------------------------------------------------------------------------------


def _print_json(found: Sequence[Finding], results: Sequence[Result], missing: Sequence[str], verdict: Verdict) -> None:
    document = {
        "version": proxyd.__version__,
        "verdict": verdict.value,
        "checks": [finding.plain() for finding in found],
        "runtimes": [result.plain() for result in results],
        "not_installed": list(missing),
    }
    print(json.dumps(document, indent=2))


def _print(found: Sequence[Finding], results: Sequence[Result], missing: Sequence[str], verdict: Verdict) -> None:
    width = max((len(finding.check) for finding in found), default=0)
    for finding in found:
        print(printable(f"{finding.verdict.value:4}  {finding.check.ljust(width)}  {finding.what}"))
        if finding.todo:
            print(printable(f"{'':4}  {'':{width}}  -> {finding.todo}"))
    if results:
        print(*([""] if found else []), *_table(results), sep="\n")
    if missing and results:
        print(f"not installed: {', '.join(missing)}")
    for title, lines in (
        ("To do:", _todos(result for result in results if result.verdict is not Verdict.OK)),
        ("Programs started without proxyd exec:", _todos(result for result in results if result.verdict is Verdict.OK)),
    ):
        if lines:
            print(f"\n{title}")
            print("\n".join(printable(line) for line in lines))
    print(f"\n{_LAST_WORDS[verdict]}")


def _table(results: Iterable[Result]) -> list[str]:
    return table(
        [
            {
                " ": result.verdict.value,
                "runtime": result.probe.name,
                "version": result.version or "-",
                "under proxyd exec": result.helped.value,
                "with the proxy variables alone": "-" if result.alone is None else result.alone.value,
            }
            for result in results
        ]
    )


def _todos(results: Iterable[Result]) -> list[str]:
    """One line for each thing to do, with the runtimes that it is for."""
    by_todo: dict[str, list[str]] = {}
    for result in results:
        if result.todo:
            by_todo.setdefault(result.todo.removeprefix("without proxyd exec: "), []).append(result.probe.name)
    return [f"  {', '.join(names)}: {todo}" for todo, names in by_todo.items()]
