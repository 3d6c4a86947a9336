import os
import sys
from pathlib import Path

import pytest
import trio

from proxyd.core.settings import SecretSource
from proxyd.vault.sources import MAX_BYTES, SecretError, exposure, place, read

VALUE = b"hunter2-hunter2"


def file_source(tmp_path, content):
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    return SecretSource("tickets/token", file=str(path))


def command_source(code, **options):
    return SecretSource("tickets/token", command=(sys.executable, "-S", "-c", code), **options)


async def problem(source):
    with pytest.raises(SecretError) as caught:
        await read(source)
    text = str(caught.value)
    assert text.startswith("secret tickets/token: ")
    assert VALUE.decode() not in text
    assert caught.value.__cause__ is None
    return text


async def test_variable_is_read_as_bytes(monkeypatch):
    monkeypatch.setitem(os.environb, b"TICKETS_TOKEN", b"caf\xe9")
    assert await read(SecretSource("tickets/token", env="TICKETS_TOKEN")) == b"caf\xe9"


async def test_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("TICKETS_TOKEN", raising=False)
    text = await problem(SecretSource("tickets/token", env="TICKETS_TOKEN"))
    assert "TICKETS_TOKEN is not set; set it" in text


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
async def test_one_newline_at_the_end_is_dropped(tmp_path, end):
    assert await read(file_source(tmp_path, VALUE + end)) == VALUE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (VALUE + b"\n\n", "line break"),
        (VALUE + b"\r", "carriage return"),
        (VALUE + b"\r\r\n", "carriage return"),
        (b"a\n" + VALUE, "line break"),
        (b"a\0" + VALUE, "NUL"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (VALUE * MAX_BYTES, "more than 64 KiB"),
    ],
)
async def test_value_that_no_header_can_carry_is_refused(tmp_path, content, words):
    assert words in await problem(file_source(tmp_path, content))


async def test_longest_value_is_read(tmp_path):
    assert len(await read(file_source(tmp_path, b"x" * MAX_BYTES))) == MAX_BYTES


async def test_file_that_is_missing_is_named(tmp_path):
    text = await problem(SecretSource("tickets/token", file=str(tmp_path / "none")))
    assert f"{tmp_path}/none cannot be read: No such file" in text


async def test_fifo_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in await problem(SecretSource("tickets/token", file=str(tmp_path / "fifo")))


def test_file_open_to_others_is_warned_of(tmp_path):
    source = file_source(tmp_path, VALUE)
    assert exposure(source) == ""
    os.chmod(source.file, 0o640)
    assert "mode 0640); chmod 600 it" in exposure(source)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of root's")
@pytest.mark.parametrize(
    ("gid", "mode", "warned"), [(7, 0o640, False), (8, 0o640, True), (7, 0o644, True), (7, 0o660, True)]
)
def test_root_s_file_may_be_lent_to_the_daemon_s_group(tmp_path, monkeypatch, gid, mode, warned):
    source = file_source(tmp_path, VALUE)
    os.chown(source.file, 0, gid)
    os.chmod(source.file, mode)
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    monkeypatch.setattr(os, "getegid", lambda: 7)
    assert bool(exposure(source)) == warned


async def test_output_of_a_command_is_the_value():
    assert await read(command_source(f"print({VALUE.decode()!r})")) == VALUE


async def test_command_gets_no_variable_but_three_and_no_input(monkeypatch):
    monkeypatch.setenv("OTHER_SECRET", "x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    code = "import os, sys; print(sorted(os.environ), len(sys.stdin.read()), os.getcwd(), os.getsid(0) == os.getpid())"
    assert await read(command_source(code)) == b"['HOME', 'LANG', 'PATH'] 0 / True"


async def test_arguments_go_through_no_shell():
    source = SecretSource("tickets/token", command=("/bin/echo", "$HOME; `id`"))
    assert await read(source) == b"$HOME; `id`"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"import sys; print({VALUE.decode()!r}); sys.exit(3)", "ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "ended with signal 9"),
        (f"raise SystemExit({VALUE.decode()!r})", "ended with exit code 1"),
        ("while True: print('x' * 65536)", "more than 64 KiB"),
        ("pass", "is empty"),
    ],
)
async def test_failing_command_is_named_and_never_quoted(code, words):
    text = await problem(command_source(code))
    assert words in text
    assert sys.executable in text
    assert "-c" not in text


async def test_command_that_is_not_there_is_named():
    source = SecretSource("tickets/token", command=("/nonexistent/tool", "argument"))
    text = await problem(source)
    assert "/nonexistent/tool cannot be started" in text
    assert "argument" not in text


GRANDCHILD = """
import os, time
if os.fork() == 0:
    os.write({pipe}, str(os.getpid()).encode())
    time.sleep(100)
{after}
"""


async def pid_of(pipe):
    await trio.lowlevel.wait_readable(pipe)
    return int(os.read(pipe, 100))


def is_alive(pid):
    """Whether the process runs: a zombie that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def ended(pid):
    with trio.fail_after(10):
        while is_alive(pid):  # noqa: ASYNC110 - no event tells of a stranger's end
            await trio.sleep(0.01)


@pytest.mark.parametrize("after", ["time.sleep(100)", "os._exit(0)"], ids=["both hang", "the child hangs on to stdout"])
async def test_timeout_kills_all_that_a_command_started(tmp_path, after):
    script, fifo = tmp_path / "script", tmp_path / "fifo"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    script.write_text(GRANDCHILD.format(pipe=f"os.open({str(fifo)!r}, os.O_WRONLY)", after=after))
    source = SecretSource("tickets/token", command=(sys.executable, "-S", str(script)), timeout=1.0)
    try:
        assert "took longer than 1 s and was killed" in await problem(source)
        await ended(await pid_of(pipe))
    finally:
        os.close(pipe)


async def test_cancelled_command_is_killed(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    code = f"import os, time; os.write(os.open({str(fifo)!r}, os.O_WRONLY), str(os.getpid()).encode()); time.sleep(100)"
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, command_source(code))
            pid = await pid_of(pipe)
            nursery.cancel_scope.cancel()
        assert not is_alive(pid)
    finally:
        os.close(pipe)


def test_place_names_no_argument():
    assert place(SecretSource("s", command=("/bin/tool", "--key=x"))) == "command /bin/tool"
    assert place(SecretSource("s", env="A")) == "environment variable A"
    assert place(SecretSource("s", file="/f")) == "file /f"
