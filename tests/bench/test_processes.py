import sys

import psutil
import pytest

from bench.ports import answers, free_ports
from bench.processes import StartError, Tree, plain_environment

FORKING = "import os, signal; os.fork(); signal.pause()"


@pytest.fixture
def tree(tmp_path):
    tree = Tree([sys.executable, "-c", FORKING], tmp_path / "log")
    yield tree
    tree.stop()


def test_the_whole_tree_is_counted_and_stopped(tree):
    tree.wait_until(lambda: len(tree.pids()) == 2, 30)
    pids = tree.pids()
    assert tree.pss_bytes() > 0
    tree.stop()
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
    assert tree.pids() == []


def test_a_program_that_ends_early_is_an_error_with_its_last_words(tmp_path):
    tree = Tree([sys.executable, "-c", "print('no such port'); raise SystemExit(3)"], tmp_path / "log")
    with pytest.raises(StartError, match="exited with 3: no such port"):
        tree.wait_until(lambda: False, 30)


def test_proxy_variables_of_the_caller_do_not_reach_a_peer(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert plain_environment({"A": "b"})["A"] == "b"
    assert "HTTP_PROXY" not in plain_environment()


def test_free_ports_are_different_and_silent():
    ports = free_ports(3)
    assert len(set(ports)) == 3
    assert not any(answers(port) for port in ports)
