"""One secret read from where the configuration says: a variable, a file, or a program's standard output.

Every error names the secret and what to do about it; none carries a value, or a program's own words, which may.
"""

import contextlib
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Final

import trio

from proxyd.core.settings import SecretSource
from proxyd.core.units import KIB
from proxyd.vault.forms import is_cut, is_document

MAX_BYTES: Final = 64 * KIB
"""The longest value; a header field is 60 KiB at most."""

CLEAN_ENVIRONMENT: Final = ("PATH", "HOME", "LANG")
"""Variables that a command gets; the others may hold secrets of their own."""


class SecretError(Exception):
    """A secret cannot be had; the text says which, why, and what to do."""


async def read(source: SecretSource) -> bytes:
    """Return the value; SecretError. Cancelled, a command is killed with all that it started."""
    if source.env:
        raw = _variable(source)
    elif source.file:
        raw = await trio.to_thread.run_sync(_file, source, abandon_on_cancel=True)
    else:
        raw = await _command(source)
    return checked(source, raw)


def place(source: SecretSource) -> str:
    """Say where a secret comes from, for messages; arguments of a command are left out."""
    if source.env:
        return f"environment variable {source.env}"
    if source.outside is not None:
        return f"vault {source.outside.vault}"
    return f"file {source.file}" if source.file else f"command {source.command[0]}"


def stamp(source: SecretSource) -> tuple[int, ...]:
    """Return what changes when a file does (symbolic links followed); empty while it is not there."""
    try:
        found = Path(source.file).stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def exposure(source: SecretSource) -> str:
    """Say that a file is open to others, or nothing.

    Root's file that our group may read is how a service gets one that it cannot change (0640 root:proxyd, fsGroup).
    """
    if not source.file:
        return ""
    try:
        found = Path(source.file).stat()
    except OSError:
        return ""
    mode = stat.S_IMODE(found.st_mode)
    is_lent = found.st_uid == 0 != os.geteuid() and found.st_gid == os.getegid()
    if not mode & (0o037 if is_lent else 0o077):
        return ""
    return f"secret {source.name}: file {source.file} is open to others (mode {mode:04o}); chmod 600 it"


def _variable(source: SecretSource) -> bytes:
    value = os.environb.get(os.fsencode(source.env))
    if value is None:
        raise SecretError(
            f"secret {source.name}: the environment variable {source.env} is not set; set it for proxyd and start again"
        )
    return value


def _file(source: SecretSource) -> bytes:
    try:
        # Not blocking: opening a FIFO would wait for its writer.
        descriptor = os.open(source.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SecretError(f"secret {source.name}: {source.file} is not a regular file; name a file")
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SecretError(
            f"secret {source.name}: file {source.file} cannot be read: {error.strerror}; "
            "create it, or let proxyd's user read it"
        ) from None


async def _command(source: SecretSource) -> bytes:
    process = await _start(source)
    code: int | None = None
    try:
        with trio.fail_after(source.timeout):
            output = await _output(source, process)
            code = await process.wait()
    except trio.TooSlowError:
        raise SecretError(
            f"secret {source.name}: command {source.command[0]} took longer than {source.timeout:g} s and was killed; "
            "raise its timeout or make it faster"
        ) from None
    finally:
        if code is None:
            await _kill(process)
    if code:
        raise SecretError(
            f"secret {source.name}: command {source.command[0]} ended with {_ending(code)}; run it by hand with "
            f"{', '.join(CLEAN_ENVIRONMENT)} as its only variables to see why"
        )
    return output


async def _start(source: SecretSource) -> trio.Process:
    try:
        return await trio.lowlevel.open_process(
            list(source.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in CLEAN_ENVIRONMENT if name in os.environ},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise SecretError(
            f"secret {source.name}: command {source.command[0]} cannot be started: {error.strerror}; check its path"
        ) from None


async def _output(source: SecretSource, process: trio.Process) -> bytes:
    if process.stdout is None:
        raise AssertionError("stdout is a pipe")
    output = bytearray()
    async with process.stdout:
        while data := await process.stdout.receive_some(MAX_BYTES):
            output += data
            if len(output) > MAX_BYTES:
                raise SecretError(_too_long(source))
    return bytes(output)


async def _kill(process: trio.Process) -> None:
    """Kill the process group; its leader was not reaped yet, so the number cannot be another's."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with trio.CancelScope(shield=True):
        await process.wait()


def checked(source: SecretSource, raw: bytes) -> bytes:
    """Return a value as it is used, without a newline at its end. SecretError."""
    if len(raw) > MAX_BYTES:
        raise SecretError(_too_long(source))
    value = raw.removesuffix(b"\n")
    if len(value) != len(raw):
        value = value.removesuffix(b"\r")
    if not value:
        raise SecretError(f"secret {source.name}: {place(source)} is empty; put the value there")
    if is_document(value):
        if is_cut(value):
            raise SecretError(
                f"secret {source.name}: {place(source)} holds the beginning of a document and not its end"
            )
        return value
    for byte, name in ((b"\n", "a line break (LF)"), (b"\r", "a carriage return (CR)"), (b"\0", "a NUL byte")):
        if byte in value:
            raise SecretError(
                f"secret {source.name}: {place(source)} holds {name} inside the value; only one newline at the end "
                "is allowed"
            )
    return value


def _too_long(source: SecretSource) -> str:
    return f"secret {source.name}: {place(source)} gives more than {MAX_BYTES // KIB} KiB; name the value alone"


def _ending(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"
