"""What signing costs: ``python -m bench.signing``, microseconds a request, and MiB a second of chunks signed anew.

Requests are SDKs' own, with placeholders and 1 KB where they have a body, signed as an attempt does it. Prints JSON;
returns 0 when the bar is met: 25 us for a request to AWS. A whole daemon with 1 GiB is
tests/e2e/test_signed_uploads.py (``-m slow``).
"""

import json
import sys
import time
from typing import Final

from proxyd.auth.aws_chunked import Chain, Frames
from proxyd.auth.registry import compile as compile_auth
from proxyd.core.exchange import Outgoing
from proxyd.core.headers import Headers
from proxyd.core.service import Auth
from proxyd.core.units import KIB, MIB

MOST_US: Final = 25.0
TURNS: Final = 10_000
VALUES: Final = {"id": b"AKIDEXAMPLE", "key": b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token": b"t" * 400}
SECRETS: Final = (("access_key_id", "id"), ("secret_access_key", "key"), ("session_token", "token"))
BODY: Final = b"x" * KIB


def _sdk(service: bytes) -> Headers:
    scope = b"PLACEHOLDER/20260101/eu-west-1/" + service + b"/aws4_request"
    return [
        (b"user-agent", b"Boto3/1.44.8 md/Botocore#1.44.8 ua/2.1 os/linux lang/python#3.13"),
        (b"x-amz-date", b"20260101T000000Z"),
        (b"authorization", b"AWS4-HMAC-SHA256 Credential=" + scope + b", SignedHeaders=host, Signature=" + b"0" * 64),
        (b"amz-sdk-invocation-id", b"7d2a0b0e-5f1c-4f5e-9d53-0f6f9f3c1c11"),
        (b"amz-sdk-request", b"attempt=1"),
    ]


JSON_CALL: Final = [(b"x-amz-target", b"DynamoDB_20120810.PutItem"), (b"content-type", b"application/x-amz-json-1.0")]
REQUESTS: Final[dict[str, tuple[bytes, bytes, bytes, Headers, bytes | None]]] = {
    "a call of 1 KB": (b"POST", b"dynamodb.eu-west-1.amazonaws.com", b"/", _sdk(b"dynamodb") + JSON_CALL, BODY),
    "a GET of S3": (b"GET", b"b.s3.eu-west-1.amazonaws.com", b"/some/key?x-id=GetObject", _sdk(b"s3"), b""),
    "a list of S3": (
        b"GET",
        b"b.s3.eu-west-1.amazonaws.com",
        b"/?list-type=2&prefix=a%20b%2Fc&max-keys=1000&continuation-token=abc%3D%3D&encoding-type=url",
        _sdk(b"s3"),
        b"",
    ),
    "not signed by the client": (b"POST", b"sqs.eu-west-1.amazonaws.com", b"/", [], BODY),
}


def microseconds(method: bytes, host: bytes, path: bytes, headers: Headers, body: bytes | None) -> float:
    """Return what one signature costs, of the best round."""
    signer = compile_auth(Auth("sigv4", secrets=SECRETS))
    sign = signer.sign  # type: ignore[attr-defined]
    now = time.time()
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(TURNS):
            sign(Outgoing(method, b"https", host, headers, path, body, len(body or b""), now), VALUES)
        best = min(best, time.perf_counter() - began)
    return round(best / TURNS * 1e6, 2)


def mebibytes_a_second(chunk: int, piece: int = 64 * KIB) -> float:
    """Return how fast a body of such chunks is signed anew, read in pieces."""
    data = b"%x;chunk-signature=%s\r\n%s\r\n" % (chunk, b"0" * 64, bytes(chunk))
    count = 64 * MIB // chunk
    frames = Frames(Chain(bytes(32), "20260101T000000Z", "20260101/eu-west-1/s3"))
    began = time.perf_counter()
    for _ in range(count):
        for start in range(0, len(data), piece):
            frames.feed(data[start : start + piece])
    return round(chunk * count / MIB / (time.perf_counter() - began))


def main() -> int:
    """Print one JSON object; 1 where the bar is missed."""
    signed = {name: microseconds(*request) for name, request in REQUESTS.items()}
    chunks = {f"{size // KIB} KiB": mebibytes_a_second(size) for size in (8 * KIB, 64 * KIB, MIB, 8 * MIB)}
    print(json.dumps({"aws_us": signed, "aws_chunks_mib_s": chunks}, indent=1))
    return 0 if max(signed.values()) <= MOST_US else 1


if __name__ == "__main__":
    sys.exit(main())
