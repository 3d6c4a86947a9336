"""Which service and region a host of AWS is signed for (botocore's endpoints.json and service models, 1.44)."""

import enum
import re
from functools import lru_cache
from typing import Final

GLOBAL: Final[dict[str, tuple[str, str]]] = {
    "account.us-east-1.amazonaws.com": ("account", "us-east-1"),
    "billingconductor.us-east-1.amazonaws.com": ("billingconductor", "us-east-1"),
    "budgets.amazonaws.com": ("budgets", "us-east-1"),
    "ce.us-east-1.amazonaws.com": ("ce", "us-east-1"),
    "chime.us-east-1.amazonaws.com": ("chime", "us-east-1"),
    "cloudfront.amazonaws.com": ("cloudfront", "us-east-1"),
    "global.health.amazonaws.com": ("health", "us-east-1"),
    "iam.amazonaws.com": ("iam", "us-east-1"),
    "iam.us-gov.amazonaws.com": ("iam", "us-gov-west-1"),
    "importexport.amazonaws.com": ("IngestionService", "us-east-1"),
    "networkmanager.us-west-2.amazonaws.com": ("networkmanager", "us-west-2"),
    "notifications-contacts.us-east-1.api.aws": ("notifications-contacts", "us-east-1"),
    "organizations.us-east-1.amazonaws.com": ("organizations", "us-east-1"),
    "queue.amazonaws.com": ("sqs", "us-east-1"),
    "route53.amazonaws.com": ("route53", "us-east-1"),
    "route53.amazonaws.com.cn": ("route53", "cn-northwest-1"),
    "route53.us-gov.amazonaws.com": ("route53", "us-gov-west-1"),
    "s3.amazonaws.com": ("s3", "us-east-1"),
    "savingsplans.amazonaws.com": ("savingsplans", "us-east-1"),
    "shield.us-east-1.amazonaws.com": ("shield", "us-east-1"),
    "sts.amazonaws.com": ("sts", "us-east-1"),
    "support.us-east-1.amazonaws.com": ("support", "us-east-1"),
    "tax.us-east-1.amazonaws.com": ("tax", "us-east-1"),
    "waf.amazonaws.com": ("waf", "us-east-1"),
}
"""Hosts without a region of their own: service and region."""

NAMES: Final[dict[str, str]] = {
    "a2i-runtime.sagemaker": "sagemaker",
    "account-access-runtime": "account-access",
    "admin.wickr": "wickr",
    "agent-registry-control": "agent-registry",
    "agreement-marketplace": "aws-marketplace",
    "api.detective": "detective",
    "api.ecr": "ecr",
    "api.ecr-public": "ecr-public",
    "api.iotdeviceadvisor": "iotdeviceadvisor",
    "api.iotmanagedintegrations": "iotmanagedintegrations",
    "api.iotwireless": "iotwireless",
    "api.mediatailor": "mediatailor",
    "api.pricing": "pricing",
    "api.sagemaker": "sagemaker",
    "api.tunneling.iot": "IoTSecuredTunneling",
    "appconfigdata": "appconfig",
    "appstream2": "appstream",
    "appsync-api": "appsync",
    "aps-workspaces": "aps",
    "bedrock-agent": "bedrock",
    "bedrock-agent-runtime": "bedrock",
    "bedrock-agentcore-control": "bedrock-agentcore",
    "bedrock-data-automation": "bedrock",
    "bedrock-data-automation-runtime": "bedrock",
    "bedrock-runtime": "bedrock",
    "cassandra-streams": "cassandra",
    "catalog.marketplace": "aws-marketplace",
    "cloudhsmv2": "cloudhsm",
    "cloudsearchdomain": "cloudsearch",
    "cloudwatch-omni": "cloudwatch",
    "contact-lens": "connect",
    "controlplane.payment-cryptography": "payment-cryptography",
    "data-ats.iot": "iotdata",
    "data-signer": "signer",
    "data.jobs.iot": "iot-jobs-data",
    "data.mediastore": "mediastore",
    "data.qapps": "qapps",
    "dataplane.payment-cryptography": "payment-cryptography",
    "deployment-marketplace": "aws-marketplace",
    "discovery-marketplace": "aws-marketplace",
    "edge.sagemaker": "sagemaker",
    "email": "ses",
    "entitlement.marketplace": "aws-marketplace",
    "eventsv2": "events",
    "featurestore-runtime.sagemaker": "sagemaker",
    "forecastquery": "forecast",
    "iam-toolbox": "iam",
    "identity-chime": "chime",
    "inferencerouter-runtime.sagemaker": "sagemaker",
    "ingest.timestream": "timestream",
    "ivsrealtime": "ivs",
    "job-runtime.sagemaker": "sagemaker",
    "mail-manager": "ses",
    "media-pipelines-chime": "chime",
    "meetings-chime": "chime",
    "memory-db": "memorydb",
    "messaging-chime": "chime",
    "metering.marketplace": "aws-marketplace",
    "metrics.sagemaker": "sagemaker",
    "migrationhub-config": "mgh",
    "models-v2-lex": "lex",
    "models.lex": "lex",
    "oidc": "sso-oauth",
    "participant.connect": "execute-api",
    "partnercentral-prm": "partnercentral",
    "personalize-events": "personalize",
    "personalize-runtime": "personalize",
    "pinpoint": "mobiletargeting",
    "portal.sso": "awsssoportal",
    "query.timestream": "timestream",
    "reporting-marketplace": "aws-marketplace",
    "runtime-v2-lex": "lex",
    "runtime.lex": "lex",
    "runtime.sagemaker": "sagemaker",
    "s3-control": "s3",
    "servicecatalog-appregistry": "servicecatalog",
    "sms-voice.pinpoint": "sms-voice",
    "streams.dynamodb": "dynamodb",
    "training-session-runtime.sagemaker": "sagemaker",
    "transcribestreaming": "transcribe",
    "voice-chime": "chime",
}
"""Labels before the region that are signed under another name; all others are their own."""

AFTER: Final[dict[str, str]] = {"queue": "sqs", "neptune": "neptune-db"}
"""Labels after the region that are signed under another name."""

S3: Final = frozenset({"s3", "s3-outposts", "s3express", "s3-object-lambda"})
"""Signing names whose paths are signed as they stand."""

NAMED_BY_CUSTOMERS: Final = S3 | {"execute-api", "es", "aoss", "appsync", "neptune-db"}
"""Signing names of hosts whose first labels customers choose, and behind which their own code may be."""


class Takes(enum.Enum):
    """What a host does with signatures."""

    SIGNATURE = "signature"
    EITHER = "either"
    """Calls that sign in take none, and a few others do."""
    NOTHING = "nothing"


_FREE: Final = re.compile(
    r"(?:^|\.)s3-website[.-]"  # websites
    r"|\.compute(?:-1)?\.amazonaws|\.elb\.|\.vpce-svc-|\.vfs\.cloud9\."  # machines, and services of other customers
    r"|\.dkr\.ecr(?:-fips)?\.|\.d\.codeartifact\."  # registries: Basic or Bearer with a token of their own
    r"|\.credentials\.iot\."  # client certificates
).search
_SIGN_IN: Final = re.compile(r"(?:oidc|portal\.sso)\.").match

_SUFFIX: Final = re.compile(
    r"\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|api\.aws|api\.amazonwebservices\.(?:com\.cn|eu)"
    r"|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$"
)
_REGION: Final = re.compile(
    r"(?:us|eu|ap|sa|ca|me|af|il|mx|cn)-[a-z]+-[0-9]+|(?:us|eu)-(?:gov|iso[a-z]?)-[a-z]+-[0-9]+|eusc-de-[a-z]+-[0-9]+"
)
_S3_LABEL: Final = re.compile(r"s3(?:-fips|-accelerate|-accesspoint|-accesspoint-fips)?")
_S3_OLD: Final = re.compile(rf"s3-({_REGION.pattern})")
"""As in BUCKET.s3-eu-west-1.amazonaws.com."""


@lru_cache(maxsize=1024)
def takes(host: str) -> Takes:
    """Say whether ``host`` (lower case, without a port) takes signatures. Hosts of others than AWS do."""
    if _SUFFIX.search(host) is None:
        return Takes.SIGNATURE
    if _FREE(host) is not None:
        return Takes.NOTHING
    return Takes.EITHER if _SIGN_IN(host) is not None else Takes.SIGNATURE


@lru_cache(maxsize=1024)
def signed_for(host: str) -> tuple[str, str] | None:
    """Return the signing name and region of ``host`` (lower case, without a port), None where it tells none.

    ValueError for hosts of Multi-Region Access Points, which take SigV4A alone.
    """
    known = GLOBAL.get(host)
    if known is not None:
        return known
    match = _SUFFIX.search(host)
    if match is None:
        return None
    labels = host[: match.start()].split(".")
    if labels[-2:] == ["accesspoint", "s3-global"]:
        raise ValueError(
            "Multi-Region Access Points take SigV4A, which proxyd does not sign; use the bucket's own region"
        )
    at = next((index for index in range(len(labels) - 1, -1, -1) if _REGION.fullmatch(labels[index])), None)
    if at is None:
        return _of_s3(labels)
    region, before = labels[at], labels[:at]
    after = labels[at + 1 :]
    if after and after[0] != "vpce":  # DOMAIN.REGION.es.amazonaws.com, ID.REGION.aoss…, REGION.queue…
        name = after[0].removesuffix("-fips")
        return AFTER.get(name, name), region
    return _named(before), region


def _of_s3(labels: list[str]) -> tuple[str, str] | None:
    """Return the place of a host whose labels are no region: BUCKET.s3, BUCKET.s3-accelerate, BUCKET.s3-eu-west-1.

    Where it is not told the client's own scope has the region; us-east-1 answers for the others with a redirect.
    """
    for label in labels:
        old = _S3_OLD.fullmatch(label)
        if old is not None:
            return "s3", old[1]
    return ("s3", "us-east-1") if any(_S3_LABEL.fullmatch(label) for label in labels) else None


def _named(before: list[str]) -> str:
    """Return the signing name of the labels before a region."""
    if not before:
        raise ValueError("the host names no service")
    if before[-1] == "dualstack":
        before = before[:-1]
    last = before[-1].removesuffix("-fips")
    for label in ("s3-outposts", "s3-object-lambda"):
        if last == label:
            return label
    if last.startswith("s3express-"):
        return "s3express"
    if last == "s3" or last.startswith("s3-"):
        return "s3"
    for count in (3, 2):  # api.tunneling.iot, api.ecr
        name = ".".join(before[-count:]).removesuffix("-fips")
        if name in NAMES:
            return NAMES[name]
    if last == "iot" and len(before) > 1:  # ID-ats.iot.REGION
        return "iotdata"
    return NAMES.get(last, last)
