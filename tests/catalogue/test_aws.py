"""boto3 and the AWS CLI with placeholders, through proxyd, to moto, which checks every signature by botocore."""

import io
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from proxyd.catalog.shelf import SHIPPED
from tests.auth.test_sigv4_botocore import test_signatures_are_botocores  # noqa: F401 - here botocore is there
from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.lab.daemon import wait_until

CLIENTS = ("boto3", "awscli", "minio", "rclone")
AGAINST = "moto, which verifies signatures"
REGION = "eu-west-1"
BUCKET = "lab-bucket"
HOSTS = (
    "localhost",
    f"s3.{REGION}.amazonaws.com",
    f"{BUCKET}.s3.{REGION}.amazonaws.com",
    f"dynamodb.{REGION}.amazonaws.com",
    f"sqs.{REGION}.amazonaws.com",
    f"sts.{REGION}.amazonaws.com",
    "sts.amazonaws.com",
    "iam.amazonaws.com",
    "store",
)
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class Moto:
    """A moto server over TLS, whose authentication is switched on once a user has a key."""

    def __init__(self, pki):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        program = Path(sys.executable).with_name("moto_server")
        command = [program, "-H", "127.0.0.1", "-p", str(self.port), "-c", pki.certificate, "-k", pki.key]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"https://localhost:{self.port}"
        self.roots = str(pki.roots)
        wait_until(self._answers, "moto's port", 60)

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def user(self):
        """Return a user's key; from then on every request must be signed with one. There is a role, too."""
        import boto3

        session = boto3.session.Session("setup", "setup", region_name=REGION)
        iam = session.client("iam", endpoint_url=self.url, verify=self.roots)
        iam.create_user(UserName="lab")
        iam.put_user_policy(UserName="lab", PolicyName="all", PolicyDocument=json.dumps(POLICY))
        key = iam.create_access_key(UserName="lab")["AccessKey"]
        self.role = iam.create_role(RoleName="lab-role", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName="lab-role", PolicyName="all", PolicyDocument=json.dumps(POLICY))
        self.demand_signatures()
        return key["AccessKeyId"], key["SecretAccessKey"]

    def demand_signatures(self, after=0):
        """Take so many requests more without one."""
        context = ssl.create_default_context(cafile=self.roots)
        fields = {"content-type": "text/plain"}
        wanted = urllib.request.Request(f"{self.url}/moto-api/reset-auth", b"%d" % after, fields, method="POST")
        urllib.request.urlopen(wanted, context=context).close()

    def close(self):
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def aws(pki_of, proxied, stack, monkeypatch, tmp_path):
    """Start moto and the daemon; return a function that makes clients of boto3 with placeholders."""
    import boto3

    pki = pki_of(*HOSTS)
    moto = Moto(pki)
    stack.callback(moto.close)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    identity, secret = moto.user()

    def start(key=secret, **more):
        service = {"secret": {"access_key_id": "aws/id", "secret_access_key": "aws/key"}, **loopback(moto.port), **more}
        values = {"aws/id": identity, "aws/key": key, "aws/web": "a-token-of-an-identity-provider"}
        used = {name: value for name, value in values.items() if name in service["secret"].values()}
        service = {name: value for name, value in service.items() if value != {}}
        top = {"catalogue": [_asking(moto, tmp_path)]} if "role_arn" in service.get("options", {}) else {}
        proxy = proxied(pki, {"aws": service}, used, **top)
        monkeypatch.setenv("AWS_CA_BUNDLE", os.environ["SSL_CERT_FILE"])
        session = boto3.session.Session(PLACEHOLDER, PLACEHOLDER, region_name=REGION)
        return proxy, session.client

    start.moto, start.key = moto, (identity, secret)
    return start


def _asking(moto, folder):
    """Write the definition with moto in the place of the STS that control asks; return its path."""
    text = (SHIPPED / "aws.yaml").read_text()
    ours = f"url: {moto.url}/\n      hosts: [localhost]"
    text, count = re.subn(r"hosts: \[sts\.amazonaws\.com, .*\]", ours, text)
    assert count == 2
    path = folder / "aws.yaml"
    path.write_text(text)
    return str(path)


def test_buckets_and_objects(aws):
    _, client = aws()
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    for key, data in (("plain.txt", b"hello"), ("odd/ key +=&é~.txt", b"x" * 100_000), ("empty", b"")):
        s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == data
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="odd/ key")
    assert [item["Key"] for item in listed["Contents"]] == ["odd/ key +=&é~.txt"]
    s3.delete_object(Bucket=BUCKET, Key="plain.txt")


def test_streams_and_parts(aws):
    _, client = aws()
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    data = os.urandom(12 * 1024 * 1024)
    s3.upload_fileobj(io.BytesIO(data), BUCKET, "parts")
    assert s3.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == data


def test_other_services(aws):
    _, client = aws()
    assert ":user/lab" in client("sts").get_caller_identity()["Arn"]
    table = client("dynamodb")
    table.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    table.put_item(TableName="t", Item={"k": {"S": "ü"}})
    assert table.get_item(TableName="t", Key={"k": {"S": "ü"}})["Item"] == {"k": {"S": "ü"}}
    queues = client("sqs")
    url = queues.create_queue(QueueName="q")["QueueUrl"]
    assert url.endswith("/q")


def test_programs_that_sign_nothing(aws):
    import requests

    _, client = aws()
    client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    bucket = f"https://s3.{REGION}.amazonaws.com/{BUCKET}"
    assert requests.put(f"{bucket}/a+b/c", data=b"data", timeout=20).status_code == 200
    listed = requests.get(bucket, {"list-type": "2", "prefix": "a+b/"}, timeout=20)
    assert "<Key>a+b/c</Key>" in listed.text
    form = {"Action": "ListQueues", "Version": "2012-11-05"}
    answer = requests.post(f"https://sqs.{REGION}.amazonaws.com/", form, timeout=20)
    assert (answer.status_code, "ListQueuesResponse" in answer.text) == (200, True)


@pytest.mark.parametrize(
    ("secret", "scheme"),
    [
        ({"access_key_id": "aws/id", "secret_access_key": "aws/key"}, "assume_role"),
        ({"web_identity_token": "aws/web"}, "web_identity"),
    ],
    ids=["by a key", "by a web identity"],
)
def test_a_role_is_assumed_and_its_keys_sign(aws, secret, scheme):
    options = {"role_arn": aws.moto.role, "session_name": "lab-session"}
    if scheme == "web_identity":
        aws.moto.demand_signatures(after=1)  # proxyd's own question, which moto does not know to be free
    _, client = aws(options=options, scheme=scheme, secret=secret)
    assert client("sts").get_caller_identity()["Arn"].endswith(":assumed-role/lab-role/lab-session")
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"of the role")
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"of the role"


def test_keys_that_a_profiles_program_gives_sign(aws, tmp_path):
    """By botocore in control, out of the home of the daemon's user."""
    folder = tmp_path / "home" / ".aws"
    folder.mkdir(parents=True)
    identity, secret = aws.key
    said = json.dumps({"Version": 1, "AccessKeyId": identity, "SecretAccessKey": secret})
    (folder / "said.json").write_text(said)
    (folder / "config").write_text(f"[profile work]\ncredential_process = cat {folder / 'said.json'}\n")
    _, client = aws(secret={}, scheme="chain", options={"profile": "work"})
    assert ":user/lab" in client("sts").get_caller_identity()["Arn"]


STORE = {"hosts": ["store"], "options": {"service": "s3", "region": "us-east-1"}}


def test_a_compatible_store_by_its_own_client(aws):
    import urllib3
    from minio import Minio

    proxy, _ = aws(**STORE)
    http = urllib3.ProxyManager(proxy.url, ca_certs=proxy.roots, timeout=20, retries=False)
    client = Minio("store", access_key=PLACEHOLDER, secret_key=PLACEHOLDER, region="us-east-1", http_client=http)
    client.make_bucket(BUCKET)
    data = os.urandom(7 * 1024 * 1024)
    client.put_object(BUCKET, "parts and + more", io.BytesIO(data), -1, part_size=5 * 1024 * 1024)
    assert client.get_object(BUCKET, "parts and + more").read() == data
    assert [item.object_name for item in client.list_objects(BUCKET, "parts and")] == ["parts and + more"]


def test_a_compatible_store_by_rclone(aws):
    proxy, _ = aws(**STORE)
    variables = {
        "RCLONE_CONFIG_LAB_TYPE": "s3",
        "RCLONE_CONFIG_LAB_PROVIDER": "Other",
        "RCLONE_CONFIG_LAB_ENDPOINT": "https://store",
        "RCLONE_CONFIG_LAB_REGION": "us-east-1",
        "RCLONE_CONFIG_LAB_ACCESS_KEY_ID": PLACEHOLDER,
        "RCLONE_CONFIG_LAB_SECRET_ACCESS_KEY": PLACEHOLDER,
        "AWS_CA_BUNDLE": "",  # rclone ends over it; SSL_CERT_FILE is there
    }
    (proxy.daemon.folder / "file").write_bytes(b"z" * 9_000_000)
    proxy.output("rclone", "mkdir", f"lab:{BUCKET}", variables=variables)
    proxy.output("rclone", "copyto", "file", f"lab:{BUCKET}/some/file", variables=variables)
    assert "9000000 some/file" in proxy.output("rclone", "ls", f"lab:{BUCKET}", variables=variables)


def test_a_wrong_secret_is_refused(aws):
    from botocore.exceptions import ClientError

    _, client = aws(key="not-the-secret-of-this-key-at-all-0000000")
    with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|InvalidSignature"):
        client("sts").get_caller_identity()


def test_a_presigned_url_is_refused_unless_it_is_allowed(aws):
    import requests

    _, client = aws()
    url = client("s3").generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "k"})
    answer = requests.get(url, timeout=20)
    assert answer.status_code == 403
    assert "presigned: true" in answer.json()["detail"]


def test_the_command_line(aws):
    proxy, _ = aws()
    variables = {
        "AWS_ACCESS_KEY_ID": PLACEHOLDER,
        "AWS_SECRET_ACCESS_KEY": PLACEHOLDER,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CA_BUNDLE": proxy.roots,
    }
    program = str(Path(sys.executable).with_name("aws"))

    def aws_says(*words):
        return proxy.output(program, *words, variables=variables)

    assert json.loads(aws_says("sts", "get-caller-identity"))["Arn"].endswith(":user/lab")
    aws_says("s3", "mb", f"s3://{BUCKET}")
    (proxy.daemon.folder / "file").write_bytes(b"y" * 9_000_000)
    aws_says("s3", "cp", "file", f"s3://{BUCKET}/some/file")
    assert "some/file" in aws_says("s3", "ls", "--recursive", f"s3://{BUCKET}")
