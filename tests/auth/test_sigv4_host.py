"""What hosts of AWS tell: service and region, and whether they take signatures."""

import pytest

from proxyd.auth.sigv4_host import Takes, signed_for, takes


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("iam.amazonaws.com", ("iam", "us-east-1")),
        ("s3.amazonaws.com", ("s3", "us-east-1")),
        ("bucket.s3.amazonaws.com", ("s3", "us-east-1")),
        ("s3.eu-west-1.amazonaws.com", ("s3", "eu-west-1")),
        ("a.b.s3.eu-west-1.amazonaws.com", ("s3", "eu-west-1")),
        ("s3.dualstack.eu-west-1.amazonaws.com", ("s3", "eu-west-1")),
        ("ap-123.s3-accesspoint.eu-west-1.amazonaws.com", ("s3", "eu-west-1")),
        ("bedrock-runtime.us-west-2.amazonaws.com", ("bedrock", "us-west-2")),
        ("api.ecr.us-west-2.amazonaws.com", ("ecr", "us-west-2")),
        ("dynamodb.cn-north-1.amazonaws.com.cn", ("dynamodb", "cn-north-1")),
        ("sqs-fips.us-gov-west-1.amazonaws.com", ("sqs", "us-gov-west-1")),
        ("lambda.eu-central-1.api.aws", ("lambda", "eu-central-1")),
        ("abc123.execute-api.eu-central-1.amazonaws.com", ("execute-api", "eu-central-1")),
        ("search-x.eu-central-1.es.amazonaws.com", ("es", "eu-central-1")),
        ("bucket.s3-eu-west-1.amazonaws.com", ("s3", "eu-west-1")),
        ("bucket.s3-accelerate.dualstack.amazonaws.com", ("s3", "us-east-1")),
        ("b--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com", ("s3express", "us-west-2")),
        ("vpce-1a2b-3c.sqs.us-east-1.vpce.amazonaws.com", ("sqs", "us-east-1")),
        ("bucket.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com", ("s3", "us-east-1")),
        ("eu-west-1.queue.amazonaws.com", ("sqs", "eu-west-1")),
        ("abc-ats.iot.eu-west-1.amazonaws.com", ("iotdata", "eu-west-1")),
        ("iot.eu-west-1.amazonaws.com", ("iot", "eu-west-1")),
        ("api.tunneling.iot.eu-west-1.amazonaws.com", ("IoTSecuredTunneling", "eu-west-1")),
        ("aps-workspaces.eu-west-1.amazonaws.com", ("aps", "eu-west-1")),
        ("db.cluster-x.us-east-1.neptune.amazonaws.com", ("neptune-db", "us-east-1")),
        ("iam.us-gov.amazonaws.com", ("iam", "us-gov-west-1")),
        ("sts.eu-isoe-west-1.cloud.adc-e.uk", ("sts", "eu-isoe-west-1")),
        ("unknown.amazonaws.com", None),
        ("storage.example.com", None),
    ],
)
def test_hosts_tell_service_and_region(host, scope):
    assert signed_for(host) == scope


def test_multi_region_access_points_are_refused_with_words():
    with pytest.raises(ValueError, match="SigV4A"):
        signed_for("m.accesspoint.s3-global.amazonaws.com")


@pytest.mark.parametrize(
    "host",
    [
        "site.s3-website-eu-west-1.amazonaws.com",
        "site.s3-website.eu-central-1.amazonaws.com",
        "ec2-192-0-2-1.compute-1.amazonaws.com",
        "ec2-192-0-2-1.eu-west-1.compute.amazonaws.com",
        "lb-1234.eu-west-1.elb.amazonaws.com",
        "nlb-1234.elb.eu-west-1.amazonaws.com",
        "vpce-1.vpce-svc-2.us-east-1.vpce.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "domain-123456789012.d.codeartifact.eu-west-1.amazonaws.com",
        "abc.credentials.iot.eu-west-1.amazonaws.com",
    ],
)
def test_machines_websites_and_registries_take_no_signature(host):
    assert takes(host) is Takes.NOTHING


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("oidc.eu-west-1.amazonaws.com", Takes.EITHER),
        ("portal.sso.eu-west-1.amazonaws.com", Takes.EITHER),
        ("s3.eu-west-1.amazonaws.com", Takes.SIGNATURE),
        ("compute.eu-west-1.amazonaws.com", Takes.SIGNATURE),
        ("elb.example.com", Takes.SIGNATURE),
    ],
)
def test_sign_in_takes_none_and_all_else_does(host, taken):
    assert takes(host) is taken
