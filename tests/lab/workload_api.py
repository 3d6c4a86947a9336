"""A scripted SPIFFE Workload API: what an agent answers to FetchX509SVID, on a Unix socket, over real gRPC."""

import datetime
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

METHOD = "/SpiffeWorkloadAPI/FetchX509SVID"


def message(*fields: tuple[int, bytes | int]) -> bytes:
    """Encode a protobuf message of bytes and numbers."""
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += _varint(number << 3) + _varint(value)
        else:
            data += _varint(number << 3 | 2) + _varint(len(value)) + value
    return data


def _varint(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return data + bytes((value,))


class TrustDomain:
    """A CA that signs identities."""

    def __init__(self, name: str = "lab.example") -> None:
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = (
            _builder(name, name, self.key, now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def bundle(self) -> bytes:
        """The root in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    def issue(self, path: str = "/app", seconds: float = 3600.0) -> "Identity":
        """Sign an identity that lives so long."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        ends = now + datetime.timedelta(seconds=seconds)
        uri = x509.UniformResourceIdentifier(f"spiffe://{self.name}{path}")
        leaf = (
            _builder(path, self.name, key, now - datetime.timedelta(minutes=1), ends)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Identity(uri.value, leaf, key, self.bundle)

    def crl(self) -> bytes:
        """A list that revokes nothing, in DER."""
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject).last_update(now)
        made = builder.next_update(now + datetime.timedelta(days=1)).sign(self.key, hashes.SHA256())
        return made.public_bytes(Encoding.DER)


@dataclass(slots=True)
class Identity:
    """One X.509-SVID."""

    id: str
    leaf: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    bundle: bytes
    hint: str = ""

    @property
    def certificate_pem(self) -> bytes:
        return self.leaf.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def encoded(self) -> bytes:
        key = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        certificate = self.leaf.public_bytes(Encoding.DER)
        fields = [(1, self.id.encode()), (2, certificate), (3, key), (4, self.bundle), (5, self.hint.encode())]
        return message(*fields)


def _builder(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    begins: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
    builder = builder.not_valid_before(begins).not_valid_after(ends)
    return builder.serial_number(x509.random_serial_number()).public_key(key.public_key())


@dataclass
class WorkloadApi:
    """An agent. Use as a context manager; ``answer`` is what it gives, or the status that it refuses with."""

    path: Path
    answer: bytes | grpc.StatusCode
    calls: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _server: Any = None

    @property
    def endpoint(self) -> str:
        return f"unix://{self.path}"

    def give(
        self, *identities: Identity, crls: tuple[bytes, ...] = (), federated: Mapping[str, bytes] = MappingProxyType({})
    ) -> None:
        """Answer with these from now on."""
        fields: list[tuple[int, bytes | int]] = [(1, one.encoded()) for one in identities]
        fields += [(2, crl) for crl in crls]
        fields += [(3, message((1, domain.encode()), (2, bundle))) for domain, bundle in federated.items()]
        self.answer = message(*fields)

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.unary_stream_rpc_method_handler(self._fetch)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", {"FetchX509SVID": handler}),)
        )
        assert self._server.add_insecure_port(f"unix:{self.path}")
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.stop(None).wait()

    def _fetch(self, request: bytes, context: Any) -> Any:
        self.calls += 1
        if ("workload.spiffe.io", "true") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        if isinstance(self.answer, grpc.StatusCode):
            context.abort(self.answer, "no identity issued")
        yield self.answer
        while context.is_active() and not self._over.wait(0.05):  # as an agent, which goes on with later identities
            pass
