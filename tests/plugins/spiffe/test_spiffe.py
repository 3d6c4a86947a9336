"""Identities of SPIFFE from a scripted Workload API over real gRPC, by the door that control uses."""

import subprocess
import sys

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

grpc = pytest.importorskip("grpc")

from hypothesis import given  # noqa: E402 - what follows needs grpc
from hypothesis import strategies as st  # noqa: E402

import proxyd_plugins.spiffe as module  # noqa: E402
from proxyd.core.settings import Reference, SecretSource, VaultSource  # noqa: E402
from proxyd.sdk.options import OptionsError, read_options  # noqa: E402
from proxyd.vault.outside.plugin import PluginVault  # noqa: E402
from proxyd.vault.outside.provider import OutsideError  # noqa: E402
from proxyd.vault.outside.vaults import Vaults  # noqa: E402
from proxyd.vault.secrets import Secrets  # noqa: E402
from proxyd_plugins.spiffe.wire import MalformedAnswer, read_answer  # noqa: E402
from tests.lab.workload_api import TrustDomain, WorkloadApi, message  # noqa: E402

LAB = TrustDomain()


@pytest.fixture
def agent(tmp_path):
    with WorkloadApi(tmp_path / "agent.sock", b"") as running:
        yield running


@pytest.fixture
async def vault(agent, monkeypatch):
    monkeypatch.setattr(module, "TOGETHER_SECONDS", 0.0)
    source = VaultSource("spire", kind="spiffe", options={"endpoint": agent.endpoint})
    return PluginVault(source, lambda name: None, lambda *words: None)


async def read(vault, path, field=""):
    return await vault.read(Reference("spire", path, field))


async def test_each_part_of_an_identity_is_had(agent, vault):
    identity, other = LAB.issue(), TrustDomain("other.example")
    agent.give(identity, crls=(LAB.crl(),), federated={"spiffe://other.example": other.bundle})
    found = await read(vault, "x509/certificate")
    assert found.value("") == identity.certificate_pem
    assert found.version == f"{identity.leaf.serial_number:x}"
    assert found.created == identity.leaf.not_valid_before_utc.timestamp()
    assert found.expires == identity.leaf.not_valid_after_utc.timestamp()
    assert (await read(vault, "x509/key")).value("") == identity.key_pem
    assert (await read(vault, "x509/pem")).value("") == identity.certificate_pem + identity.key_pem
    bundle = await read(vault, "x509/bundle")
    assert bundle.value("").count(b"BEGIN CERTIFICATE") == 1
    assert bundle.expires == 0.0
    assert (await read(vault, "x509/bundle/other.example")).value("") != bundle.value("")
    assert (await read(vault, "x509/crl")).value("").startswith(b"-----BEGIN X509 CRL-----")


async def test_a_chain_stands_behind_the_leaf(agent, vault):
    identity = LAB.issue()
    chained = message((1, b"id"), (2, _der(identity) + LAB.bundle), (3, _key(identity)), (4, LAB.bundle * 3), (9, 7))
    agent.answer = message((1, chained))
    assert (await read(vault, "x509/certificate")).value("").count(b"BEGIN CERTIFICATE") == 2
    assert (await read(vault, "x509/bundle")).value("").count(b"BEGIN CERTIFICATE") == 3


async def test_the_first_identity_counts_unless_one_is_named(agent, vault):
    first, second = LAB.issue("/one"), LAB.issue("/two")
    second.hint = "internal"
    agent.give(first, second)
    assert (await read(vault, "x509/certificate")).value("") == first.certificate_pem
    for name in ("internal", "spiffe://lab.example/two"):
        assert (await read(vault, "x509/certificate", name)).value(name) == second.certificate_pem
    with pytest.raises(OutsideError, match="no identity nobody; there are 2 others"):
        await read(vault, "x509/certificate", "nobody")


async def test_a_certificate_and_its_key_come_from_one_answer(agent, vault, monkeypatch):
    monkeypatch.setattr(module, "TOGETHER_SECONDS", 60.0)
    identity = LAB.issue()
    agent.give(identity)
    assert (await read(vault, "x509/certificate")).value("") == identity.certificate_pem
    agent.give(LAB.issue())
    assert (await read(vault, "x509/key")).value("") == identity.key_pem
    assert agent.calls == 1


async def test_what_rotates_is_followed(agent, monkeypatch):
    monkeypatch.setattr(module, "TOGETHER_SECONDS", 0.0)
    changed = []
    vaults = Vaults(lambda source: PluginVault(source, lambda name: None, lambda *words: None), lambda *words: None)
    secrets = Secrets(changed.append, vaults=vaults)
    first = LAB.issue()
    agent.give(first)
    sources = [
        SecretSource(name, outside=Reference("spire", f"x509/{name}")) for name in ("certificate", "key", "bundle")
    ]
    options = {"endpoint": agent.endpoint}
    secrets.commit(await secrets.prepare(sources, [VaultSource("spire", kind="spiffe", options=options, poll=0.05)]))
    assert secrets.get("certificate").value == first.certificate_pem.strip()
    second = LAB.issue()
    agent.give(second)
    await follow(secrets, lambda: len(changed) == 2)
    assert secrets.get("certificate").value == second.certificate_pem.strip()
    assert secrets.get("key").value == second.key_pem.strip()
    agent.answer = grpc.StatusCode.PERMISSION_DENIED
    await follow(secrets, lambda: secrets.get("key").why)
    assert secrets.get("key").value == second.key_pem.strip(), "the value in use serves on"
    assert "no identity is registered" in secrets.get("key").why
    await vaults.aclose()


async def follow(secrets, condition):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(secrets.run)
        with trio.fail_after(20):
            while not condition():  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "path", "words"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "x509/key", "no identity is registered"),
        (grpc.StatusCode.UNIMPLEMENTED, "x509/key", "socket of a Workload API"),
        (b"", "x509/key", "it holds no identity"),
        (b"\xff", "x509/key", "cannot be read"),
        (message((1, message((1, b"id")))), "x509/key", "without a certificate"),
        (None, "x509/none", "x509/none is no part of an identity"),
        (None, "x509/crl", "gives no list of revoked certificates"),
        (None, "x509/bundle/far.example", "gives no bundle of the trust domain far.example"),
    ],
)
async def test_what_is_not_had_is_told_in_words(agent, vault, answer, path, words):
    if answer is None:
        agent.give(LAB.issue())
    else:
        agent.answer = answer
    with pytest.raises(OutsideError, match=words):
        await read(vault, path)


async def test_an_agent_that_is_not_there_is_told(tmp_path):
    source = VaultSource("spire", kind="spiffe", options={"endpoint": f"unix://{tmp_path}/none.sock"})
    with pytest.raises(OutsideError, match="does the agent run"):
        await read(PluginVault(source, lambda name: None, lambda *words: None), "x509/key")


def test_a_key_of_another_certificate_is_refused():
    one, other = LAB.issue(), LAB.issue()
    other.leaf = one.leaf
    with pytest.raises(MalformedAnswer, match="not the certificate's"):
        read_answer(message((1, other.encoded())))


def test_keys_are_in_no_message_and_no_representation():
    identity = LAB.issue()
    answer = read_answer(message((1, identity.encoded())))
    assert "PRIVATE" not in repr(answer)


@given(st.data())
def test_damaged_answers_are_refused_and_nothing_else(data):
    good = message((1, IDENTITY), (2, b"x" * 5), (3, message((1, b"a"), (2, LAB.bundle))))
    noise = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        noise[data.draw(st.integers(0, len(noise) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(noise[: data.draw(st.integers(0, len(noise)))])
    try:
        read_answer(cut)
    except MalformedAnswer:
        pass


IDENTITY = LAB.issue().encoded()


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("unix:///run/agent.sock", "unix:/run/agent.sock"),
        ("unix:/run/agent.sock", "unix:/run/agent.sock"),
        ("tcp://127.0.0.1:8000", "127.0.0.1:8000"),
        ("tcp://[::1]:8000", "[::1]:8000"),
    ],
)
def test_endpoints_are_spelled_as_spiffe_does(endpoint, target, monkeypatch):
    assert read_options(module.Options, {"endpoint": endpoint}).target == target
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", endpoint)
    assert read_options(module.Options, {}).target == target


@pytest.mark.parametrize("endpoint", ["", "unix:relative", "http://127.0.0.1:80", "tcp://agent.example:80", "/run/x"])
def test_other_endpoints_are_refused(endpoint, monkeypatch):
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    with pytest.raises(OptionsError, match="endpoint"):
        read_options(module.Options, {"endpoint": endpoint})


def test_without_the_library_the_configuration_says_what_to_install(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionsError, match=r"pip install 'proxyd\[spiffe\]'"):
        read_options(module.Options, {"endpoint": "unix:///run/agent.sock"})


def test_the_library_is_not_loaded_before_it_is_needed():
    code = "import sys, proxyd_plugins.spiffe; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def _der(identity):
    return identity.leaf.public_bytes(Encoding.DER)


def _key(identity):
    return identity.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
