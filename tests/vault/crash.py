"""Writers of a vault, killed at random moments: ``python -m tests.vault.crash ROUNDS [SEED]``.

Each round forks two writers that set, rotate, remove and rekey as fast as they can and say before and after each step
what they do. Both are killed (SIGKILL) after a random time, and a process that starts anew must find every secret as
the last answered step left it, or as the step that was under way would have: nothing lost, nothing torn, no error.
Now and then the state folder is a new one, so that the first write of all is hit too. A summary is printed as JSON.
"""

import contextlib
import json
import os
import random
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from proxyd.vault.errors import NoSuchSecret
from proxyd.vault.store import Vault

WRITERS = 2
NAMES = 4
"""Secrets of each writer."""
LONGEST = 0.05
"""Seconds until the kill: up to some twenty steps."""
FRESH_EVERY = 10
"""Rounds after which a new state folder is begun."""

State = dict[str, list[str]]
"""Values by name, the current one first."""


@dataclass
class Writer:
    """A process under test, as the one that watches it knows it."""

    pid: int
    fd: int
    said: bytes = b""
    known: State = field(default_factory=dict)
    """What its answered steps left."""
    under_way: list[str] | None = None


def write(state: Path, index: int, fd: int, seed: int) -> None:
    """Be a writer until killed."""
    choose = random.Random(seed)
    vault = Vault(state, environment={})
    names = [f"writer{index}/{number}" for number in range(NAMES)]
    count = 0
    while True:
        count += 1
        name, value = choose.choice(names), f"{seed}-{count}-" + "x" * choose.randrange(0, 2000)
        step = choose.choice(["set", "set", "rotate", "rotate", "rm", "rekey"])
        os.write(fd, json.dumps([step, name, value]).encode() + b"\n")
        with contextlib.suppress(NoSuchSecret):
            if step == "set":
                vault.set(name, value.encode())
            elif step == "rotate":
                vault.rotate(name, value.encode(), 3600.0 if len(vault.get(name).former) < 3 else 0.0)
            elif step == "rm":
                vault.remove(name)
            else:
                vault.rekey()
        os.write(fd, b"done\n")


def after(state: State, step: list[str]) -> State:
    """Return what a step makes of a state."""
    verb, name, value = step
    changed = dict(state)
    if verb == "set":
        changed[name] = [value]
    elif verb == "rotate" and name in state:
        full = len(state[name]) - 1 >= 3
        changed[name] = [value, *(state[name][1:] if full else state[name])]
    elif verb == "rm":
        changed.pop(name, None)
    return changed


def start(state: Path, index: int, seed: int, known: State) -> Writer:
    """Fork a writer."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ours)
            write(state, index, theirs, seed)
        except BaseException as error:
            os.write(theirs, json.dumps(["failed", "", f"{type(error).__name__}: {error}"]).encode() + b"\n")
        finally:
            os._exit(1)
    os.close(theirs)
    mine = {name: values for name, values in known.items() if name.startswith(f"writer{index}/")}
    return Writer(pid, ours, known=mine)


def listen(writers: list[Writer], seconds: float) -> None:
    """Let the writers work for a time, kill them, and take in all that they said."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for writer in writers:
            selector.register(writer.fd, selectors.EVENT_READ, writer)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                key.data.said += os.read(key.fd, 65536)
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
    for writer in writers:
        os.waitpid(writer.pid, 0)
        while data := os.read(writer.fd, 65536):
            writer.said += data
        os.close(writer.fd)


def judge(writer: Writer, counts: Counter[str]) -> None:
    """Follow what a writer said: ``known`` becomes what its answered steps left."""
    for line in writer.said.split(b"\n")[:-1]:
        if line == b"done":
            assert writer.under_way is not None
            writer.known = after(writer.known, writer.under_way)
            counts[writer.under_way[0]] += 1
            writer.under_way = None
        else:
            writer.under_way = json.loads(line)
            assert writer.under_way[0] != "failed", writer.under_way[2]


def found(state: Path) -> State:
    """Read the vault as a process that starts anew."""
    vault = Vault(state, environment={})
    held = {name: vault.get(name) for name in vault.listing()}
    return {name: [item.value.decode(), *(value.decode() for value in item.former)] for name, item in held.items()}


def run(rounds: int, seed: int) -> dict[str, object]:
    """Kill writers ``rounds`` times. AssertionError: a secret was lost or torn."""
    choose = random.Random(seed)
    counts: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="vault-crash-"))
    known: State = {}
    try:
        for number in range(rounds):
            if number % FRESH_EVERY == 0:
                shutil.rmtree(folder / "state", ignore_errors=True)
                known = {}
            writers = [start(folder / "state", index, choose.randrange(2**32), known) for index in range(WRITERS)]
            listen(writers, choose.uniform(0, LONGEST))
            actual = found(folder / "state")
            for index, writer in enumerate(writers):
                judge(writer, counts)
                mine = {name: values for name, values in actual.items() if name.startswith(f"writer{index}/")}
                allowed = [writer.known]
                if writer.under_way is not None:
                    allowed.append(after(writer.known, writer.under_way))
                    counts["killed within a step"] += 1
                assert mine in allowed, f"round {number}, seed {seed}: {mine} is none of {allowed}"
            known = actual
    finally:
        shutil.rmtree(folder)
    return {"rounds": rounds, "seed": seed, "kills": rounds * WRITERS, **counts}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32))))
