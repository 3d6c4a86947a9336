import json
import os
import subprocess
import sys

import pytest

from proxyd.net import process

REPORT = """
import ctypes, json, os, resource
from proxyd.net import process
done = process.harden()
hard = process.raise_nofile()
process.set_name("a-rather-long-name")
print(json.dumps({
    "done": done,
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard),
    "name": open("/proc/self/comm").read().strip(),
}))
"""
DESCRIPTORS = """
import os, sys
from proxyd.net import process
kept, closed = map(int, sys.argv[1:])
process.seal_descriptors()
assert not os.get_inheritable(kept) and os.get_inheritable(1)
process.close_descriptors({kept})
os.fstat(kept)
try:
    os.fstat(closed)
except OSError:
    print("closed")
"""


def python(source, *arguments, dumpable="", pass_fds=()):
    environment = {**os.environ, "PROXYD_DUMPABLE": dumpable}
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.run(
        command, env=environment, capture_output=True, check=True, text=True, pass_fds=pass_fds
    ).stdout


@pytest.mark.parametrize(("dumpable", "done"), [("", True), ("1", False), ("0", True)])
def test_a_process_hardens_itself_unless_profilers_shall_read_it(dumpable, done):
    report = json.loads(python(REPORT, dumpable=dumpable))
    assert report["done"] is done
    assert report["dumpable"] == (0 if done else 1)
    if done:
        assert report["core"] == 0
    assert report["nofile"]
    assert report["name"] == "a-rather-long-n"


def test_descriptors_are_sealed_and_closed():
    read, write = os.pipe()
    try:
        assert python(DESCRIPTORS, read, write, pass_fds=(read, write)) == "closed\n"
    finally:
        os.close(read)
        os.close(write)


def test_a_process_is_running_until_it_is_reaped() -> None:
    assert process.is_running(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not process.is_running(child.pid)
    assert not process.is_running(2**70)
