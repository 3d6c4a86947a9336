import types

import pytest

from proxyd.worker.own_credential import own_credential


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([], None),
        ([(b"accept", b"*/*"), (b"cookie", b"a=b")], None),
        ([(b"authorization", b"Bearer s3cret")], "authorization: Bearer"),
        ([(b"authorization", b"bearer s3cret")], "authorization: Bearer"),
        ([(b"authorization", b"s3cret-without-a-scheme")], "authorization"),
        ([(b"authorization", b"s3cret value")], "authorization"),
        ([(b"x-api-key", b"s3cret")], "x-api-key"),
        ([(b"private-token", b"s3cret")], "private-token"),
        ([(b"dd-application-key", b"s3cret"), (b"dd-api-key", b"s3cret")], "dd-api-key"),
        ([(b"api-token", b"s3cret"), (b"authorization", b"Basic s3cret")], "authorization: Basic"),
        ([(b"x-csrf-token", b"s3cret")], None),
        ([(b"tokens", b"s3cret")], None),
    ],
)
def test_the_field_and_a_known_scheme_are_told_and_never_a_value(headers, told):
    found = own_credential(types.SimpleNamespace(headers=headers))
    assert found == told
    assert "s3cret" not in str(found)
