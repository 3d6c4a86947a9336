import errno
import os
import resource
import subprocess
import sys

import pytest

from proxyd_plugins.access_log import file as module
from proxyd_plugins.access_log.file import LogFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def log(path):
    log = LogFile(str(path))
    log.open()
    yield log
    log.close()


@pytest.fixture
def room(monkeypatch):
    """How many bytes the disk still takes; None: any number."""
    left = {"bytes": None}
    write = os.write

    def limited(descriptor, data):
        if left["bytes"] is None:
            return write(descriptor, data)
        if not left["bytes"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(descriptor, data[: left["bytes"]])
        left["bytes"] -= done
        return done

    monkeypatch.setattr(os, "write", limited)
    return left


def write(log, text):
    lost, problem, moved = log.write(bytearray(text))
    assert moved is None
    return lost, problem and problem.errno


def test_lines_are_appended(log, path):
    assert write(log, b"one\n") == (0, None)
    assert write(log, b"two\nthree\n") == (0, None)
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("taken", "kept", "lost"), [(0, b"", 3), (2, b"", 3), (4, b"one\n", 2), (9, b"one\ntwo\n", 1)])
def test_a_full_disk_tears_no_line(log, path, room, taken, kept, lost):
    room["bytes"] = taken
    assert write(log, b"one\ntwo\nthree\n") == (lost, errno.ENOSPC)
    assert path.read_bytes() == kept
    assert write(log, b"lost\n") == (1, errno.ENOSPC)
    room["bytes"] = None
    assert write(log, b"after\n") == (0, None)
    assert path.read_bytes() == kept + b"after\n"


def test_a_torn_line_is_completed_where_it_cannot_be_cut_off(log, path, room, monkeypatch):
    monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "append-only")))
    room["bytes"] = 6
    assert write(log, b"one\ntwo\nthree\n") == (1, errno.ENOSPC)
    assert write(log, b"lost\n") == (1, errno.ENOSPC)
    room["bytes"] = 1
    assert write(log, b"lost\n") == (1, errno.ENOSPC)
    room["bytes"] = None
    assert write(log, b"after\n") == (0, None)
    assert path.read_bytes() == b"one\ntwo\nafter\n"


def test_what_another_process_appended_meanwhile_is_not_cut_off(log, path, room, monkeypatch):
    fstat = os.fstat

    def with_neighbour(descriptor):
        with path.open("ab", buffering=0) as neighbour:
            neighbour.write(b"NEIGHBOUR")
        return fstat(descriptor)

    room["bytes"] = 6
    with monkeypatch.context() as patch:
        patch.setattr(log, "_is_regular", lambda: True)
        patch.setattr(os, "fstat", with_neighbour)
        write(log, b"one\ntwo\n")
    assert b"NEIGHBOUR" in path.read_bytes()


def test_a_limit_on_the_size_of_files_is_met_like_a_full_disk(path):
    program = (
        "import sys, resource; from proxyd_plugins.access_log.file import LogFile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))\n"
        "log = LogFile(sys.argv[1]); log.open()\n"
        "lost, problem, _ = log.write(bytearray(b'one\\ntwo\\nthree\\n')); print(lost, problem.errno)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "print(log.write(bytearray(b'after\\n')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"1 {errno.EFBIG}", "(0, None, None)"]
    assert path.read_bytes() == b"one\ntwo\nafter\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_line_that_a_crash_tore_is_not_continued(path):
    path.write_bytes(b'{"id":"1"}\n{"id":')
    log = LogFile(str(path))
    log.open()
    write(log, b'{"id":"2"}\n')
    log.close()
    assert path.read_bytes() == b'{"id":"1"}\n{"id":\n{"id":"2"}\n'


def test_a_moved_file_is_left_within_a_second(log, path, monkeypatch):
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    write(log, b"old\n")
    path.rename(path.with_suffix(".1"))
    write(log, b"still old\n")
    now += module.LOOK_SECONDS
    write(log, b"new\n")
    assert path.read_bytes() == b"new\n"
    assert path.with_suffix(".1").read_bytes() == b"old\nstill old\n"


def test_a_moved_file_is_left_at_once_when_it_is_opened_again(log, path):
    write(log, b"old\n")
    path.rename(path.with_suffix(".1"))
    log.open()
    write(log, b"new\n")
    assert path.read_bytes() == b"new\n"


def test_opening_again_without_a_rotation_keeps_the_descriptor(log):
    before = log._descriptor
    log.open()
    assert log._descriptor == before


def test_a_moved_file_goes_on_where_no_new_one_can_be_made(log, tmp_path, path, monkeypatch):
    log._looked = 0.0
    (tmp_path / "moved").mkdir()
    path.rename(tmp_path / "moved" / "log")
    log.path = str(tmp_path / "absent" / "log")
    lost, problem, moved = log.write(bytearray(b"on\n"))
    assert (lost, problem, moved.errno) == (0, None, errno.ENOENT)
    assert (tmp_path / "moved" / "log").read_bytes() == b"on\n"


def test_a_fifo_without_a_reader_is_refused_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device") as caught:
        LogFile(str(tmp_path / "fifo")).open()
    assert caught.value.errno == errno.ENXIO


def test_a_fifo_goes_on_when_its_reader_comes_back(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    log = LogFile(str(tmp_path / "fifo"))
    log.open()
    write(log, b"one\n")
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    assert write(log, b"lost\n") == (1, errno.EPIPE)
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    log._looked = 0.0
    assert write(log, b"two\n") == (0, None)
    assert os.read(reader, 100) == b"two\n"
    os.close(reader)
    log.close()


def test_nothing_is_written_after_the_end(log, path):
    log.close()
    assert write(log, b"late\n") == (1, errno.EBADF)
    log.open()
    assert write(log, b"late\n") == (1, errno.EBADF)
    assert path.read_bytes() == b""


def test_standard_output_is_a_path(capfd):
    log = LogFile("-")
    log.open()
    write(log, b"out\n")
    log.close()
    assert capfd.readouterr().out == "out\n"
