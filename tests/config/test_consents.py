"""What `connect` of a definition makes of a service."""

import pytest

from tests.config.conftest import LISTENERS


def consents(settings_of, *lines):
    settings = settings_of(LISTENERS + "services:\n" + "".join(f"  {line}\n" for line in lines))
    return settings.consents


def test_a_device_and_a_browser_of_the_users_own_host(settings_of):
    names = "{client_id: gl/id, client_secret: gl/secret, refresh_token: gl/refresh}"
    (one,) = consents(
        settings_of, f"gitlab: {{hosts: [git.example.com], secret: {names}, options: {{scopes: read_api}}}}"
    )
    assert (one.title, one.stores, one.secret, one.is_renewed) == ("GitLab", "refresh_token", "gl/refresh", True)
    assert one.device_url == "https://git.example.com/oauth/authorize_device"
    assert one.authorize_url == "https://git.example.com/oauth/authorize"
    assert (one.source.url, one.source.hosts) == ("https://git.example.com/oauth/token", ("git.example.com",))
    assert one.source.secrets == (("client_id", "gl/id"), ("client_secret", "gl/secret"))
    assert dict(one.source.options) == {"client_auth": "post"}
    assert one.scope == "read_api"


def test_an_option_may_be_the_clients_id_and_an_access_token_what_is_stored(settings_of):
    (one,) = consents(settings_of, "github: {secret: github/token, options: {client_id: Iv1.0123}}")
    assert (one.stores, one.secret, one.is_renewed) == ("token", "github/token", False)
    assert one.source.secrets == ()
    assert dict(one.source.options) == {"client_id": "Iv1.0123", "client_auth": "post"}
    assert one.source.hosts == ("github.com",)
    assert one.scope == "", "an option that was not given leaves nothing behind"
    assert [name for name, _, _ in one.fields] == ["client_id"]


def test_a_tenant_stands_in_the_addresses_and_the_source_says_that_it_can_be_connected(settings_of):
    line = "azure: {secret: {client_id: az/id, refresh_token: az/refresh}, options: {tenant: t-1}}"
    settings = settings_of(LISTENERS + f"services:\n  {line}\n")
    (one,) = settings.consents
    assert one.device_url == "https://login.microsoftonline.com/t-1/oauth2/v2.0/devicecode"
    assert (one.redirect, one.scope) == ("http://localhost", "https://management.azure.com/.default offline_access")
    assert [source.connects for source in settings.tokens] == [True]


@pytest.mark.parametrize(
    "line",
    [
        "github: {options: {app_id: 1, installation_id: 2}, secret: {private_key: github/key}}",
        "azure: {secret: {client_id: a, client_secret: b}, options: {tenant: t}}",
        "plain: {hosts: [plain.example]}",
    ],
)
def test_schemes_that_need_nobody_have_none(settings_of, line):
    assert consents(settings_of, line) == ()
