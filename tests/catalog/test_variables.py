import pytest

from proxyd.catalog.found import Findings
from proxyd.catalog.summary import rows
from proxyd.catalog.variables import UNUSABLE, host_of, search


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
    assert found(DD_API_KEY="x").proposals[0].secret == "datadog/api-key"
    both = found(DD_API_KEY="x", DD_APP_KEY="y").proposals[0]
    assert both.secret == "{api_key: datadog/api-key, app_key: datadog/app-key}"
    assert names(found(DD_APP_KEY="y")) == []


def test_options_are_taken_from_variables_where_they_are_no_default():
    assert found(DD_API_KEY="x", DD_SITE="datadoghq.eu").proposals[0].options == (("site", "datadoghq.eu"),)
    assert found(DD_API_KEY="x", DD_SITE="datadoghq.com").proposals[0].options == ()
    assert found(DD_API_KEY="x", DD_SITE="evil.example").proposals[0].options == ()


def test_a_variable_that_names_a_file_leads_to_it():
    (proposal,) = found(GOOGLE_APPLICATION_CREDENTIALS="/etc/key.json").proposals
    assert (proposal.use, proposal.sources[0].file) == ("google", "/etc/key.json")
    assert names(found(GOOGLE_APPLICATION_CREDENTIALS="key.json")) == []


def test_half_a_credential_is_a_remark_that_says_what_is_missing():
    findings = found(TWILIO_AUTH_TOKEN="x")
    assert names(findings) == []
    assert "TWILIO_ACCOUNT_SID is needed" in findings.remarks[0].why


def test_a_scheme_that_needs_no_secret_is_not_proposed_for_half_of_anothers():
    findings = found(AWS_SECRET_ACCESS_KEY="x")
    assert names(findings) == []
    assert "AWS_ACCESS_KEY_ID is needed" in findings.remarks[0].why


def test_a_containers_token_goes_with_the_address_that_takes_it():
    where = "http://169.254.170.23/v1/credentials"
    found_here = found(AWS_CONTAINER_AUTHORIZATION_TOKEN="x", AWS_CONTAINER_CREDENTIALS_FULL_URI=where)
    (proposal,) = found_here.proposals
    assert proposal.secret == "{container_token: aws/container-token}"
    assert proposal.options == (("credentials_uri", where),)


@pytest.mark.parametrize(
    ("value", "host"),
    [("https://git.corp.example", "git.corp.example"), ("git.corp.example:8443", "git.corp.example:8443")],
)
def test_another_instance_is_named_by_a_variable(value, host):
    (proposal,) = found(GITLAB_TOKEN="x", GITLAB_HOST=value).proposals
    assert (proposal.hosts, proposal.own_hosts) == ((host,), True)


def test_the_vendors_own_host_needs_no_mention():
    (proposal,) = found(GITLAB_TOKEN="x", GITLAB_HOST="gitlab.com").proposals
    assert (proposal.hosts[0], proposal.own_hosts) == ("gitlab.com", False)


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


def test_no_variable_is_two_services():
    seen = {}
    for one in rows(everything=True):
        for field in one["fields"]:
            for variable in field["environment"] if field["secret"] else ():
                assert seen.setdefault(variable, one["name"]) == one["name"], variable
    assert not seen.keys() & UNUSABLE.keys()
