import json

import pytest

from proxyd.catalog.document import document
from proxyd.catalog.extract import main
from proxyd.catalog.files import search
from proxyd.catalog.found import Findings
from proxyd.config.load import load_text

SECRET = "s3cret-value"


def found(home, variables=None, findings=None):
    findings = findings or Findings()
    search(home, variables or {}, findings)
    return findings


def write(home, name, text):
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def value_of(source, capsys):
    """Run the command that init proposes and return what it prints."""
    assert main(source.command[4:]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "host", "values"),
    [
        (".netrc", f"machine a.example login me password {SECRET}", "a.example", ["me", SECRET]),
        (".git-credentials", f"https://me:{SECRET}@a.example:8443", "a.example:8443", ["me", SECRET]),
        (".npmrc", f"//a.example/npm/:_authToken={SECRET}", "a.example", [SECRET]),
        (".pypirc", f"[x]\nrepository=https://a.example/\nusername=u\npassword={SECRET}", "a.example", ["u", SECRET]),
        (".config/gh/hosts.yml", f"github.com: {{oauth_token: {SECRET}}}", "api.github.com", [SECRET]),
        (".config/doctl/config.yaml", f"access-token: {SECRET}", "api.digitalocean.com", [SECRET]),
        (".sentryclirc", f"[auth]\ntoken={SECRET}", "sentry.io", [SECRET]),
        (".config/glab-cli/config.yml", f"hosts: {{gitlab.com: {{token: {SECRET}}}}}", "gitlab.com", [SECRET]),
        (
            ".edgerc",
            f"[default]\nclient_token=c\nclient_secret={SECRET}\naccess_token=a\nhost=x.luna.akamaiapis.net",
            "x.luna.akamaiapis.net",
            ["c", SECRET, "a"],
        ),
        (".config/gh/hosts.yml", f"ghe.example: {{oauth_token: {SECRET}}}", "ghe.example", [SECRET]),
    ],
)
def test_an_entry_becomes_a_service_whose_command_finds_its_value(tmp_path, capsys, name, text, host, values):
    write(tmp_path, name, text)
    findings = found(tmp_path)
    (proposal,) = findings.proposals
    assert proposal.hosts[0] == host
    assert [value_of(source, capsys) for source in proposal.sources] == values
    assert SECRET not in document(findings)


def test_npms_reference_to_a_variable_stays_one(tmp_path):
    write(tmp_path, ".npmrc", "//a.example/:_authToken=${NPM_TOKEN}")
    assert found(tmp_path, {"NPM_TOKEN": SECRET}).proposals[0].sources[0].env == "NPM_TOKEN"
    assert "NPM_TOKEN, which is not set" in found(tmp_path).remarks[0].why


def test_a_host_is_proposed_once(tmp_path):
    write(tmp_path, ".netrc", "machine a.example login x password y")
    write(tmp_path, ".git-credentials", "https://x:y@a.example")
    findings = found(tmp_path)
    assert len(findings.proposals) == 1
    assert "belongs to the service a.example already" in findings.remarks[0].why


def test_ghs_file_is_left_alone_when_a_variable_serves_its_host(tmp_path):
    write(tmp_path, ".netrc", "machine api.github.com login x password y")
    findings = found(tmp_path)
    write(tmp_path, ".config/gh/hosts.yml", f"github.com: {{oauth_token: {SECRET}}}")
    before = len(findings.proposals)
    assert len(found(tmp_path, findings=findings).proposals) == before


def test_a_token_in_the_keyring_is_a_remark(tmp_path):
    write(tmp_path, ".config/gh/hosts.yml", "github.com: {user: me}")
    assert "keyring" in found(tmp_path).remarks[0].why


@pytest.mark.parametrize(
    ("name", "word"), [(".config/gcloud", "gcloud"), (".azure", "use: azure"), (".kube/config", "use: kubernetes")]
)
def test_what_needs_more_than_a_static_credential_is_a_remark(tmp_path, name, word):
    write(tmp_path, name, SECRET)
    findings = found(tmp_path)
    assert findings.proposals == []
    assert word in findings.remarks[0].why


def test_registries_of_docker_are_named(tmp_path):
    write(tmp_path, ".docker/config.json", json.dumps({"auths": {"registry.example": {"auth": SECRET}}}))
    assert "registry.example" in found(tmp_path).remarks[0].why


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".netrc", f"machine a.example {SECRET} login"),
        (".pypirc", SECRET),
        (".docker/config.json", SECRET),
        (".docker/config.json", "[]"),
        (".config/gh/hosts.yml", f"{{{SECRET}"),
    ],
)
def test_a_broken_file_is_a_remark_that_shows_nothing(tmp_path, name, text):
    write(tmp_path, name, text)
    findings = found(tmp_path)
    assert findings.proposals == []
    assert SECRET not in document(findings)


@pytest.mark.parametrize("machine", ["a:b:c", "host_name/x", "-x", "..", "a{b}.example"])
def test_machines_that_are_no_hosts_are_not_proposed(tmp_path, machine):
    write(tmp_path, ".netrc", f"machine {machine} login x password {SECRET}")
    assert found(tmp_path).proposals == []


def test_an_empty_home_holds_nothing(tmp_path):
    assert found(tmp_path) == Findings()


def test_the_keys_of_a_profile_of_aws_are_proposed(tmp_path):
    (tmp_path / ".aws").mkdir()
    path = tmp_path / ".aws" / "credentials"
    path.write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = x\n[work]\naws_access_key_id = B\n")
    findings = Findings()
    search(tmp_path, {}, findings)
    (proposal,) = findings.proposals
    assert proposal.secret == "{access_key_id: aws/access-key-id, secret_access_key: aws/secret-access-key}"
    assert proposal.sources[0].command[-4:] == ("ini", str(path), "default", "aws_access_key_id")
    other = Findings()
    search(tmp_path, {"AWS_PROFILE": "work"}, other)
    assert (other.proposals, other.remarks[0].why) == ([], "that profile has no access key and secret here")


def test_half_of_what_a_service_needs_is_a_remark(tmp_path):
    write(tmp_path, ".edgerc", f"[default]\nclient_secret={SECRET}\nhost=x.luna.akamaiapis.net")
    findings = found(tmp_path)
    assert findings.proposals == []
    assert "does not hold all" in findings.remarks[0].why


def test_a_tools_file_that_is_broken_is_a_remark_that_shows_nothing(tmp_path):
    write(tmp_path, ".config/doctl/config.yaml", f"access-token: [{SECRET}")
    (remark,) = found(tmp_path).remarks
    assert "not YAML" in remark.why
    assert SECRET not in remark.why + remark.found


def test_what_a_tools_file_proposes_is_a_configuration(tmp_path):
    write(
        tmp_path, ".aliyun/config.json", json.dumps({"profiles": [{"access_key_id": "i", "access_key_secret": SECRET}]})
    )
    write(tmp_path, ".travis/config.yml", f"endpoints: {{'https://api.travis-ci.com/': {{access_token: {SECRET}}}}}")
    findings = found(tmp_path)
    assert {proposal.use for proposal in findings.proposals} == {"alibaba", "travis-ci"}
    text = document(findings)
    assert SECRET not in text
    assert len(load_text(text, "test", tmp_path, tmp_path, tmp_path).services) == 2
