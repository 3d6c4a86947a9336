import pytest

from proxyd.catalog.recognise import recognise
from proxyd.config.load import load_text

LISTENERS = "listeners: [{name: apps, mode: forward, address: 127.0.0.1:3128}]\n"


def section(*hosts):
    found, unknown = recognise(hosts)
    assert unknown == []
    return "".join(one.section for one in found)


def test_a_vendors_own_hosts_are_one_service():
    assert section("api.github.com", "uploads.github.com") == "  github:\n    secret: github/token\n"


def test_a_host_of_the_users_is_named():
    (found,), _ = recognise(["acme.atlassian.net"])
    assert "    hosts: [acme.atlassian.net]\n" in found.section
    assert {found.name, *found.others} == {"confluence", "jira"}


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("api.datadoghq.eu", "    options: {site: datadoghq.eu}\n"),
        ("api.datadoghq.com", ""),
    ],
)
def test_an_option_is_read_off_the_host_where_it_is_no_default(host, options):
    expected = "  datadog:\n    secret: {api_key: datadog/api-key, app_key: datadog/app-key}\n" + options
    assert section(host) in (expected, f"  datadog:\n    secret: datadog/api-key\n{options}")


def test_of_several_schemes_the_one_is_proposed_for_which_a_user_finds_most_easily_what_it_needs():
    assert "access_key_id: aws/access-key-id" in section("s3.eu-west-1.amazonaws.com")


@pytest.mark.parametrize(
    "host", ["api.github.com.evil.example", "evilapi.github.com", "github.com:8443", "1.2.3.4", ""]
)
def test_a_host_that_only_looks_like_one_is_unknown(host):
    assert recognise([host]) == ([], [host])


@pytest.mark.parametrize(
    "host", ["api.github.com", "acme.atlassian.net", "api.pagerduty.com", "api.datadoghq.eu", "sts.amazonaws.com"]
)
def test_what_is_proposed_is_a_configuration(host, tmp_path):
    text = f"{LISTENERS}services:\n{section(host)}"
    assert len(load_text(text, "test", tmp_path, tmp_path, tmp_path).services) == 1
