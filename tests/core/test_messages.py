import pytest

from proxyd.core.messages import InstallLeaf, SetCredential, SetCredentials

SECRET = b"a-secret-value"


@pytest.mark.parametrize(
    "message",
    [
        SetCredential("token", SECRET, former=[SECRET]),
        SetCredentials({"token": SECRET}),
        InstallLeaf("api.example", b"chain", SECRET, 1.0),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_does_not_show_the_secret_that_it_carries(message):
    assert SECRET.decode() not in repr(message)
