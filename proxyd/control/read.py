"""The configuration is read in a process of its own, which ends with it.

Models and parser weigh some 12 MB that control would carry for ever, and a file that makes the parser loop or swell
ends as a refused reload. The first reading is forked, for the start's sake; later ones are executed, since control has
threads by then. Settings come back as MessagePack, checked like everything that comes from another process.
"""

import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import msgpack
import trio

from proxyd.core.plain import from_plain, to_plain
from proxyd.core.settings import Settings
from proxyd.core.units import KIB, MIB

READ_SECONDS: Final = 30.0
MAX_BYTES: Final = 32 * MIB
"""The longest answer; a configuration file has 4 MiB at most."""

_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV")
_CHUNK: Final = 64 * KIB


class SettingsError(Exception):
    """A configuration that is not used; ``problems`` are sentences, all of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration stands."""

    path: Path | None
    """None: the embedded default."""
    state_dir: Path
    runtime_dir: Path

    @property
    def name(self) -> str:
        """How messages call it."""
        return str(self.path) if self.path is not None else "the embedded default"


class FirstReading:
    """Begun before trio runs and before there is a thread, finished by ``result``."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._fd, theirs = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _answer_and_exit(source, theirs)
        os.close(theirs)

    async def result(self) -> Settings:
        """Return the settings. SettingsError."""
        data: bytes | None = None
        try:
            with trio.move_on_after(READ_SECONDS):
                data = await self._read()
        finally:
            os.close(self._fd)
            if data is None:
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)  # noqa: ASYNC222 - it closed its end as its last act, or was killed
        return _settings(self._source, data)

    async def _read(self) -> bytes:
        data = bytearray()
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            chunk = os.read(self._fd, _CHUNK)
            if not chunk:
                return bytes(data)
            data += chunk


async def read(source: Source) -> Settings:
    """Read the configuration again. SettingsError."""
    command = [sys.executable, "-P", "-m", "proxyd.control.read", str(source.state_dir), str(source.runtime_dir)]
    command += [str(source.path)] if source.path is not None else []
    environment = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("PYTHON")}
    data: bytes | None = None
    with trio.move_on_after(READ_SECONDS):
        try:
            ended = await trio.run_process(
                command, capture_stdout=True, check=False, env=environment, deliver_cancel=_kill
            )
        except OSError as error:
            raise SettingsError([f"{source.name} cannot be read again: {error.strerror}"]) from error
        data = ended.stdout
    return _settings(source, data)


def answer(source: Source) -> bytes:
    """Read the configuration in this process, which ends with it; return settings or mistakes for ``_settings``."""
    gc.disable()  # a fifth of the time where much of the catalogue is used
    from proxyd.config.load import default_settings, load
    from proxyd.reading.problems import ConfigError

    try:
        if source.path is None:
            settings = default_settings()
        else:
            settings = load(source.path, source.state_dir, source.runtime_dir)
    except ConfigError as error:
        return _pack({"mistakes": str(error).splitlines()})
    return _pack({"settings": to_plain(settings)})


def main(arguments: Sequence[str]) -> int:
    """Answer on standard output: ``STATE_DIR RUNTIME_DIR [FILE]``."""
    state_dir, runtime_dir, *path = map(Path, arguments)
    sys.stdout.buffer.write(answer(Source(path[0] if path else None, state_dir, runtime_dir)))
    return 0


def _answer_and_exit(source: Source, fd: int) -> NoReturn:
    code = 1
    try:
        with open(fd, "wb") as pipe:
            pipe.write(answer(source))
        code = 0
    except BaseException:  # noqa: BLE001 - the forked process's outermost frame
        traceback.print_exc()
    finally:
        os._exit(code)


async def _kill(process: trio.Process) -> None:
    process.kill()  # it has nothing to tidy up


def _settings(source: Source, data: bytes | None) -> Settings:
    if data is None:
        raise SettingsError([f"{source.name} could not be read within {READ_SECONDS:g} s; make the file smaller"])
    try:
        plain: Any = msgpack.unpackb(data, max_array_len=MAX_BYTES, max_map_len=MAX_BYTES, max_bin_len=MAX_BYTES)
        if "mistakes" in plain:
            raise SettingsError(from_plain(list[str], plain["mistakes"]))
        return from_plain(Settings, plain["settings"])
    except (ValueError, TypeError, KeyError, msgpack.UnpackException):
        problem = f"{source.name} could not be read: the process that reads it has failed; its error is in the log"
    raise SettingsError([problem])


def _pack(value: object) -> bytes:
    return cast(bytes, msgpack.packb(value, use_bin_type=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
