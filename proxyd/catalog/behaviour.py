"""The sections of a definition about how the service's API behaves."""

from typing import Annotated, Final, Literal

from pydantic import Field

from proxyd.catalog.hosts import HostTemplate
from proxyd.core.units import HOUR
from proxyd.reading import names
from proxyd.reading.readers import Seconds, Text, Whole
from proxyd.reading.sections import Section
from proxyd.reading.values import FieldName, HeaderName

STATUS_PATTERN: Final = r"^[1-5][0-9]{2}$"
AnyHeader = Annotated[str, Text(names.any_header, "header", names.FIELD_NAME_PATTERN)]
Status = Annotated[int, Whole(100, 599)]
StatusText = Annotated[str, Text(names.status_text, "status", STATUS_PATTERN)]
Verdict = Literal["refused", "scope", "limit", "version", "missing", "down"]


class VersionSection(Section):
    """The pinned version of the API; it is added where the client sent none."""

    header: HeaderName | None = None
    """The header field that carries it."""
    query: Annotated[str, Text(names.query_name, "parameter")] | None = None
    """Or the query parameter."""
    value: str
    """The version."""


class LimitHeaders(Section):
    """How answers tell of the vendor's limits. Documentation: the spellings are known by their parts."""

    limit: AnyHeader | None = None
    """How many there are."""
    remaining: AnyHeader | None = None
    """How many are left."""
    reset: AnyHeader | None = None
    """When there are all again."""
    unit: Literal["epoch_seconds", "epoch_milliseconds", "seconds", "milliseconds", "http_date", "iso8601", "none"] = (
        "seconds"
    )
    """In which form `reset` says so."""


class Answer(Section):
    """An example of the vendor's answer, for faults that are injected."""

    status: Status | None = None
    """Without it: 429 for a limit, 401 for a credential."""
    headers: dict[AnyHeader, str] = {}
    """Fields; `$reset_seconds`, `$reset_epoch` and `$reset_date` stand for the reset."""
    body: str = ""
    """The body."""


class Answers(Section):
    """Examples of the vendor's answers."""

    reset: Annotated[int, Whole(0, 86_400)] = 30
    """Seconds until the reset in them."""
    rate_limit: Answer | None = None
    """A limit is reached."""
    expired: Answer | None = None
    """The credential has expired."""


class LimitsSection(Section):
    """How the vendor says that a limit is reached."""

    headers: LimitHeaders | None = None
    """Fields of ordinary answers."""
    statuses: list[Status] = []
    """Statuses besides 429 whose body may say so."""
    codes: list[str] = []
    """Texts in such a body, any of which says so."""
    pause: Annotated[float, Seconds(0.0, HOUR)] = 0.0
    """How long to leave the vendor alone where it does not say."""
    about: str = ""
    """The limits in words."""


class RetryHint(Section):
    """Which answers a second try helps against."""

    statuses: list[Status] = []
    """Statuses, 408, 409, 425, 429 or 5xx."""


class IdempotencyHint(Section):
    """Keys that make a repeated request the same request."""

    header: HeaderName
    """The field that carries them."""


class RequestId(Section):
    """Where the vendor's own number of a request stands."""

    header: AnyHeader | None = None
    """In this header field."""
    body: str = ""
    """Or at this path of the body."""


class ErrorsSection(Section):
    """The form of errors; a path has dots between its steps."""

    format: Literal["json", "xml", "text"] = "json"
    """Of the body."""
    code: str = ""
    """Path of the code."""
    message: str = ""
    """Path of the message."""
    request_id: RequestId | None = None
    """The number to give to the vendor's support."""


class PaginationSection(Section):
    """How long lists are read; names of parameters and paths in the body."""

    kind: Literal["link", "cursor", "page", "offset", "token", "none"]
    """What leads to the next page."""
    next: str = ""
    """Where an answer says what is next: a path in the body, or a header field."""
    parameter: str = ""
    """The parameter that asks for it."""
    size: str = ""
    """The parameter that says how many there are on a page."""
    maximum: Annotated[int, Whole(0, 1_000_000)] = 0
    """The most of them; 0: not known."""


class DeprecationSection(Section):
    """How answers announce the end of an endpoint."""

    headers: list[Literal["deprecation", "npm-notice", "sunset", "warning"]] = ["deprecation", "sunset"]
    """Header fields (RFC 9745, RFC 8594, or the vendor's own)."""


class ScopesSection(Section):
    """Where an answer says what the credential may do."""

    header: AnyHeader
    """The header field."""


class ProbeSection(Section):
    """A request without consequences that tells whether the credential is accepted."""

    method: Literal["GET", "HEAD", "POST", "OPTIONS"] = "GET"
    """Its method."""
    path: str
    """Its path, below the host alone; options may stand in braces."""
    host: Annotated[str, HostTemplate()] | None = None
    """Where another host than that of the base URL answers it."""
    headers: dict[AnyHeader, str] = {}
    """Fields that it needs."""
    body: str = ""
    """Its body."""
    expect: Annotated[list[Status], Field(min_length=1)] = [200]
    """Statuses that say that all is well."""
    says: dict[StatusText, Verdict] = {}
    """What other statuses say; 401 is `refused`, 403 `scope` and 429 `limit` without it."""
    body_says: dict[str, Verdict] = {}
    """Texts in the body of an expected status that say otherwise."""
    scopes: ScopesSection | None = None
    """What the credential may do."""


class WebhookSection(Section):
    """How the vendor signs what it sends."""

    scheme: Literal[
        "hmac-sha256",
        "hmac-sha1",
        "hmac-sha512",
        "rsa-sha1",
        "rsa-sha256",
        "ed25519",
        "ecdsa",
        "token",
        "basic",
        "none",
    ]
    """How."""
    header: AnyHeader | None = None
    """The field with the signature or token."""
    prefix: str = ""
    """Literal text before it."""
    encoding: Literal["hex", "base64", "none"] = "hex"
    """Its encoding."""
    signed: str = "{body}"
    """What is signed: `{body}`, `{timestamp}`, `{id}`, `{url}` and literal text."""
    timestamp: AnyHeader | None = None
    """The field with the time."""
    event: AnyHeader | None = None
    """The field with the kind of event."""
    id: AnyHeader | None = None
    """The field with the number of the delivery."""
    about: str = ""
    """What else there is to it."""


class EnvironmentSection(Section):
    """Variables of official tools beside those of fields."""

    urls: list[Annotated[str, Text(names.environment_name, "variable", names.ENV_PATTERN)]] = []
    """Variables that name another instance."""
    others: list[Annotated[str, Text(names.environment_name, "variable", names.ENV_PATTERN)]] = []
    """Others that matter."""


class FileSection(Section):
    """A file in which an official tool keeps credentials."""

    path: str
    """Its path; `~` is the home folder."""
    reader: Literal["", "gh", "ini", "netrc", "npmrc", "yaml"] = ""
    """What reads it; empty: nothing here. `yaml` reads JSON, too."""
    keys: dict[FieldName, Annotated[list[str], Field(min_length=1, max_length=8)]] = {}
    """For `ini` and `yaml`: where each field stands in it, key below key."""
    host: Annotated[list[str], Field(max_length=8)] = []
    """Where the user's own host stands in it."""


class ProofSection(Section):
    """How it is proved that the definition works."""

    clients: list[str] = []
    """Official SDKs and command lines that go through proxyd in the test."""
    against: str = "double"
    """What answers them: a `double`, or the real server."""
