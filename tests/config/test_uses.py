# ruff: noqa: E501 - a row of a table is one printed line
"""``use``, ``secret``, ``options`` and ``scheme`` of services, and definitions of the user's own."""

import re

import pytest

from proxyd.core.resilience import RetryPolicy
from proxyd.core.service import Auth, AuthPart, BaseUrl, HostPattern, PinnedVersion
from proxyd.core.settings import TokenSource
from tests.config.conftest import LISTENERS

TICKETS = """\
name: tickets
title: Tickets
category: other
your_hosts: {suffixes: ["*.tickets.example"], example: acme.tickets.example, base_path: /rest, about: The address of your board.}
fields:
  email: {title: Your e-mail address, where: the login page}
  token: {title: API token, where: "https://id.tickets.example/tokens"}
  site: {title: Site, secret: false, pattern: "eu|us", default: eu}
  pat: {title: Personal token}
  id: {title: Client, where: the console}
  key: {title: Key}
schemes:
  - {name: token, fields: [email, token], apply: [{scheme: basic, user_secret: email, secret: token}]}
  - name: pat
    fields: [pat]
    optional: [key]
    apply:
      - {paths: [/rest/], scheme: header, headers: [{name: x-pat, secret: pat}, {name: x-key, secret: key}]}
      - {hosts: ["files.{site}.example", "{host}"], scheme: bearer, secret: pat}
  - name: client
    fields: [id, key]
    token: {flow: client_credentials, url: "https://{base_host}/oauth/{site}", hosts: ["{base_host}"], options: {scope: "read {site}", audience: "{nothing}"}}
    apply: [{scheme: bearer, secret: access_token}]
refused: [{host: old.example, why: old.example was replaced by acme.tickets.example}]
strip: {headers: [x-legacy], query: [key], cookies: true}
version: {query: v, value: "2"}
retry: {statuses: [418, 520]}
idempotency: {header: X-Key}
encoded_slash: true
probe: {path: /rest/me}
documentation: [https://tickets.example]
"""


@pytest.fixture
def lines_of(problems_of):
    """The mistakes of a text: line, field and message."""
    return lambda text: [re.sub(r"^(\d+):\d+:", r"\1:", line) for line in problems_of(text)]


@pytest.fixture
def catalogue(tmp_path):
    """A definition of the user's own, beside the configuration."""
    (tmp_path / "tickets.yaml").write_text(TICKETS.replace('"{nothing}"', '"all"'))
    return "catalogue: tickets.yaml\n"


@pytest.fixture
def service_of(settings_of, catalogue):
    def load(service):
        return settings_of(f"{LISTENERS}{catalogue}services:\n  s: {service}\n").services[0]

    return load


@pytest.fixture
def problem_of(lines_of, catalogue):
    def load(service):
        return lines_of(f"{LISTENERS}{catalogue}services:\n  {service}\n")

    return load


def test_one_line_is_enough_for_a_service_of_the_catalogue(settings_of):
    settings = settings_of(f"{LISTENERS}services:\n  github: {{secret: github/token}}\n")
    (service,) = settings.services
    assert HostPattern("api.github.com") in service.hosts
    assert service.base == BaseUrl("https", "api.github.com", 443)
    assert service.version == PinnedVersion("x-github-api-version", "2022-11-28")
    git, api = service.auths[:2]
    assert (git.scheme, git.user, git.hosts[0]) == ("basic", "x-access-token", HostPattern("github.com"))
    assert (api.scheme, api.parts) == ("bearer", (AuthPart("authorization", "github/token"),))
    assert [source.name for source in settings.secrets] == ["github/token"]


def test_a_definition_fills_in_what_the_section_leaves_out(service_of):
    service = service_of("{use: tickets, hosts: [acme.tickets.example], secret: {email: t/email, token: t/token}}")
    assert service.base == BaseUrl("https", "acme.tickets.example", 443, "/rest")
    assert service.encoded_slash
    assert service.version == PinnedVersion("v", "2", in_query=True)
    assert service.resilience.retry.on == (*RetryPolicy().on, "520")
    assert service.resilience.retry.key_header == "x-key"
    part = AuthPart("authorization", "t/token")
    assert service.auths == (
        Auth("basic", (part,), user_secret="t/email", strip=("x-legacy", "cookie"), strip_query=("key",)),
    )


def test_what_stands_in_the_section_wins(service_of):
    service = service_of(
        "{use: tickets, hosts: [acme.tickets.example], secret: t/pat, base_url: 'https://acme.tickets.example/v9', "
        "encoded_slash: false, version: {header: x-v, value: '9'}, retry: {on: [connect], idempotency_key: x-own}}"
    )
    assert service.base.path == "/v9"
    assert not service.encoded_slash
    assert service.version == PinnedVersion("x-v", "9")
    assert service.resilience.retry.on == ("connect",)
    assert service.resilience.retry.key_header == "x-own"


def test_an_auth_of_its_own_wins_too(service_of):
    service = service_of("{use: tickets, hosts: [acme.tickets.example], auth: {scheme: bearer, secret: x}}")
    assert [auth.scheme for auth in service.auths] == ["bearer"]


def test_optional_fields_and_foreign_hosts_are_left_out(service_of):
    service = service_of("{use: tickets, hosts: [acme.tickets.example], secret: t/pat}")
    first, second = service.auths
    assert first.parts == (AuthPart("x-pat", "t/pat"),)
    assert first.paths == ("/rest/",)
    assert second.hosts == (HostPattern("acme.tickets.example"),)
    both = service_of(
        "{use: tickets, hosts: [acme.tickets.example, files.us.example], secret: {pat: a, key: b}, options: {site: us}}"
    )
    assert both.auths[0].parts == (AuthPart("x-pat", "a"), AuthPart("x-key", "b"))
    assert [pattern.host for pattern in both.auths[1].hosts] == ["files.us.example", "acme.tickets.example"]


def test_a_flow_of_tokens_is_compiled(settings_of, catalogue):
    text = f"{LISTENERS}{catalogue}services:\n  s: {{use: tickets, hosts: [acme.tickets.example], secret: {{id: a, key: b}}}}\n"
    settings = settings_of(text)
    assert settings.tokens == (
        TokenSource(
            "token:s",
            "s",
            "client_credentials",
            "https://acme.tickets.example/oauth/eu",
            (("id", "a"), ("key", "b")),
            (("scope", "read eu"), ("audience", "all"), ("site", "eu")),
            ("acme.tickets.example",),
            4,
        ),
    )
    assert settings.services[0].auths[0].secret_names == ("token:s",)
    assert {source.name for source in settings.secrets} == {"a", "b"}


@pytest.mark.parametrize(
    ("service", "line"),
    [
        ("s: {use: ticket, secret: x}", "4: services.s.use: the catalogue has no service of this name; did you mean 'tickets'?"),
        ("s: {secret: x}", "4: services.s: the catalogue has no service of this name, and secret is for those that it has; expected use: beside it with the name that it has there, or auth in place of secret"),
        ("tickets: {secret: x}", "4: services.tickets.hosts: the key is missing: only you know the host of Tickets, such as acme.tickets.example. The address of your board."),
        ("tickets: {hosts: [a.tickets.example], secret: {email: x}}", "4: services.tickets.secret.token: the field token is missing: API token (https://id.tickets.example/tokens); write secret: {token: NAME}"),
        ("tickets: {hosts: [a.tickets.example], secret: {emial: x, token: y}}", "4: services.tickets.secret.emial: no scheme of Tickets takes the field 'emial'; expected one of email, token, pat, id, key; did you mean 'email'?"),
        ("tickets: {hosts: [a.tickets.example], secret: {pat: x, email: y}}", "4: services.tickets.secret.email: email is for another scheme than pat; expected the fields of one scheme (token: email, token; pat: pat; client: id, key)"),
        ("tickets: {hosts: ['*.tickets.example'], secret: x}", "4: services.tickets.hosts[0]: customers of Tickets choose the names below tickets.example, so this covers hosts of others; expected your whole host, such as acme.tickets.example"),
        ("tickets: {hosts: [tickets.example], secret: x}", "4: services.tickets.hosts[0]: customers of Tickets choose the names below tickets.example, so this covers hosts of others; expected your whole host, such as acme.tickets.example"),
        ("tickets: {hosts: ['*.herokuapp.com'], secret: x}", "4: services.tickets.hosts[0]: names below herokuapp.com are anybody's, so this covers hosts of others; expected a whole host"),
        ("tickets: {hosts: [old.example], secret: x}", "4: services.tickets.hosts[0]: old.example was replaced by acme.tickets.example"),
        ("tickets: {hosts: [a.tickets.example], secret: x, scheme: pad}", "4: services.tickets.scheme: Tickets has no scheme of this name; expected one of token, pat, client; did you mean 'pat'?"),
        ("tickets: {hosts: [a.tickets.example], secret: x, scheme: client}", "4: services.tickets.secret: one secret is not enough for Tickets; expected secret: {id: NAME, key: NAME} (id: Client (the console); key: Key)"),
        ("aws: {secret: x}", "4: services.aws.secret: one secret is not enough for AWS; expected secret: {access_key_id: NAME, secret_access_key: NAME} (access_key_id: Access key ID (IAM > Users > Security credentials); secret_access_key: Secret access key (shown once when the key is created))"),
        ("aws: {secret: x, scheme: instance}", "4: services.aws.secret: the scheme instance of AWS needs no secret"),
        ("tickets: {hosts: [a.tickets.example], secret: x, options: {site: asia}}", "4: services.tickets.options.site: that is no Site; expected the form eu|us"),
        ("tickets: {hosts: [a.tickets.example], secret: {site: x}}", "4: services.tickets.secret.site: site is no secret; it stands under options in clear"),
        ("tickets: {hosts: [a.tickets.example], secret: x, options: {token: y}}", "4: services.tickets.options.token: token is a secret; under secret stands the name of one that holds it"),
        ("tickets: {hosts: [a.tickets.example], secret: x, auth: {scheme: bearer, secret: y}}", "4: services.tickets.secret: auth says how the credential is presented, and secret leaves that to the definition; expected one of the two"),
        ("tickets: {hosts: [a.tickets.example], secret: {}}", "4: services.tickets.secret: the map is empty; expected a field and the name of its secret"),
        ("s: {hosts: [a.example], auth: {scheme: bearer, secret: 'token:x'}}", "4: services.s.auth.secret: no service of this name uses a scheme with a flow that yields it"),
    ],
)  # fmt: skip
def test_a_mistake_says_what_to_do(problem_of, service, line):
    assert line in problem_of(service)


def test_mistakes_in_a_definition_are_placed_in_its_file(problems_of, tmp_path):
    (tmp_path / "tickets.yaml").write_text(TICKETS.replace("title: Tickets", "titel: Tickets"))
    found = problems_of(
        f"{LISTENERS}catalogue: tickets.yaml\nservices:\n  tickets: {{hosts: [a.tickets.example], secret: x}}\n"
    )
    assert any(line.startswith(f"{tmp_path / 'tickets.yaml'}:2:1: titel: unknown key 'titel'") for line in found)


def test_a_definition_of_a_folder_is_found_and_a_missing_file_reported(settings_of, lines_of, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "tickets.yaml").write_text(TICKETS.replace('"{nothing}"', '"all"'))
    service = "services: {tickets: {hosts: [a.tickets.example], secret: x}}\n"
    assert settings_of(f"{LISTENERS}catalogue: [own]\n{service}").services[0].auths
    assert "2: catalogue: there is no such file or folder" in lines_of(f"{LISTENERS}catalogue: other\n{service}")


def test_a_secret_is_never_quoted(problem_of):
    found = problem_of(
        "tickets: {hosts: [a.tickets.example], secret: {token: 'ghp_very secret'}, options: {site: hunter2}}"
    )
    assert not any("very secret" in line or "hunter2" in line for line in found)


@pytest.mark.parametrize(
    ("auth", "line"),
    [
        ("[{scheme: bearer, secret: a}, {scheme: bearer, secret: b}]", "3: services.s.auth[1]: it is never used: the one on line 3 applies to every request; expected hosts or paths there, or the other order"),
        ("{scheme: bearer, secret: a, hosts: [b.example]}", "3: services.s.auth.hosts[0]: the host is not among this service's hosts; a credential goes nowhere else"),
        ("{scheme: bearer, secret: a, strip: [Host]}", "3: services.s.auth.strip[0]: this header frames the message or belongs to one hop; it cannot carry a credential"),
        ("[]", "3: services.s.auth: the list is empty; give it an item or leave the key out"),
    ],
)  # fmt: skip
def test_several_credentials_must_make_sense_together(lines_of, auth, line):
    found = lines_of(f"{LISTENERS}services:\n  s: {{hosts: [a.example], auth: {auth}}}\n")
    assert line in found


def test_several_credentials_are_compiled_in_their_order(settings_of):
    text = (
        f"{LISTENERS}services:\n  s:\n    hosts: [a.example, b.example]\n    auth:\n"
        "      - {scheme: basic, user: u, secret: p, hosts: [b.example], max_body: 1MiB}\n"
        "      - {scheme: bearer, secret: t, paths: [/v1/], presigned: true, strip: [Sudo], strip_query: [key]}\n"
    )
    basic, bearer = settings_of(text).services[0].auths
    assert (basic.user, basic.hosts, basic.max_body) == ("u", (HostPattern("b.example"),), 1 << 20)
    assert (bearer.paths, bearer.presigned, bearer.strip, bearer.strip_query) == (("/v1/",), True, ("sudo",), ("key",))


@pytest.mark.parametrize("version", ["{value: '1'}", "{value: '1', header: x, query: y}"])
def test_a_version_goes_to_one_place(problems_of, version):
    found = problems_of(f"{LISTENERS}services:\n  s: {{hosts: [a.example], version: {version}}}\n")
    assert "exactly one of header and query" in found[0]


def test_the_vendors_limits_are_known_by_the_definition(settings_of):
    text = f"{LISTENERS}services:\n  hub: {{use: github, secret: x, vendor_limits: {{}}}}\n"
    known = settings_of(text).services[0].vendor_limits.definition
    assert (known.vendor, known.statuses, known.pause) == ("github", (403,), 60.0)


def test_control_is_told_probe_and_fields(settings_of, catalogue):
    (known,) = settings_of(f"{LISTENERS}services:\n  hub: {{use: github, secret: x}}\n").known
    assert (known.service, known.definition, known.probe.path, known.probe.scopes) == (
        "hub",
        "github",
        "/rate_limit",
        "x-oauth-scopes",
    )
    assert [(field.name, field.secret) for field in known.fields] == [("token", "x")]
    assert [known.probe.verdict(status) for status in (200, 401, 403, 503, 302)] == [
        "",
        "refused",
        "scope",
        "down",
        "unknown",
    ]
