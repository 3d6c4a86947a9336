"""The configuration as the contract writes it, and how files are found and read."""

import os
from pathlib import Path

import pytest
import trustme

from proxyd.config.load import DEFAULT_NAME, default_settings, load, load_text
from proxyd.core.access import Access, Rule
from proxyd.core.limits import Limits, PoolLimits
from proxyd.core.plain import from_plain, to_plain
from proxyd.core.service import Auth, AuthPart, BaseUrl, Endpoint, HostPattern, Service, Timeouts
from proxyd.core.settings import AccessLog, SecretSource, Settings
from proxyd.core.snapshot import Egress, Listener, ListenerMode, UnknownHosts
from proxyd.reading.problems import ConfigError
from proxyd.reading.tree import MAX_BYTES
from tests.config.conftest import LISTENERS, RUNTIME, STATE

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def roots_file(tmp_path):
    path = tmp_path / "extra-roots.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


def test_the_example_of_the_contract_means_what_it_says(tmp_path, roots_file):
    text = (CONF / "example.yaml").read_text().replace("/etc/proxyd/extra-roots.pem", str(roots_file))

    settings = load_text(text, "example.yaml", tmp_path, STATE, RUNTIME)

    first_rule = text.splitlines().index("  rules:") + 2
    assert settings == Settings(
        source="example.yaml",
        listeners=(Listener("apps", ListenerMode.FORWARD, "127.0.0.1:3128", UnknownHosts.TUNNEL),),
        services=(
            Service(
                name="tickets",
                hosts=(HostPattern("api.tickets.example"),),
                base=BaseUrl("https", "api.tickets.example", 443, "/v2"),
                endpoints=(Endpoint("127.0.0.1", 8443),),
                auths=(Auth("bearer", (AuthPart("authorization", "tickets/token"),)),),
                timeouts=Timeouts(connect=2.0, first_byte=10.0, total=30.0),
            ),
            Service(
                name="plain",
                hosts=(HostPattern("127.0.0.1", 9000),),
                base=BaseUrl("http", "127.0.0.1", 9000),
                insecure=True,
                auths=(Auth("header", (AuthPart("x-api-key", "plain/key"),)),),
            ),
        ),
        secrets=(
            SecretSource("tickets/token", env="TICKETS_TOKEN", line=first_rule - 5),
            SecretSource("plain/key", env="PLAIN_KEY", line=first_rule - 4),
        ),
        access=Access(
            (
                Rule(True, ("tickets",), methods=("GET", "POST"), paths=("/v2/",), line=first_rule),
                Rule(True, ("plain",), line=first_rule + 1),
                Rule(True, hosts=(HostPattern("", None, True),), line=first_rule + 2),
            )
        ),
        egress=Egress(allow=("127.0.0.0/8",), ports=()),
        extra_roots_pem=roots_file.read_bytes(),
        workers=1,
        admin_socket="/run/proxyd/admin.sock",
        admin_http="127.0.0.1:3130",
        access_log=AccessLog("/var/log/proxyd/access.jsonl"),
    )


def test_only_listeners_are_needed(settings_of):
    settings = settings_of(LISTENERS)
    assert settings == Settings("proxyd.yaml", (Listener("apps", ListenerMode.FORWARD, "127.0.0.1:3128"),))
    assert settings.limits == Limits()
    assert settings.unknown_pool == PoolLimits()


def test_without_a_file_a_forward_proxy_listens_on_loopback():
    settings = default_settings()
    assert settings.source == DEFAULT_NAME
    assert [listener.address for listener in settings.listeners] == ["127.0.0.1:3128"]
    assert settings.listeners[0].unknown_hosts is UnknownHosts.TUNNEL
    assert settings.admin_http == "127.0.0.1:3130"
    assert settings.services == ()


def test_settings_survive_the_way_to_workers(settings_of):
    settings = settings_of(LISTENERS + "services: {a: {hosts: [a.example], auth: {scheme: bearer, secret: s}}}\n"
                           "secrets: {s: {env: S}}\naccess: {rules: [{deny: {uid: 0}}]}\n")  # fmt: skip
    for part in (settings.services[0], settings.access, settings.limits, settings.egress, settings.listeners[0]):
        assert from_plain(type(part), to_plain(part)) == part


def test_files_read_are_relative_to_the_configuration_and_files_written_to_the_state_folder(tmp_path, roots_file):
    path = tmp_path / "proxyd.yaml"
    path.write_text(
        LISTENERS + "tls: {extra_roots: extra-roots.pem}\nadmin: {socket: a.sock}\n"
        "secrets: {f: {file: s/f}, c: {command: [bin/tool, bin/x]}, d: {command: [tool]}, a: {file: /abs}}\n"
        "telemetry: {access_log: {path: logs/access.jsonl}}\n"
    )

    settings = load(path, STATE, RUNTIME)

    assert settings.source == str(path)
    assert settings.extra_roots_pem == roots_file.read_bytes()
    assert settings.admin_socket == "/run/proxyd/a.sock"
    assert settings.access_log == AccessLog("/var/lib/proxyd/logs/access.jsonl")
    by_name = {source.name: source for source in settings.secrets}
    assert by_name["f"].file == str(tmp_path / "s/f")
    assert by_name["c"].command == (str(tmp_path / "bin/tool"), "bin/x")
    assert by_name["d"].command == ("tool",)
    assert by_name["a"].file == "/abs"


def test_a_configuration_is_found_from_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "proxyd.yaml").write_text(LISTENERS + "secrets: {f: {file: f}}\n")
    monkeypatch.chdir(tmp_path)
    settings = load(Path("proxyd.yaml"), Path("state"), Path("run"))
    assert settings.source == "proxyd.yaml"
    assert settings.secrets[0].file == str(tmp_path / "f")


def test_a_dash_is_standard_output(settings_of):
    assert settings_of(LISTENERS + "telemetry: {access_log: {path: '-'}}\n").access_log == AccessLog("-")


def test_auto_workers_are_one_per_cpu(settings_of):
    assert 1 <= settings_of(LISTENERS + "workers: auto\n").workers <= len(os.sched_getaffinity(0))


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + LISTENERS.encode())
    assert load(path, STATE, RUNTIME).listeners


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a: 1\nbc: \xff\n", ":2:5: the file is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), ":1:1: the file has more than 8 MiB"),
        (None, ":1:1: there is no such file; name one with -c, or have one written: proxyd init -o FILE"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, content, line):
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path, STATE, RUNTIME)
    assert str(caught.value) == str(path) + line


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="that is a folder"):
        load(tmp_path, STATE, RUNTIME)


def test_a_thousand_services_load(settings_of):
    text = LISTENERS + "services:\n" + "".join(
        f"  s{n}:\n    hosts: [s{n}.example.com]\n    base_url: https://s{n}.example.com/v1\n"
        f"    auth: {{scheme: bearer, secret: k{n}}}\n    timeouts: {{connect: 2s, total: 30s}}\n"
        for n in range(1000)
    ) + "secrets:\n" + "".join(f"  k{n}: {{env: K{n}}}\n" for n in range(1000)) + "access:\n  rules:\n" + "".join(
        f"    - {{allow: {{services: s{n}, methods: [GET], paths: /v1}}}}\n" for n in range(1000)
    )  # fmt: skip
    settings = settings_of(text)
    assert len(settings.services) == len(settings.secrets) == len(settings.access.rules) == 1000
