"""HTTP/2 as programs speak it: curl, Node and httpx through a real daemon, by interception and at a gateway."""

import dataclasses
import hashlib
import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lab.curl import curl
from tests.lab.daemon import Daemon, configuration, environment, wait_until
from tests.lab.origin import BASE_URL, TOKEN, Origin
from tests.lab.pki import Pki
from tests.lab.tools import require_node, require_tool

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).parent / "clients" / "http2.mjs"


@dataclasses.dataclass(frozen=True)
class Served:
    daemon: Daemon
    origin: Origin

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.daemon.address('open')[1]}/tickets"

    def curl(self, way: str, path: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """Fetch by HTTP/2 in one of the two ways; ``%{http_version}`` is the last line."""
        words = ("-w", "\n%{http_code} %{http_version}", *options)
        if way == "intercept":
            return curl(self.daemon, BASE_URL + path, "--http2", *words)
        command = [require_tool("curl"), "-sS", "--http2-prior-knowledge", *words, self.gateway + path]
        variables = environment(self.daemon.folder)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=variables)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("http2")
    config = configuration(origin, pki, folder)
    config["listeners"].append({"name": "open", "mode": "gateway", "address": "127.0.0.1:0", "open": True})
    with Daemon(folder, config) as daemon:
        yield Served(daemon, origin)


@pytest.fixture(params=["intercept", "gateway"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def body_of(done: "subprocess.CompletedProcess[str]", status: int = 200) -> str:
    assert done.returncode == 0, done.stderr
    body, _, last = done.stdout.rpartition("\n")
    assert last == f"{status} 2"
    return body


def credential(answer: dict[str, Any]) -> str:
    """What the origin says that it got, masked on its way back."""
    return str(dict(answer["headers"])["authorization"])


def test_curl_gets_the_credential(served: Served, way: str) -> None:
    mark = len(served.daemon.log())
    answer = json.loads(body_of(served.curl(way, "/echo?a=b", "-H", "x-mine: 1", "-b", "c=d")))
    assert answer["target"] == "/v2/echo?a=b"
    assert credential(answer) == "Bearer " + "*" * len(TOKEN)
    fields = dict(answer["headers"])
    assert (fields["x-mine"], fields["cookie"]) == ("1", "c=d")
    record = served.daemon.wait_for_log(mark + 1)[mark]
    assert (record["status"], record["mode"], record["service"], record["version"]) == (200, way, "tickets", "2")


def test_curl_sends_and_receives_large_bodies(served: Served, way: str, tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    (tmp_path / "body").write_bytes(data)
    answer = json.loads(body_of(served.curl(way, "/echo", "--data-binary", f"@{tmp_path}/body")))
    assert (answer["body_bytes"], answer["body_sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    for path in ("/bytes?n=20000000", "/bytes?n=20000000&chunked=1"):
        body_of(served.curl(way, path, "-o", str(tmp_path / "answer")))
        assert (tmp_path / "answer").stat().st_size == 20_000_000


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/hints", "103"),
        ("/trailers", "x-checksum: 42"),
    ],
)
def test_curl_sees_what_surrounds_a_message(served: Served, way: str, path: str, words: str) -> None:
    done = served.curl(way, path, "-v")
    body_of(done)
    assert words in done.stderr


def test_curl_is_told_of_a_body_that_breaks_off(served: Served, way: str) -> None:
    done = served.curl(way, "/truncated?n=100000")
    assert done.returncode in (18, 92)  # partial file, stream error


def test_many_requests_of_one_curl_share_a_connection(served: Served) -> None:
    # curl 7.88 fails at this by prior knowledge, whatever the server
    target = "/echo?[1-40]"
    done = served.curl(
        "intercept", target, "-Z", "--parallel-max", "20", "-w", "%{num_connects} %{http_code}\n", "-o", os.devnull
    )
    assert done.returncode == 0, done.stderr
    counts = [line.split() for line in done.stdout.splitlines() if line]
    assert {status for _, status in counts} == {"200"}
    assert sum(int(connects) for connects, _ in counts) <= 2


@pytest.mark.parametrize("size", [0, 1000, 300_000])
def test_node_asks_on_many_streams_at_once(served: Served, way: str, size: int) -> None:
    url = BASE_URL if way == "intercept" else served.gateway
    variables = environment(served.daemon.folder, {"PROXY": served.daemon.url, "CA": str(served.daemon.ca)})
    command = [require_node()[0], str(SCRIPT), f"{url}/echo", "30", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=variables)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [answer["status"] for answer in answers] == [200] * 30
    for number, answer in enumerate(answers):
        echo = json.loads(answer["body"])
        assert echo["target"] == f"/v2/echo?number={number}"
        assert echo["body_sha256"] == hashlib.sha256(bytes([number]) * size).hexdigest()
        assert dict(echo["headers"])["cookie"] == "a=1; b=2"


def test_httpx_speaks_it_through_the_proxy(served: Served) -> None:
    context = ssl.create_default_context(cafile=str(served.daemon.ca))
    with httpx.Client(http2=True, proxy=served.daemon.url, verify=context) as client:
        for number in range(3):
            answer = client.post(f"{BASE_URL}/echo", content=b"x" * number * 50_000)
            assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
            assert answer.json()["body_bytes"] == number * 50_000


def test_clients_that_want_http1_get_it(served: Served) -> None:
    done = curl(served.daemon, f"{BASE_URL}/echo", "--http1.1", "-w", "\n%{http_version}")
    assert done.stdout.endswith("\n1.1")


def test_upgrades_and_reloads_under_load_lose_no_stream(
    tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki
) -> None:
    folder = tmp_path_factory.mktemp("http2-upgrade")
    config = configuration(origin, pki, folder) | {"workers": 2}
    config["listeners"].append({"name": "open", "mode": "gateway", "address": "127.0.0.1:0", "open": True})
    script = SCRIPT.with_name("http2_load.mjs")
    with Daemon(folder, config) as daemon:
        url = f"http://127.0.0.1:{daemon.address('open')[1]}/tickets/echo"
        command = [require_node()[0], str(script), url]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment(folder)) as load:
            assert load.stdin is not None
            assert load.stdout is not None
            try:
                load.stdout.readline()
                for words in (("upgrade", "--json"), ("reload",), ("upgrade", "--json")):
                    done = daemon.run(*words)
                    assert done.returncode == 0, done.stderr
                    for _ in range(5):
                        load.stdout.readline()
                load.stdin.close()
                tally = json.loads(load.stdout.read().splitlines()[-1])
            finally:
                load.kill()
        wait_until(lambda: not daemon.status()["draining"], "former generations to end")
        assert tally["errors"] == []
        assert tally["connections"] >= 3
        assert tally["done"] >= 1500
