import os
import subprocess
import sys

import pytest
import trio

from proxyd.config.load import default_settings, load
from proxyd.control import read as module
from proxyd.control.read import SettingsError, Source, read

EVERYTHING = """
listeners:
  - {name: apps, mode: forward, address: 127.0.0.1:3128, unknown_hosts: tunnel}
services:
  tickets:
    hosts: [api.tickets.example, "*.tickets.example:8443"]
    base_url: https://api.tickets.example/v2
    endpoints: [127.0.0.1:8443]
    auth: {scheme: bearer, secret: tickets/token}
    timeouts: {connect: 2s, first_byte: 10s, total: 30s}
secrets:
  tickets/token: {command: [/bin/echo, "\\xe9"], timeout: 3s}
access:
  default: deny
  rules:
    - {allow: {services: [tickets], methods: [GET, POST], paths: [/v2/]}}
"""


def source(tmp_path, text):
    path = tmp_path / "proxyd.yaml"
    path.write_text(text)
    return Source(path, tmp_path / "state", tmp_path / "run")


async def test_settings_arrive_as_they_were_compiled(tmp_path):
    where = source(tmp_path, EVERYTHING)
    assert await read(where) == load(where.path, where.state_dir, where.runtime_dir)


async def test_embedded_default_is_read(tmp_path):
    assert await read(Source(None, tmp_path, tmp_path)) == default_settings()


async def test_every_mistake_arrives(tmp_path):
    with pytest.raises(SettingsError) as caught:
        await read(source(tmp_path, "listeners: []\nfoo: 1\nbar: 2\n"))
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        f"{tmp_path}/proxyd.yaml:{place}" for place in ("1:12", "2:1", "3:1")
    ]


def test_first_reading_needs_no_loop_to_begin(tmp_path):
    # In a process of its own: pytest may have threads, and a fork with threads is what must not be.
    where = source(tmp_path, EVERYTHING)
    code = (
        "import sys, pathlib, trio; from proxyd.control.read import *; "
        f"r = FirstReading(Source(pathlib.Path({str(where.path)!r}), pathlib.Path('/s'), pathlib.Path('/r'))); "
        "print(trio.run(r.result).services[0].name, 'pydantic' in sys.modules, 'yaml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "tickets False False\n"


async def test_reader_that_fails_is_a_refused_configuration(tmp_path, monkeypatch):
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    with pytest.raises(SettingsError, match="the process that reads it has failed"):
        await read(source(tmp_path, EVERYTHING))
    monkeypatch.setattr(module.sys, "executable", "/nonexistent")
    with pytest.raises(SettingsError, match="cannot be read again: No such file"):
        await read(source(tmp_path, EVERYTHING))


async def test_reader_that_hangs_is_killed(tmp_path, monkeypatch, autojump_clock):
    script = tmp_path / "hang"
    script.write_text("#!/bin/sh\nexec sleep 100\n")
    script.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(script))
    with pytest.raises(SettingsError, match="could not be read within 30 s"):
        await read(source(tmp_path, EVERYTHING))


async def test_reader_gets_no_secret_in_its_environment(tmp_path, monkeypatch):
    seen = []

    async def run_process(command, *, env, **options):
        seen.append(env)
        raise OSError(2, "No such file or directory")

    monkeypatch.setenv("TICKETS_TOKEN", "hunter2")
    monkeypatch.setattr(trio, "run_process", run_process)
    with pytest.raises(SettingsError):
        await read(source(tmp_path, EVERYTHING))
    assert "TICKETS_TOKEN" not in seen[0]
    assert seen[0]["PATH"] == os.environ["PATH"]


def test_answers_that_are_no_settings_are_refused(tmp_path):
    where = source(tmp_path, EVERYTHING)
    for data in (
        b"",
        b"\xc1",
        b"\x01",
        b"\x80",
        module._pack({"settings": {"source": 1}}),
        module._pack({"mistakes": 1}),
    ):
        with pytest.raises(SettingsError, match="has failed"):
            module._settings(where, data)
