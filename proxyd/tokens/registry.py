"""Flows by name."""

from collections.abc import Awaitable, Callable
from typing import Final

from proxyd.tokens import aws, chains, oauth, vendors
from proxyd.tokens.flow import Ask, Issued

Flow = Callable[[Ask], Awaitable[Issued]]

FLOWS: Final[dict[str, Flow]] = {
    "client_credentials": oauth.client_credentials,
    "refresh_token": oauth.refresh_token,
    "jwt_bearer": oauth.jwt_bearer,
    "token_exchange": oauth.token_exchange,
    "google_service_account": vendors.google_service_account,
    "google_impersonation": vendors.google_impersonation,
    "google_metadata": vendors.google_metadata,
    "entra": vendors.entra,
    "azure_managed_identity": vendors.azure_managed_identity,
    "github_app": vendors.github_app,
    "ibm_iam": vendors.ibm_iam,
    "platform_sh": vendors.platform_sh,
    "docker_hub_login": vendors.docker_hub_login,
    "aws_assume_role": aws.assume_role,
    "aws_web_identity": aws.web_identity,
    "aws_instance": aws.instance,
    "aws_container": aws.container,
    "aws_chain": chains.aws,
    "gcp_chain": chains.gcp,
    "azure_chain": chains.azure,
}
