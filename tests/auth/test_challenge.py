"""Scopes are learned from challenges, by kind of request, and their tokens go nowhere else."""

import pytest

from proxyd.auth.challenge import MAX_KINDS, ChallengeInjector
from proxyd.core.authority import parse_authority
from proxyd.core.exchange import BodyUse, Outgoing
from proxyd.core.message import BytesBody, Request, Response
from proxyd.core.service import Auth, AuthPart

NAME = "token:hub"


def request(method=b"GET", path=b"/v2/a/b/manifests/latest", host=b"registry.example", body=b""):
    authority = parse_authority(host, 443)
    return Request(method, b"https", authority, path, [(b"host", host)], BytesBody(body))


def refusal(scope="repository:a/b:pull", status=401):
    field = f'Bearer realm="https://auth.example/token",service="registry.example",scope="{scope}"'
    return Response(status, [(b"www-authenticate", field.encode())], BytesBody(b""))


@pytest.fixture
def scheme():
    return ChallengeInjector(Auth("challenge", (AuthPart("authorization", NAME),)))


def sent(scheme, values, **of):
    asked = request(**of)
    own = [*asked.headers, (b"authorization", b"Basic placeholder")]
    made = Outgoing(asked.method, b"https", b"registry.example", own, asked.path, None, 0, 0.0)
    scheme.sign(made, values)
    return dict(made.headers).get(b"authorization"), made.used


def test_the_clients_own_goes_and_nothing_is_sent_before_a_challenge(scheme):
    assert sent(scheme, {}) == (None, b"")


def test_a_challenge_is_asked_about_and_requests_of_its_kind_carry_the_token(scheme):
    question = scheme.question(request(), refusal())
    assert (question.name, question.scope) == (NAME, "repository:a/b:pull")
    assert (question.realm, question.audience) == ("https://auth.example/token", "registry.example")
    values = {question.secret: b"the-token"}
    for path in (b"/v2/a/b/manifests/latest", b"/v2/a/b/blobs/sha256:0", b"/v2/a/b/tags/list?n=5"):
        assert sent(scheme, values, path=path) == (b"Bearer the-token", b"the-token")
    assert sent(scheme, values, method=b"HEAD")[0] == b"Bearer the-token"
    for other in ({"method": b"PUT"}, {"method": b"DELETE"}, {"path": b"/v2/a/c/manifests/latest"}, {"path": b"/v2/"}):
        assert sent(scheme, values, **other) == (None, b"")
    assert sent(scheme, {}) == (None, b""), "there is no value any more"


def test_a_mount_from_another_repository_has_a_scope_of_its_own(scheme):
    plain, mount = b"/v2/a/b/blobs/uploads/", b"/v2/a/b/blobs/uploads/?mount=sha256:0&from=c"
    first = scheme.question(request(b"POST", plain), refusal("repository:a/b:pull,push"))
    second = scheme.question(request(b"POST", mount), refusal("repository:a/b:pull,push repository:c:pull"))
    values = {first.secret: b"first", second.secret: b"second"}
    assert sent(scheme, values, method=b"POST", path=plain)[1] == b"first"
    assert sent(scheme, values, method=b"POST", path=mount)[1] == b"second"
    assert sent(scheme, values, method=b"PATCH", path=b"/v2/a/b/blobs/uploads/1?_state=x&from=c")[1] == b"first"


@pytest.mark.parametrize("status", [200, 403])
def test_only_401_is_a_challenge(scheme, status):
    assert scheme.question(request(), refusal(status=status)) is None
    assert scheme.question(request(), Response(401, [], BytesBody(b""))) is None


def test_what_is_remembered_is_bounded(scheme):
    questions = [scheme.question(request(path=b"/v2/r%d/tags/list" % n), refusal(str(n))) for n in range(MAX_KINDS + 1)]
    values = {question.secret: b"token" for question in questions}
    assert sent(scheme, values, path=b"/v2/r0/tags/list")[1] == b""
    assert sent(scheme, values, path=b"/v2/r1/tags/list")[1] == b"token"


def test_short_bodies_are_held(scheme):
    assert scheme.use_of_body(request(b"PUT", body=b"{}")) is BodyUse.WHOLE
    assert scheme.use_of_body(request(b"PUT", body=b"x" * 70_000)) is BodyUse.NONE
    assert scheme.use_of_body(request()) is BodyUse.NONE
