import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.auth.www_authenticate import MAX_FIELD, bearer_challenge

HUB = (
    b'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    b'scope="repository:samalba/my-app:pull,push"'
)
WHOLE = ("https://auth.docker.io/token", "registry.docker.io", "repository:samalba/my-app:pull,push")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([HUB], WHOLE),
        ([HUB + b',error="insufficient_scope"'], WHOLE),
        ([b'Basic realm="x", ' + HUB], WHOLE),
        ([b'Basic realm="x"', HUB], WHOLE),
        ([HUB + b', Basic realm="x"'], WHOLE),
        ([b"bearer realm=a , SERVICE = b"], ("a", "b", "")),
        ([b'Bearer realm="a\\"b", scope="x y"'], ('a"b', "", "x y")),
        ([b'Bearer realm="a", realm="b"'], ("a", "", "")),
        ([b'Basic realm="x"'], None),
        ([b"Bearer"], None),
        ([b'Bearer scope="x"'], None),
        ([b'Bearer realm="'], None),
        ([b'Bearer realm="a\xff"'], ("a\ufffd", "", "")),
        ([b'Bearer realm="a\x01"'], None),
        ([b'Bearer realm="' + b"a" * MAX_FIELD + b'"'], None),
        ([b'Bearer realm="' + b"a" * 1025 + b'"'], None),
        ([b""], None),
        ([], None),
    ],
)
def test_challenges(values, found):
    assert bearer_challenge(values) == found


@given(st.binary(max_size=200) | st.text("Bearer realm=\"',\\ ab", max_size=80).map(str.encode))
def test_noise_is_no_error(value):
    found = bearer_challenge([value])
    assert found is None or found.realm
