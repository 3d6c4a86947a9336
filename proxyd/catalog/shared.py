"""Suffixes below which customers of a vendor choose labels: a host there may be anybody's.

A credential that is sent to ``*.herokuapp.com`` is sent to whoever registers a name there. So a pattern that covers
more than one customer's host is no scope of a credential; the full host is.
"""

from typing import Final

from proxyd.core.service import HostPattern

SUFFIXES: Final = frozenset(
    {
        # Applications, sites and stores of customers
        *(
            "herokuapp.com",
            "vercel.app",
            "now.sh",
            "netlify.app",
            "pages.dev",
            "workers.dev",
            "fly.dev",
            "onrender.com",
        ),
        *("up.railway.app", "github.io", "gitlab.io", "bitbucket.io", "readthedocs.io", "surge.sh", "glitch.me"),
        *("platformsh.site", "platform.sh", "upsun.app", "ondigitalocean.app", "digitaloceanspaces.com", "replit.app"),
        *("appspot.com", "run.app", "cloudfunctions.net", "web.app", "firebaseapp.com", "firebaseio.com", "deno.dev"),
        *("storage.googleapis.com", "googleusercontent.com", "githubusercontent.com", "ngrok.io", "ngrok-free.app"),
        *("azurewebsites.net", "azurestaticapps.net", "azurecontainerapps.io", "cloudapp.net", "cloudapp.azure.com"),
        *("trafficmanager.net", "azureedge.net", "azurefd.net", "azure-api.net", "azurecontainer.io", "azurecr.io"),
        *("blob.core.windows.net", "file.core.windows.net", "queue.core.windows.net", "table.core.windows.net"),
        *("dfs.core.windows.net", "web.core.windows.net", "vault.azure.net", "documents.azure.com"),
        *("servicebus.windows.net", "database.windows.net", "search.windows.net", "openai.azure.com"),
        *("elb.amazonaws.com", "elasticbeanstalk.com", "amplifyapp.com", "awsapprunner.com", "on.aws"),
        *("cloudfront.net", "awsglobalaccelerator.com", "appdomain.cloud", "mybluemix.net", "fastly.net"),
        *(
            "fastlylb.net",
            "edgekey.net",
            "akamaized.net",
            "edgesuite.net",
            "akamaihd.net",
            "alikunlun.com",
            "fcapp.run",
        ),
        *("oraclecloudapps.com", "customer-oci.com", "cdn.cloudflare.net", "r2.dev", "trycloudflare.com"),
        *("pythonanywhere.com", "pantheonsite.io", "gitpod.io"),
        # Tenants of a vendor's product
        *("atlassian.net", "jira.com", "jfrog.io", "ghe.com", "visualstudio.com", "service-now.com", "zendesk.com"),
        *("grafana.net", "splunkcloud.com", "live.dynatrace.com", "apps.dynatrace.com", "saas.appdynamics.com"),
        *("statuspage.io", "okta.com", "oktapreview.com", "auth0.com", "my.salesforce.com", "myshopify.com"),
        *("cloudsmith.io", "elastic-cloud.com", "es.io", "elastic.cloud", "found.io", "sentry.dev", "loggly.com"),
        *("freshdesk.com", "sumologic.net", "sonatype.app", "cloudrepo.io"),
    }
)


def shared_suffix(pattern: HostPattern) -> str:
    """Return the suffix because of which ``pattern`` may cover hosts of several customers, or the empty string."""
    host = pattern.host
    if not pattern.wildcard:
        return ""
    above = next((suffix for suffix in sorted(SUFFIXES) if suffix == host or suffix.endswith(f".{host}")), "")
    return above or next((suffix for suffix in sorted(SUFFIXES) if host.endswith(f".{suffix}")), "")
