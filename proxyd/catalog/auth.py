"""The sections that say how a service's credential is presented, one for each scheme."""

from typing import Annotated, Literal

from pydantic import Field

from proxyd.reading import names
from proxyd.reading.readers import Text
from proxyd.reading.sections import Section
from proxyd.reading.values import HeaderName, Prefix, SecretName, UserName


class AuthSection(Section):
    """What every scheme has."""

    keep: bool = False
    """Pass the client's own credential on when it sends one, in place of this one."""


class BearerAuth(AuthSection):
    """`Authorization: Bearer …`."""

    scheme: Literal["bearer"]
    """How the credential is presented."""
    secret: SecretName
    """Name of the secret that holds the token."""


class BasicAuth(AuthSection):
    """`Authorization: Basic …`; exactly one of `user` and `user_secret`."""

    scheme: Literal["basic"]
    """How the credential is presented."""
    user: UserName = ""
    """The user name in clear."""
    user_secret: SecretName = ""
    """Name of the secret that holds the user name."""
    secret: SecretName
    """Name of the secret that holds the password."""


class HeaderPart(Section):
    """One header field that carries a secret."""

    name: HeaderName
    """Such as `X-Api-Key`."""
    secret: SecretName
    """Name of the secret."""
    prefix: Prefix = ""
    """Text before the secret, such as `"Token "`."""


class HeaderAuth(AuthSection):
    """Header fields of the service's own: `name` and `secret`, or several under `headers`."""

    scheme: Literal["header"]
    """How the credential is presented."""
    name: HeaderName = ""
    """The only header field, such as `X-Api-Key`."""
    secret: SecretName = ""
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
    secret: SecretName
    """Name of the secret."""


AnyAuth = Annotated[BearerAuth | BasicAuth | HeaderAuth | QueryAuth, Field(discriminator="scheme")]
