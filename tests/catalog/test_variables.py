import pytest

from proxyd.catalog.found import Findings
from proxyd.catalog.known import KNOWN, UNUSABLE
from proxyd.catalog.variables import host_of, search


def found(**variables):
    findings = Findings()
    search(variables, findings)
    return findings


def names(findings):
    return [proposal.service for proposal in findings.proposals]


def test_a_known_variable_proposes_its_service():
    (proposal,) = found(GITHUB_TOKEN="x").proposals
    assert (proposal.service, proposal.hosts[0]) == ("github", "api.github.com")
    assert [(source.secret, source.env) for source in proposal.sources] == [("github/token", "GITHUB_TOKEN")]


def test_the_variable_that_the_tool_prefers_is_taken():
    (proposal,) = found(GITHUB_TOKEN="x", GH_TOKEN="y").proposals
    assert proposal.sources[0].env == "GH_TOKEN"


def test_an_empty_variable_is_none():
    assert found(GITHUB_TOKEN="") == Findings()


def test_an_optional_second_secret_joins_when_it_is_there():
    assert "DD-APPLICATION-KEY" not in found(DD_API_KEY="x").proposals[0].auth
    assert "DD-APPLICATION-KEY" in found(DD_API_KEY="x", DD_APP_KEY="y").proposals[0].auth
    assert names(found(DD_APP_KEY="y")) == []


def test_half_a_credential_is_a_remark_that_says_what_is_missing():
    findings = found(TWILIO_AUTH_TOKEN="x")
    assert names(findings) == []
    assert "TWILIO_ACCOUNT_SID is needed" in findings.remarks[0].why


@pytest.mark.parametrize(
    ("value", "host", "base_url"),
    [
        ("https://git.corp.example", "git.corp.example", "https://git.corp.example/api/v4"),
        ("git.corp.example:8443", "git.corp.example:8443", "https://git.corp.example:8443/api/v4"),
        ("gitlab.com", "gitlab.com", "https://gitlab.com/api/v4"),
    ],
)
def test_another_instance_is_named_by_a_variable(value, host, base_url):
    (proposal,) = found(GITLAB_TOKEN="x", GITLAB_HOST=value).proposals
    assert (proposal.hosts, proposal.base_url) == ((host,), base_url)


@pytest.mark.parametrize("value", ["http://git.corp.example", "https://", "two words", "https://host:notaport"])
def test_an_instance_that_is_no_https_host_is_a_remark(value):
    findings = found(GITLAB_TOKEN="x", GITLAB_HOST=value)
    assert names(findings) == []
    assert "GITLAB_HOST is no https URL" in findings.remarks[0].why


def test_userinfo_of_an_instances_url_is_dropped():
    assert host_of("https://user:secret@Host.example/path?token=x") == "host.example"


def test_a_service_without_hosts_of_its_own_asks_for_them():
    findings = found(GRAFANA_TOKEN="x")
    assert names(findings) == []
    assert "GRAFANA_URL must say where" in findings.remarks[0].why


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_said(name):
    findings = found(**{name: "x"})
    assert names(findings) == []
    assert [remark.found for remark in findings.remarks] == [name]
    assert findings.unknown == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ACME_API_TOKEN", True),
        ("acme_secret", True),
        ("ACME_APIKEY", True),
        ("ACME_PASSWORD", True),
        ("ACME_TOKEN_FILE", False),
        ("ACME_TOKEN_URL", False),
        ("TOKENIZERS_PARALLELISM", False),
        ("PATH", False),
        ("COMPAT", False),
    ],
)
def test_names_that_look_like_a_credentials_are_told(name, expected):
    assert (found(**{name: "x"}).unknown == [name]) is expected


def test_names_that_are_no_variables_of_a_configuration_are_left_out():
    assert found(**{"A\nTOKEN": "x", "BASH_FUNC_token%%": "x"}) == Findings()


def test_every_known_service_is_told_once():
    assert len({known.name for known in KNOWN}) == len(KNOWN)
    variables = [name for known in KNOWN for field in known.fields for name in field.variables]
    assert len(set(variables)) == len(variables)
    assert not set(variables) & UNUSABLE.keys()
