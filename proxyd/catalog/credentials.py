"""The sections of a definition about its credentials: their fields, and the schemes that present them."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from proxyd.catalog.hosts import HostTemplate, UrlTemplate
from proxyd.reading import names
from proxyd.reading.readers import Text, Whole
from proxyd.reading.sections import Section
from proxyd.reading.values import FieldName, Name

Variable = Annotated[str, Text(names.environment_name, "variable", names.ENV_PATTERN)]
Pattern = Annotated[str, Text(names.regular_expression, "pattern")]
AnyHost = Annotated[str, HostTemplate()]
Presentation = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "required": ["scheme"],
            "properties": {
                "scheme": {"type": "string"},
                "hosts": {"type": "array"},
                "paths": {"type": "array", "items": {"type": "string"}},
            },
            "description": "As `auth` of a service in the configuration; where that names a secret, a field stands.",
        }
    ),
]


class FieldSection(Section):
    """One thing that the user has from the vendor: a secret, or an option that is none."""

    title: str
    """What the vendor calls it."""
    where: str = ""
    """Where the vendor shows it: a URL, or the way through its pages."""
    secret: bool = True
    """`false`: it stands under `options` of the service in clear."""
    kind: Literal["text", "pem", "json", "base64", "url"] = "text"
    """The form that its value has."""
    pattern: Pattern = ""
    """Regular expression that fits the whole value; of an option, and of a secret where the vendor documents one."""
    default: str = ""
    """An option's value where the user gives none."""
    environment: list[Variable] = []
    """Variables in which official tools look for it, the preferred one first."""
    environment_files: list[Variable] = []
    """Variables that name a file with it."""
    about: str = ""
    """What one should know before choosing it."""


class TokenRefusalSection(Section):
    """How the vendor says, beside 401, that it accepts a token no longer."""

    statuses: Annotated[list[Annotated[int, Whole(100, 599)]], Field(min_length=1)]
    """Statuses that say it."""
    codes: list[str] = []
    """Texts in the body of such an answer, any of which says so. Without them the status says it alone."""


class TokenSection(Section):
    """A flow that turns fields into short-lived ones. Control runs it; requests only meet its results."""

    flow: Name
    """Which one: see the guide."""
    url: Annotated[str, UrlTemplate()] | None = None
    """Where it is asked, where the flow does not know that itself."""
    hosts: list[AnyHost] = []
    """Hosts that the fields may be sent to for it."""
    realms: list[AnyHost] = []
    """Hosts that a challenge (scheme `challenge`) may lead to: `user` and `token` go there for a token of its scope."""
    results: Annotated[list[FieldName], Field(min_length=1)] = ["access_token"]
    """Fields that it yields, for `apply`."""
    options: dict[FieldName, str] = {}
    """Further parameters of the flow, such as `scope`; options of the user's may stand in braces."""
    refused: TokenRefusalSection | None = None
    """How requests are told, beside 401, that the token is over: it is renewed, and the request made again."""


class ConnectSection(Section):
    """How `proxyd connect` has a person's consent: the fields of the client are asked for, the rest comes of it."""

    device_url: Annotated[str, UrlTemplate()] | None = None
    """Where a code for another device is had (RFC 8628)."""
    authorize_url: Annotated[str, UrlTemplate()] | None = None
    """Where a browser is sent (RFC 6749 §4.1, with PKCE)."""
    token_url: Annotated[str, UrlTemplate()] | None = None
    """Where codes are turned into tokens; without it, that of `token`."""
    hosts: list[AnyHost] = []
    """Hosts that fields of the client may be sent to; without them, those of `token`."""
    redirect: str = "http://127.0.0.1/callback"
    """What the application is registered with, without a port."""
    issuer: str = ""
    """What the callback's `iss` must be, where there is one (RFC 9207)."""
    scope: str = ""
    """What is asked for, with spaces between; options may stand in braces."""
    parameters: dict[str, str] = {}
    """Further parameters of the authorization request."""
    client: list[FieldName] = ["client_id", "client_secret"]
    """The fields of the client; one that the scheme does not name is left out."""
    client_auth: Literal["basic", "post"] = "post"
    """How the client proves itself (RFC 6749 §2.3.1)."""
    stores: FieldName = "refresh_token"
    """The field that gets what comes of it: a refresh token, or by another name an access token that lasts."""


class SchemeSection(Section):
    """One way to authenticate: which fields it needs, and how requests present them."""

    name: FieldName
    """What `scheme` of the service says to choose it."""
    title: str = ""
    """What the vendor calls it."""
    fields: list[FieldName] = []
    """Fields that it needs."""
    optional: list[FieldName] = []
    """Fields that it can use."""
    own_host: bool = False
    """It works on hosts of `your_hosts` alone: `hosts` must stand in the service."""
    token: TokenSection | None = None
    """The flow that comes first, where there is one."""
    connect: ConnectSection | None = None
    """How its fields are had by consent."""
    apply: Annotated[list[Presentation], Field(min_length=1)]
    """How requests present it; the first whose `hosts` and `paths` cover a request is used."""


class RefusedSection(Section):
    """A kind of credential or a host that the vendor has ended."""

    field: FieldName | None = None
    """The field whose value is looked at."""
    pattern: Pattern = ""
    """Regular expression that fits the whole of a dead value."""
    host: AnyHost | None = None
    """The legacy host."""
    why: str
    """What happened, and what to use in its place."""


class StripSection(Section):
    """What clients send that would contradict the credential."""

    headers: list[Annotated[str, Text(names.header_name, "header", names.FIELD_NAME_PATTERN)]] = []
    """Header fields."""
    query: list[Annotated[str, Text(names.query_name, "parameter")]] = []
    """Query parameters."""
    cookies: bool = False
    """Cookies: where a session wins over the credential."""
