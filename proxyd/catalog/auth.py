"""The sections that say how a service's credential is presented, one for each scheme.

They stand in a configuration, and below ``apply`` of a definition, where names of fields stand for names of secrets.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field

from proxyd.core.service import HostPattern
from proxyd.core.units import GIB, KIB, MIB
from proxyd.reading import addresses, names
from proxyd.reading.problems import Trail
from proxyd.reading.readers import Bytes, Text
from proxyd.reading.sections import Section
from proxyd.reading.values import AnySecretName, FieldName, HeaderName, Prefix, UserName


class AuthSection(Section):
    """What every scheme has."""

    keep: bool = False
    """Pass the client's own credential on when it sends one, in place of this one."""
    hosts: list[Annotated[HostPattern, Text(addresses.host_pattern, "host")]] = []
    """Where within the service it applies. Without it: on all hosts of the service."""
    paths: list[Annotated[str, Text(addresses.url_path, "path")]] = []
    """Prefixes of paths where it applies. Without it: everywhere."""
    strip: list[HeaderName] = []
    """Further header fields of the client's that are removed."""
    strip_query: list[Annotated[str, Text(names.query_name, "parameter")]] = []
    """Further query parameters of the client's that are removed."""
    presigned: bool = False
    """A URL that carries a signature of its own passes untouched; otherwise it is refused."""
    max_body: Annotated[int, Bytes(KIB, GIB)] = 8 * MIB
    """The most of a request's body that is held, where a scheme signs or changes it; 413 beyond."""


class BearerAuth(AuthSection):
    """`Authorization: Bearer …`."""

    scheme: Literal["bearer"]
    """How the credential is presented."""
    secret: AnySecretName
    """Name of the secret that holds the token."""


class BasicAuth(AuthSection):
    """`Authorization: Basic …`; exactly one of `user` and `user_secret`."""

    scheme: Literal["basic"]
    """How the credential is presented."""
    user: UserName = ""
    """The user name in clear."""
    user_secret: AnySecretName = ""
    """Name of the secret that holds the user name."""
    secret: AnySecretName
    """Name of the secret that holds the password."""
    word: Literal["Basic", "Bearer"] = "Basic"
    """What stands before the pair; some vendors want another word there."""


class HeaderPart(Section):
    """One header field that carries a secret."""

    name: HeaderName
    """Such as `X-Api-Key`."""
    secret: AnySecretName
    """Name of the secret."""
    prefix: Prefix = ""
    """Text before the secret, such as `"Token "`."""


class HeaderAuth(AuthSection):
    """Header fields of the service's own: `name` and `secret`, or several under `headers`."""

    scheme: Literal["header"]
    """How the credential is presented."""
    name: HeaderName = ""
    """The only header field, such as `X-Api-Key`."""
    secret: AnySecretName = ""
    """Name of the secret that it carries."""
    prefix: Prefix = ""
    """Text before the secret, such as `"Token "`."""
    headers: Annotated[list[HeaderPart], Field(min_length=1)] | None = None
    """Several header fields."""


class QueryAuth(AuthSection):
    """A query parameter. Prefer a header where the service takes one: URLs are logged in many places."""

    scheme: Literal["query"]
    """How the credential is presented."""
    name: Annotated[str, Text(names.query_name, "parameter")]
    """The parameter, such as `api_key`."""
    secret: AnySecretName
    """Name of the secret."""


class CookieAuth(AuthSection):
    """A cookie; the client's others stay."""

    scheme: Literal["cookie"]
    """How the credential is presented."""
    name: HeaderName
    """The cookie, such as `session`."""
    secret: AnySecretName
    """Name of the secret."""
    prefix: Prefix = ""
    """Text before the secret."""


class ChallengeAuth(AuthSection):
    """`Authorization: Bearer …` with a token for the scope that the vendor's own 401 names, as registries have it."""

    scheme: Literal["challenge"]
    """How the credential is presented."""
    secret: AnySecretName
    """What a flow with `realms` yields."""


class BodyAuth(AuthSection):
    """What both schemes have that put a secret into the body."""

    name: Annotated[str, Text(names.query_name, "parameter")]
    """The field, such as `routing_key`; one that the client sent is replaced."""
    secret: AnySecretName
    """Name of the secret."""
    prefix: Prefix = ""
    """Text before the secret."""


class JsonAuth(BodyAuth):
    """A member of the JSON object that the body is, or of each object in its list."""

    scheme: Literal["json"]
    """How the credential is presented."""


class FormAuth(BodyAuth):
    """A field of a form (`application/x-www-form-urlencoded`)."""

    scheme: Literal["form"]
    """How the credential is presented."""


class SigningAuth(AuthSection):
    """What every scheme has that signs a request."""

    secrets: dict[FieldName, AnySecretName]
    """Names of secrets by field of the scheme."""
    options: dict[FieldName, str] = {}
    """What the scheme is told in clear."""


class SigV4Auth(SigningAuth):
    """AWS Signature Version 4; what the client's own tools signed is signed anew.

    Secrets: `access_key_id`, `secret_access_key`, `session_token` with temporary ones. Options: `service` and `region`,
    where neither the client's signature nor the host tells them.
    """

    scheme: Literal["sigv4"]
    """How the credential is presented."""


class EdgeGridAuth(SigningAuth):
    """Akamai EdgeGrid. Secrets: `client_token`, `client_secret`, `access_token`."""

    scheme: Literal["edgegrid"]
    """How the credential is presented."""


class OracleAuth(SigningAuth):
    """Oracle Cloud's signature. Secrets: `private_key`, `passphrase`. Options: `tenancy`, `user`, `fingerprint`."""

    scheme: Literal["oracle"]
    """How the credential is presented."""


class AlibabaAuth(SigningAuth):
    """Alibaba Cloud's signatures. Secrets: `access_key_id`, `access_key_secret`; `security_token` of temporary ones."""

    scheme: Literal["alibaba"]
    """How the credential is presented."""


class SentryAuth(SigningAuth):
    """The key of a Sentry DSN, in the field, query or envelope where SDKs put it. Secret: `dsn`, a DSN or its key."""

    scheme: Literal["sentry"]
    """How the credential is presented."""


class HmacAuth(AuthSection):
    """A message made of the request's parts, signed with a key (RFC 2104), and header fields that carry the signature.

    Texts name parts after a dollar sign: `$method`, `$scheme`, `$host`, `$target` (path and query), `$path`, `$query`,
    `$content_type`, `$body`, `$body_sha256_hex`, `$body_sha256_base64`, `$body_md5_base64`, `$timestamp` (seconds),
    `$milliseconds`, `$date` (as in Date), `$iso_date`, `$nonce`, secrets by their field, and in headers `$signature`.
    `$$` is a dollar sign.
    """

    scheme: Literal["hmac"]
    """How the credential is presented."""
    secrets: dict[FieldName, AnySecretName]
    """Names of secrets by field: `key`, and others that the texts name."""
    key: Literal["text", "base64", "hex"] = "text"
    """How the key is written."""
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    """The hash function."""
    encoding: Literal["hex", "base64"] = "hex"
    """How the signature is written."""
    message: Annotated[str, Field(min_length=1, max_length=4096)]
    """What is signed, such as `"$timestamp $method $target $body"`."""
    headers: Annotated[dict[HeaderName, Annotated[str, Field(max_length=4096)]], Field(min_length=1)]
    """The fields that are set, such as `{X-Signature: "v1=$signature", X-Timestamp: $timestamp}`."""


class AzureSharedKeyAuth(SigningAuth):
    """Shared Key of Azure Storage. Secret: `key`. Option: `account`; else the host's first label."""

    scheme: Literal["azure_shared_key"]
    """How the credential is presented."""


class AzureSasAuth(SigningAuth):
    """A shared access signature of Azure Storage, appended to the query. Secret: `sas`."""

    scheme: Literal["azure_sas"]
    """How the credential is presented."""


AnyAuth = Annotated[
    BearerAuth
    | BasicAuth
    | HeaderAuth
    | QueryAuth
    | CookieAuth
    | ChallengeAuth
    | JsonAuth
    | FormAuth
    | SentryAuth
    | HmacAuth
    | SigV4Auth
    | EdgeGridAuth
    | OracleAuth
    | AlibabaAuth
    | AzureSharedKeyAuth
    | AzureSasAuth,
    Field(discriminator="scheme"),
]

SCHEMES: Final[tuple[str, ...]] = tuple(
    word for section in get_args(get_args(AnyAuth)[0]) for word in get_args(section.model_fields["scheme"].annotation)
)
"""Every scheme that a section can name."""

SIGNING: Final = frozenset({"sigv4", "hmac", "edgegrid", "oracle", "alibaba", "azure_shared_key"})
"""Schemes that send a signature in place of the secret: it holds for one request to one host, and whoever gets it has
nothing else of it."""

NAMES_A_SECRET: Final = ("secret", "user_secret")
"""Keys that hold the name of a secret, or of a field in a definition; so do the values of ``secrets``."""


def secret_fields(presentation: dict[str, Any], trail: Trail = ()) -> Iterator[tuple[Trail, str]]:
    """Yield (trail, name) for each name of a secret in a plain section, or of a field in one of a definition."""
    for key, value in presentation.items():
        if key in NAMES_A_SECRET and isinstance(value, str):
            yield (*trail, key), value
        elif key == "secrets" and isinstance(value, dict):
            yield from (((*trail, key, name), field) for name, field in value.items() if isinstance(field, str))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from secret_fields(item, (*trail, key, index))
