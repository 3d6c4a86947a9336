"""Names of things in a configuration, header fields and methods among them."""

import re
from typing import Final

from proxyd.core.fallback import MAX_BODY
from proxyd.core.units import KIB
from proxyd.reading.problems import Mistake, kind_of

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$"
ANY_SECRET_PATTERN: Final = rf"^(token:)?{NAME_PATTERN[1:]}"
ENV_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,254}$"
FIELD_PATTERN: Final = r"^[a-z][a-z0-9_]{0,62}$"
FIELD_NAME_PATTERN: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"  # RFC 9110 §5.6.2

TOKEN: Final = "token:"  # noqa: S105 - no secret, but what names of some begin with
"""What the names of secrets begin with that flows of definitions yield."""

FORBIDDEN_HEADERS: Final = frozenset(
    {
        *("connection", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"),
        *("content-encoding", "content-length", "content-range", "expect", "host", "transfer-encoding", "via"),
        *("proxy-authenticate", "proxy-authorization"),
    }
)
"""Fields that frame the message or belong to one hop: a credential in them would break the exchange."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LIST", "PROPFIND", "PURGE")
"""Methods that a rule in small letters was surely meant to name."""

_NAME: Final = re.compile(NAME_PATTERN[1:-1])
_ENV: Final = re.compile(ENV_PATTERN[1:-1])
_PLUGIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}(:[A-Za-z_][A-Za-z0-9_.]{0,127})?")
_FIELD: Final = re.compile(FIELD_PATTERN[1:-1])
_TOKEN: Final = re.compile(FIELD_NAME_PATTERN[1:-1])
_MAX_TEXT: Final = 4096


def name(value: object) -> str:
    """Read the name of a listener, service or secret."""
    text = _text(value, "a name")
    if not _NAME.fullmatch(text):
        raise Mistake("not a name", "up to 128 letters, digits, '.', '_', '-' and '/', a letter or digit first")
    return text


def any_secret(value: object) -> str:
    """Read the name of a secret, or ``token:SERVICE``: what the flow of a service's definition yields."""
    return f"{TOKEN}{name(value[len(TOKEN) :])}" if isinstance(value, str) and value.startswith(TOKEN) else name(value)


def plugin(value: object) -> str:
    """Read the name of a plugin, or ``module:name``."""
    text = _text(value, "a plugin's name")
    if not _PLUGIN.fullmatch(text):
        raise Mistake("not a plugin", "the name of an installed one, or module:name")
    return text


def service_reference(value: object) -> str:
    """Read the name of a service in a rule; ``*`` is every service."""
    return "*" if value == "*" else name(value)


def user_name(value: object) -> str:
    """Read a user name of Basic authentication (RFC 7617 §2: no colon, no control characters)."""
    text = plain_text(value)
    if not text or ":" in text:
        raise Mistake("not a user name", "text without ':'")
    return text


def header_name(value: object) -> str:
    """Read a header field that may carry a credential; returned in lower case."""
    text = _text(value, "a header name such as X-Api-Key")
    if not _TOKEN.fullmatch(text):
        raise Mistake("not a header name", "a name such as X-Api-Key, without the colon")
    if text.lower() in FORBIDDEN_HEADERS:
        raise Mistake("this header frames the message or belongs to one hop; it cannot carry a credential")
    return text.lower()


def query_name(value: object) -> str:
    """Read the name of a query parameter, not encoded."""
    text = plain_text(value)
    if not text:
        raise Mistake("the name is empty", "a parameter name such as api_key")
    return text


def method(value: object) -> str:
    """Read a method; methods are case-sensitive (RFC 9110 §9.1)."""
    text = _text(value, "a method such as GET")
    if not _TOKEN.fullmatch(text):
        raise Mistake("not a method", "a method such as GET")
    if text not in METHODS and text.upper() in METHODS:
        raise Mistake("methods are case-sensitive", "a method such as GET", text.upper())
    return text


def environment_name(value: object) -> str:
    """Read the name of an environment variable."""
    text = _text(value, "the name of an environment variable")
    if not _ENV.fullmatch(text):
        raise Mistake("not the name of an environment variable", "a name such as API_TOKEN, without '$'")
    return text


def plain_text(value: object) -> str:
    """Read text that goes into a header: printable ASCII, at most 4 KiB."""
    text = _text(value, "text")
    if len(text) > _MAX_TEXT or not text.isascii() or not all(char.isprintable() for char in text):
        raise Mistake("not printable ASCII, or too long", f"at most {_MAX_TEXT} printable ASCII characters")
    return text


def path_text(value: object) -> str:
    """Read the path of a file; it may be relative."""
    text = _text(value, "a path")
    if not text or "\0" in text or len(text) > _MAX_TEXT:
        raise Mistake("not a path", "the path of a file")
    return text


def argument(value: object) -> str:
    """Read one word of a command."""
    text = _text(value, "text; quote what looks like a number")
    if "\0" in text or len(text) > _MAX_TEXT:
        raise Mistake("not an argument of a program", f"at most {_MAX_TEXT} characters without NUL")
    return text


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise Mistake(f"{kind_of(value)} stands here", expected)
    return value


_GRPC_CONDITIONS: Final = "cancelled|deadline-exceeded|internal|resource-exhausted|unavailable"
CONDITION_PATTERN: Final = rf"^(connect|reset|timeout|4(08|09|25|29)|5[0-9]{{2}}|{_GRPC_CONDITIONS})$"


def retry_condition(value: object) -> str:
    """Read a condition of retries: a word of core.resilience, or a status that says that trying again may help."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not re.fullmatch(CONDITION_PATTERN, text):
        raise Mistake(
            "no condition for a retry",
            "connect, reset, timeout, 408, 409, 425, 429, a 5xx status, or a word of gRPC such as unavailable",
        )
    return text


FALLBACK_PATTERN: Final = r"^(connect|reset|timeout|open|[45][0-9]{2})$"


def fallback_condition(value: object) -> str:
    """Read a failure that a fallback is for: a word of core.fallback, or a status."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not re.fullmatch(FALLBACK_PATTERN, text):
        raise Mistake("no condition for a fallback", "connect, reset, timeout, open, or a status from 400 to 599")
    return text


def body_text(value: object) -> str:
    """Read the body of a response."""
    text = _text(value, "text")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BODY:
        raise Mistake("too long", f"at most {MAX_BODY // KIB} KiB; the same holds for body_file")
    return text


def field_name(value: object) -> str:
    """Read the name of a field or option of a definition."""
    text = _text(value, "a field such as api_key")
    if not _FIELD.fullmatch(text):
        raise Mistake("not a field", "up to 63 small letters, digits and '_', a letter first")
    return text


def regular_expression(value: object) -> str:
    """Read a regular expression."""
    text = _text(value, "a regular expression")
    try:
        re.compile(text)
    except re.error as error:
        raise Mistake(f"not a regular expression: {error}") from None
    return text


def any_header(value: object) -> str:
    """Read the name of any header field; returned in lower case."""
    text = _text(value, "a header name such as X-RateLimit-Limit")
    if not _TOKEN.fullmatch(text):
        raise Mistake("not a header name", "a name such as X-RateLimit-Limit, without the colon")
    return text.lower()


def status_text(value: object) -> str:
    """Read a status that is a key."""
    text = str(value)
    if not re.fullmatch("[1-5][0-9]{2}", text):
        raise Mistake("not a status", "three digits such as 401")
    return text
