"""Oracle's own SDK with another key, through proxyd, to a double that verifies by the public key."""

import base64
import hashlib
import re

import pytest

from tests.catalogue.lab.proxied import loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("oci",)
AGAINST = "double"
HOST = "identity.eu-frankfurt-1.oci.oraclecloud.com"
TENANCY, USER = "ocid1.tenancy.oc1..aaaa", "ocid1.user.oc1..bbbb"
FINGERPRINT = ":".join(["0a"] * 16)


def pem(key):
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(scope="module")
def keys():
    from cryptography.hazmat.primitives.asymmetric import rsa

    return [rsa.generate_private_key(65537, 2048) for _ in range(3)]


def rule_of(key):
    """draft-cavage-http-signatures §2.3, RSA-SHA256, with the fields that Oracle demands."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    def check(asked):
        said = dict(re.findall(r'(\w+)="([^"]*)"', asked.value("authorization")))
        names = said.get("headers", "").split()
        demanded = {"x-date" if "x-date" in names else "date", "(request-target)", "host"}
        if asked.method == "POST":
            demanded |= {"content-length", "content-type", "x-content-sha256"}
            if asked.value("x-content-sha256") != base64.b64encode(hashlib.sha256(asked.body).digest()).decode():
                return "NotAuthenticated"
        if said.get("keyId") != f"{TENANCY}/{USER}/{FINGERPRINT}" or not demanded <= set(names):
            return "NotAuthenticated"
        target = f"{asked.method.lower()} {asked.target}"
        lines = [f"{name}: {target if name == '(request-target)' else asked.value(name)}" for name in names]
        try:
            signature = base64.b64decode(said["signature"])
            key.public_key().verify(signature, "\n".join(lines).encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            return "NotAuthenticated"
        return ""

    return check


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/20160918/regions":
            return Answer(200, [{"key": "FRA", "name": "eu-frankfurt-1"}])
        case "POST", "/20160918/compartments":
            return Answer(200, {"id": "ocid1.compartment.oc1..cccc", **asked.json()})
    return Answer(404, {"code": "NotAuthorizedOrNotFound", "message": "not here"})


def refuse(why):
    return Answer(401, {"code": why, "message": "The required information to complete authentication was not provided"})


@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
def test_calls_that_the_sdk_signed_with_another_key_are_signed_anew(pki_of, vendor, proxied, keys, is_right):
    oci = pytest.importorskip("oci")

    right, wrong, placeholder = keys
    pki = pki_of(HOST)
    double = vendor(pki, rule_of(right), answers, refuse)
    options = {"tenancy": TENANCY, "user": USER, "fingerprint": FINGERPRINT, "region": "eu-frankfurt-1"}
    service = {"secret": {"private_key": "o/key"}, "options": options, **loopback(double.port, [HOST])}
    proxy = proxied(pki, {"oracle": service}, {"o/key": pem(right if is_right else wrong)})
    config = {"user": USER, "tenancy": TENANCY, "fingerprint": FINGERPRINT, "region": "eu-frankfurt-1"}
    client = oci.identity.IdentityClient(
        {**config, "key_content": pem(placeholder)}, retry_strategy=oci.retry.NoneRetryStrategy()
    )
    client.base_client.session.verify = proxy.roots
    if not is_right:
        with pytest.raises(oci.exceptions.ServiceError, match="NotAuthenticated"):
            client.list_regions()
        return
    assert client.list_regions().data[0].key == "FRA"
    details = oci.identity.models.CreateCompartmentDetails(compartment_id=TENANCY, name="dev", description="for tests")
    assert client.create_compartment(details).data.name == "dev"
    assert double.refused == []
