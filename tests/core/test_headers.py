import pytest

from proxyd.core.headers import is_grpc


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=utf-8", True),
        (b"application/grpc ; x", True),
        (b"application/grpc-web+proto", False),
        (b"application/grpcx", False),
        (b"application/json", False),
    ],
)
def test_grpc_is_known_by_its_content_type_and_grpc_web_is_not_grpc(value, verdict):
    assert is_grpc([(b"content-type", value)]) is verdict


def test_a_message_without_a_content_type_is_not_grpc():
    assert not is_grpc([])
