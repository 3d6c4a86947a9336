import pytest

from proxyd.downstream import grpc


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (502, 14), (503, 14), (504, 4), (421, 2), (508, 2)],
)
def test_a_status_of_http_is_one_of_grpc(status, expected):
    fields = dict(grpc.fields(status, "why"))
    assert fields == {b"content-type": b"application/grpc", b"grpc-status": b"%d" % expected, b"grpc-message": b"why"}


def test_a_message_is_printable_ascii():
    assert grpc.message("50 % of é\n") == b"50 %25 of %C3%A9%0A"
