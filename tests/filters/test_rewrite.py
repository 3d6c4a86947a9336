"""References in the client's words: what lies under the base URL, and nothing else."""

import re
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.authority import Authority
from proxyd.core.facade import Facade
from proxyd.filters.rewrite import reference, rewrite

UPSTREAM = Authority("api.x", 443, False)
BY_PATH = Facade(b"http", b"127.0.0.1:3129", b"/x", b"https", UPSTREAM, b"/v2", is_gateway=True)
BY_HOST = Facade(b"http", b"x.localhost:3129", b"", b"https", UPSTREAM, b"/v2", is_gateway=True)
AT_ROOT = Facade(b"http", b"x", b"", b"https", UPSTREAM, b"", is_gateway=True)
UPGRADED = Facade(b"http", b"api.x", b"", b"https", UPSTREAM, b"")
PATH = b"/v2/a/b"


@pytest.mark.parametrize(
    ("facade", "said", "meant"),
    [
        (BY_PATH, b"https://api.x/v2/user?p=2#f", b"http://127.0.0.1:3129/x/user?p=2#f"),
        (BY_PATH, b"https://api.x/v2", b"http://127.0.0.1:3129/x"),
        (BY_PATH, b"https://api.x/v2?q", b"http://127.0.0.1:3129/x?q"),
        (BY_PATH, b"HTTPS://API.X:443/v2/u", b"http://127.0.0.1:3129/x/u"),
        (BY_PATH, b"//api.x/v2/u", b"http://127.0.0.1:3129/x/u"),
        (BY_PATH, b"/v2/u?a=%2F", b"/x/u?a=%2F"),
        (BY_HOST, b"https://api.x/v2/user", b"http://x.localhost:3129/user"),
        (BY_HOST, b"/v2/u", b"/u"),
        (BY_HOST, b"/v2", b"/"),
        (BY_HOST, b"/v2?q", b"/?q"),
        (AT_ROOT, b"https://api.x/u", b"http://x/u"),
        (AT_ROOT, b"https://api.x", b"http://x"),
        (AT_ROOT, b"/u;v=1", b"/u;v=1"),
        (UPGRADED, b"https://api.x/u", b"http://api.x/u"),
        (UPGRADED, b"https://api.x/u;v/..%2f", b"http://api.x/u;v/..%2f"),
    ],
)
def test_what_lies_under_the_base_url_comes_back_in_the_form_that_the_client_used(
    facade: Facade, said: bytes, meant: bytes
) -> None:
    assert reference(said, facade, PATH) == meant


@pytest.mark.parametrize("facade", [BY_PATH, BY_HOST, AT_ROOT, UPGRADED])
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"#f",
        b"https://api.x.evil/v2/u",
        b"https://evil/https://api.x/v2/u",
        b"https://api.x:8443/v2/u",
        b"https://user@api.x/v2/u",
        b"https://api.x@evil/v2/u",
        b"http://api.x/v2/u",
        b"https:/v2/u",
        b"https://",
        b"mailto:api.x/v2",
        b"javascript:alert(1)",
        b"https://api.x\\@evil/v2/u",
        b"https://api.x /v2/u",
        b"\\\\api.x/v2/u",
        b"https://api.x\xff/v2",
        b"https://[::1/v2",
    ],
)
def test_what_does_not_stays_byte_for_byte(facade: Facade, said: bytes) -> None:
    assert reference(said, facade, PATH) == said


@pytest.mark.parametrize("facade", [BY_PATH, BY_HOST])
@pytest.mark.parametrize(
    "said", [b"https://api.x/v22/u", b"https://api.x/", b"https://api.x/v2/../u", b"https://api.x/v2/%2e%2e/u"]
)
def test_beside_the_base_path_is_not_under_it(facade: Facade, said: bytes) -> None:
    assert reference(said, facade, PATH) == said


@pytest.mark.parametrize("facade", [BY_PATH, BY_HOST])
@pytest.mark.parametrize("said", [b"/other", b"/", b"/v22/u", b"../../../other"])
def test_a_path_that_would_mean_another_place_here_is_written_out(facade: Facade, said: bytes) -> None:
    meant = urljoin("https://api.x" + PATH.decode(), said.decode()).encode()
    assert reference(said, facade, PATH) == meant


@pytest.mark.parametrize(
    ("said", "path", "meant"),
    [
        (b"c", b"/v2/a/b", b"c"),
        (b"../c", b"/v2/a/b", b"../c"),
        (b"?page=2", b"/v2/a/b?page=1", b"?page=2"),
        (b"c", b"/v2", b"https://api.x/c"),
        (b"v2/c", b"/v2", b"/x/c"),
        (b"../../v2/c", b"/v2/a/b", b"/x/c"),
    ],
)
def test_a_relative_reference_stays_where_it_leads_to_the_same(said: bytes, path: bytes, meant: bytes) -> None:
    assert reference(said, BY_PATH, path) == meant


def test_a_scheme_of_the_readers_own_is_written_out_where_it_is_another() -> None:
    assert reference(b"//cdn.x/u", BY_PATH, PATH) == b"https://cdn.x/u"


def test_encoded_slashes_are_rewritten_where_the_service_has_them() -> None:
    gitlab = Facade(b"http", b"h", b"/x", b"https", UPSTREAM, b"/v2", encoded_slash=True, is_gateway=True)
    assert reference(b"https://api.x/v2/a%2Fb", gitlab, PATH) == b"http://h/x/a%2Fb"
    assert reference(b"https://api.x/v2/a%2Fb", BY_PATH, PATH) == b"https://api.x/v2/a%2Fb"


def test_link_targets_are_rewritten_and_nothing_around_them() -> None:
    said = (
        b'<https://api.x/v2/p?page=2>; rel="next"; title="<https://api.x/v2/in-a-title>", '
        b'<https://other/p>; rel=last, </v2/q>;rel="a \\" <b>"'
    )
    ((_, link),) = rewrite([(b"link", said)], BY_PATH, PATH)
    assert link == (
        b'<http://127.0.0.1:3129/x/p?page=2>; rel="next"; title="<https://api.x/v2/in-a-title>", '
        b'<https://other/p>; rel=last, </x/q>;rel="a \\" <b>"'
    )


def test_other_fields_and_an_upgraded_clients_cookies_are_left_alone() -> None:
    headers = [
        (b"x-next", b"https://api.x/v2/u"),
        (b"refresh", b"0; url=https://api.x/v2/u"),
        (b"set-cookie", b"a=b; Domain=api.x; Secure"),
    ]
    assert rewrite(headers, UPGRADED, PATH) == headers


# --- whatever comes ---------------------------------------------------------------------------------

FACADES = st.sampled_from([BY_PATH, BY_HOST, AT_ROOT, UPGRADED])
PIECES = st.sampled_from(
    ["https:", "http:", "//", "/", "api.x", "api.x.evil", "evil", ":443", ":80", "@", "v2", "v22", "x", "..", ".",
     "%2e", "%2f", ";", "?", "#", "a", "\\", " ", "[::1]", "\xff", "//api.x/v2"]
)  # fmt: skip
REFERENCES = st.lists(PIECES, max_size=8).map(lambda pieces: "".join(pieces).encode("latin-1"))


@given(FACADES, REFERENCES)
def test_only_what_is_under_the_base_url_becomes_the_clients_own(facade: Facade, said: bytes) -> None:
    answer = reference(said, facade, PATH)
    if answer == said or not answer.startswith(facade.scheme + b"://" + facade.authority):
        return
    scheme, authority, path, _ = resolve(UPSTREAM_URL, said.decode("latin-1"))
    base = facade.base_path.decode()
    assert (scheme, authority) == ("https", "api.x")
    assert not base or path == base or path.startswith(base + "/")


@given(FACADES, REFERENCES)
def test_a_rewritten_reference_leads_the_client_to_what_the_upstream_meant(facade: Facade, said: bytes) -> None:
    answer = reference(said, facade, PATH)
    if answer == said:
        return
    own = f"{facade.scheme.decode()}://{facade.authority.decode()}"
    own_url = own + (facade.prefix + PATH.removeprefix(facade.base_path)).decode()
    scheme, authority, path, query = resolve(own_url, answer.decode("latin-1"))
    if f"{scheme}://{authority}" == own:
        prefix = facade.prefix.decode()
        assert path == prefix or path.startswith(prefix + "/")
        scheme, authority = "https", "api.x"
        path = facade.base_path.decode() + path.removeprefix(prefix)
    meant = resolve(UPSTREAM_URL, said.decode("latin-1"))
    assert (scheme, authority, path.rstrip("/"), query) == (*meant[:2], meant[2].rstrip("/"), meant[3])


UPSTREAM_URL = "https://api.x" + PATH.decode()
SPLIT = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL
)  # RFC 3986 appendix B


def resolve(url: str, said: str) -> tuple[str, str, str, str | None]:
    """Resolve a reference as RFC 3986 §5.2 says, to the letter; return scheme, authority, path and query."""
    base, found = SPLIT.fullmatch(url), SPLIT.fullmatch(said)
    assert base
    assert found
    scheme, authority, path, query = found.groups()
    if scheme is None:
        scheme = base[1]
        if authority is None:
            authority = base[2]
            if not path:
                path, query = base[3], query if query is not None else base[4]
            elif not path.startswith("/"):
                path = base[3].rpartition("/")[0] + "/" + path
    default = {"https": ":443", "http": ":80"}.get(scheme.lower(), ":")
    return scheme.lower(), (authority or "").lower().removesuffix(default).removesuffix(":"), without_dots(path), query


def without_dots(path: str) -> str:
    """RFC 3986 §5.2.4, to the letter."""
    out = ""
    while path:
        if path.startswith(("../", "./")):
            path = path.partition("/")[2]
        elif path.startswith("/./") or path == "/.":
            path = "/" + path[3:]
        elif path.startswith("/../") or path == "/..":
            path, out = "/" + path[4:], out.rpartition("/")[0]
        elif path in (".", ".."):
            path = ""
        else:
            end = path.find("/", 1)
            end = len(path) if end < 0 else end
            out, path = out + path[:end], path[end:]
    return out
