"""Each act on a vault, killed before every single file operation in turn: ``python -m tests.vault.steps``.

A forked process counts what CPython's audit events tell of the file system and kills itself before the n-th; then a
process that starts anew must find the state from before the act or from after it, and be able to do the act again.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxyd.certs import root as roots
from proxyd.certs.root import ROOT_FILE, open_root
from proxyd.vault.backup import backup, restore
from proxyd.vault.compartment import Compartment
from proxyd.vault.errors import NoSuchSecret
from proxyd.vault.keys import NewKey
from proxyd.vault.store import Vault

OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate"}
MOST = 200


def vault(folder: Path) -> Vault:
    """Open it as a process that starts anew."""
    return Vault(folder / "state", environment={})


def values(folder: Path) -> dict[str, list[bytes]]:
    """Return all that it gives out."""
    opened = vault(folder)
    return {name: [opened.get(name).value, *opened.get(name).former] for name in opened.listing()}


@dataclass
class Act:
    """One thing that is done to a vault."""

    prepare: Callable[[Path], object]
    do: Callable[[Path], object]
    look: Callable[[Path], object] = values


def two_secrets(folder: Path) -> None:
    opened = vault(folder)
    opened.set("a", b"one")
    opened.set("b", b"two")


def remove_a(folder: Path) -> None:
    with contextlib.suppress(NoSuchSecret):
        vault(folder).remove("a")


def a_backup(folder: Path) -> None:
    two_secrets(folder)
    (folder / "backup").write_bytes(backup(vault(folder)))
    vault(folder).set("a", b"later")


def a_legacy_root(folder: Path) -> None:
    (folder / "state").mkdir()
    path = folder / "state" / ROOT_FILE
    path.write_bytes(roots._encode(roots.make_root()))
    path.chmod(0o600)
    (folder / "root").write_bytes(path.read_bytes())


def root(folder: Path) -> None:
    open_root(folder / "state", Compartment(vault(folder)))


def the_root(folder: Path) -> bool:
    """Whether the root can still be had, from the file or the vault, and is the one from before."""
    path = folder / "state" / ROOT_FILE
    held = Compartment(vault(folder)).load()
    expected = (folder / "root").read_bytes()
    assert held in (None, expected)
    return (path.exists() and path.read_bytes() == expected) or held == expected


def no_state(folder: Path) -> None:
    """Nothing is there."""


ACTS = {
    "the first write": Act(no_state, lambda folder: vault(folder).set("a", b"one")),
    "set": Act(two_secrets, lambda folder: vault(folder).set("a", b"three")),
    "rotate": Act(two_secrets, lambda folder: vault(folder).rotate("a", b"three", 3600.0)),
    "rm": Act(two_secrets, remove_a),
    "rekey": Act(two_secrets, lambda folder: vault(folder).rekey()),
    "rekey to a file": Act(
        two_secrets, lambda folder: vault(folder).rekey(NewKey("file", str(folder / "elsewhere.key")))
    ),
    "rekey that accepts": Act(two_secrets, lambda folder: vault(folder).rekey(accept=True)),
    "restore": Act(a_backup, lambda folder: restore(vault(folder), (folder / "backup").read_bytes(), replacing=True)),
    "taking the CA in": Act(a_legacy_root, root, the_root),
}


def die_before(operation: int) -> None:
    """Kill this process before its n-th file operation."""
    left = operation

    def hook(event: str, arguments: object) -> None:
        nonlocal left
        if event in OPERATIONS:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def finishes(act: Act, folder: Path, operation: int) -> bool:
    """Do the act in a process that dies before the n-th operation; return whether it had fewer."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            die_before(operation)
            act.do(folder)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the act ended with {code}"
    return code == 0


def run(act: Act) -> int:
    """Kill the act before each of its operations; return how many there are."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # what is killed is a process, not a disk
    outside = Path(tempfile.mkdtemp(prefix="vault-steps-", dir=memory))
    try:
        before, done = outside / "before", outside / "after"
        before.mkdir()
        act.prepare(before)
        shutil.copytree(before, done)
        start = act.look(before)
        act.do(done)
        end = act.look(done)
        for operation in range(1, MOST):
            folder = outside / "now"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            act.prepare(folder)
            finished = finishes(act, folder, operation)
            found = act.look(folder)
            assert found in (start, end), f"killed before operation {operation}: {found}"
            act.do(folder)
            act.look(folder)
            if finished:
                return operation - 1
    finally:
        shutil.rmtree(outside)
    raise AssertionError(f"more than {MOST} operations")


if __name__ == "__main__":
    print(json.dumps({name: run(act) for name, act in ACTS.items()}))
