"""Uploads whose chunks the client signs with a placeholder: each is signed anew on its way, and memory stays flat."""

import hashlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyd.auth.aws_chunked import MAX_CHUNK
from tests.lab.daemon import Configuration, Daemon, PeakMemory
from tests.lab.pki import create_pki
from tests.lab.s3 import Store

pytestmark = pytest.mark.e2e

HOST = "s3.eu-west-1.amazonaws.com"
IDENTITY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MIB = 1024 * 1024
FLAT = 32 * MIB
CHUNK = bytes(range(256)) * 256
"""64 KiB, as SDKs send."""
PLACEHOLDER = b"0" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    pki = create_pki(tmp_path / "pki", (HOST,))
    with Store(pki, IDENTITY, SECRET) as made:
        yield made


def configuration(folder: Path, store: Store) -> Configuration:
    return {
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0", "unknown_hosts": "deny"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "workers": 1,
        "tls": {"extra_roots": str(store.roots)},
        "egress": {"allow": ["127.0.0.0/8"], "ports": ["*"]},
        "services": {
            "s3": {
                "use": "aws",
                "hosts": [HOST],
                "base_url": f"https://{HOST}",
                "endpoints": [f"127.0.0.1:{store.port}"],
                "secret": {"access_key_id": "aws/id", "secret_access_key": "aws/key"},
            }
        },
        "secrets": {"aws/id": {"env": "AWS_ID"}, "aws/key": {"env": "AWS_KEY"}},
    }


def started(folder: Path, store: Store, secret: str = SECRET) -> Daemon:
    return Daemon(folder, configuration(folder, store), {"AWS_ID": IDENTITY, "AWS_KEY": secret})


@pytest.fixture
def proxy(tmp_path: Path, store: Store) -> Iterator[Daemon]:
    with started(tmp_path / "daemon", store) as daemon:
        yield daemon


def frames(count: int, trailer: bytes, chunk: bytes = CHUNK) -> Iterator[bytes]:
    """Yield the body as the client sends it."""
    for _ in range(count):
        yield b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), PLACEHOLDER, chunk)
    yield b"0;chunk-signature=%s\r\n" % PLACEHOLDER
    if trailer:
        yield trailer + b"\r\nx-amz-trailer-signature:" + PLACEHOLDER + b"\r\n"
    yield b"\r\n"


def put(proxy: Daemon, count: int, trailer: bytes = b"", chunk: bytes = CHUNK) -> int:
    """Upload so many chunks; return the status."""
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    host, port = proxy.address("apps")
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.putrequest("PUT", f"http://{HOST}/bucket/key", skip_host=True, skip_accept_encoding=True)
    length = sum(map(len, frames(0, trailer))) + count * len(next(frames(1, b"", chunk)))
    scope = "PLACEHOLDER/20200101/eu-west-1/s3/aws4_request"
    for name, value in {
        "Host": HOST,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}",
        "X-Amz-Date": "20200101T000000Z",
        "X-Amz-Content-Sha256": kind,
        "X-Amz-Decoded-Content-Length": str(count * len(chunk)),
        "Content-Encoding": "aws-chunked",
        "Content-Length": str(length),
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    for piece in frames(count, trailer, chunk):
        connection.send(piece)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize(
    ("size", "chunk"),
    [
        (96 * MIB, CHUNK),
        (96 * MIB, CHUNK * (MAX_CHUNK // len(CHUNK))),
        pytest.param(1024 * MIB, CHUNK, marks=pytest.mark.slow),
    ],
    ids=["96 MiB", "96 MiB in the longest chunks", "1 GiB"],
)
def test_a_long_upload_is_signed_chunk_by_chunk_and_memory_flat(
    proxy: Daemon, store: Store, size: int, chunk: bytes
) -> None:
    assert put(proxy, 1) == 200, store.problems
    with PeakMemory(proxy.processes()) as memory:
        status = put(proxy, size // len(chunk), chunk=chunk)
    assert (status, store.problems) == (200, [])
    assert store.uploads[-1].size == size
    assert max(memory.growth) < FLAT, memory.growth


def test_trailers_are_signed_too_and_nothing_else_is_changed(proxy: Daemon, store: Store) -> None:
    assert put(proxy, 3, b"x-amz-checksum-crc32:AAAAAA==") == 200, store.problems
    [upload] = store.uploads
    assert upload.digest == hashlib.sha256(CHUNK * 3).hexdigest()
    assert upload.framed == upload.announced
    assert upload.trailers == ("x-amz-checksum-crc32:AAAAAA==\n",)


def test_a_wrong_secret_is_refused_by_the_store(tmp_path: Path, store: Store) -> None:
    with started(tmp_path / "daemon", store, "another" * 6) as proxy:
        assert put(proxy, 1) == 403
    assert store.problems == ["the head's signature is wrong"]


def test_what_is_no_signed_body_ends_the_upload(proxy: Daemon, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "PLACEHOLDER", b"x" * 64)
    assert put(proxy, 1) == 400
    assert store.uploads == []
