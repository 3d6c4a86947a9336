"""Services by the variables that their tools read: hosts, base URL and how the credential is presented.

Only what proxyd can do today stands here. Hosts that answer without a credential, or by a redirect that carries its
own signature (download hosts, CDNs), are left out on purpose: a credential sent there would leak for no gain.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Field:
    """One secret of a service and the variables that may hold it, the preferred one first."""

    secret: str
    variables: tuple[str, ...]
    header: str = ""
    """Where it goes, when the scheme is ``header``."""
    prefix: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A service and how its credential is presented."""

    name: str
    scheme: str
    """``bearer``, ``basic`` (fields: user, password) or ``header``."""
    fields: tuple[Field, ...]
    hosts: tuple[str, ...] = ()
    """Empty: only ``url_variables`` can say."""
    base_url: str = ""
    url_variables: tuple[str, ...] = ()
    """Variables that name another instance, as a URL or a host."""
    path: str = ""
    """Path of the API below such an instance."""
    encoded_slash: bool = False
    note: str = ""


def _bearer(name: str, variables: tuple[str, ...], hosts: tuple[str, ...], base_url: str = "", note: str = "") -> Known:
    return Known(name, "bearer", (Field(f"{name}/token", variables),), hosts, base_url, note=note)


def _header(
    name: str, variables: tuple[str, ...], hosts: tuple[str, ...], header: str, prefix: str = "", base_url: str = ""
) -> Known:
    return Known(name, "header", (Field(f"{name}/key", variables, header, prefix),), hosts, base_url)


KNOWN: Final = (
    _bearer(
        "github",
        ("GH_TOKEN", "GITHUB_TOKEN"),
        ("api.github.com", "uploads.github.com"),
        note="github.com itself is left out: git over HTTPS takes Basic, and asset downloads sign their own URLs.",
    ),
    Known(
        "gitlab",
        "header",
        (Field("gitlab/token", ("GITLAB_TOKEN", "GITLAB_ACCESS_TOKEN", "GITLAB_PRIVATE_TOKEN"), "PRIVATE-TOKEN"),),
        ("gitlab.com",),
        "https://gitlab.com/api/v4",
        ("GITLAB_HOST", "GITLAB_URL", "GL_HOST"),
        "/api/v4",
        encoded_slash=True,
        note="PRIVATE-TOKEN leaves the Basic credential of git over HTTPS alone.",
    ),
    _bearer("openai", ("OPENAI_API_KEY",), ("api.openai.com",), "https://api.openai.com/v1"),
    _header("anthropic", ("ANTHROPIC_API_KEY",), ("api.anthropic.com",), "X-Api-Key"),
    _header("gemini", ("GEMINI_API_KEY",), ("generativelanguage.googleapis.com",), "X-Goog-Api-Key"),
    _bearer("mistral", ("MISTRAL_API_KEY",), ("api.mistral.ai",), "https://api.mistral.ai/v1"),
    _bearer("groq", ("GROQ_API_KEY",), ("api.groq.com",), "https://api.groq.com/openai/v1"),
    _bearer("openrouter", ("OPENROUTER_API_KEY",), ("openrouter.ai",), "https://openrouter.ai/api/v1"),
    _bearer("huggingface", ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), ("huggingface.co",)),
    _bearer("stripe", ("STRIPE_API_KEY", "STRIPE_SECRET_KEY"), ("api.stripe.com", "files.stripe.com")),
    _bearer("slack", ("SLACK_BOT_TOKEN", "SLACK_TOKEN"), ("slack.com", "files.slack.com"), "https://slack.com/api"),
    _bearer("sendgrid", ("SENDGRID_API_KEY",), ("api.sendgrid.com",), "https://api.sendgrid.com/v3"),
    Known(
        "twilio",
        "basic",
        (Field("twilio/user", ("TWILIO_ACCOUNT_SID",)), Field("twilio/token", ("TWILIO_AUTH_TOKEN",))),
        ("api.twilio.com",),
    ),
    _bearer("notion", ("NOTION_TOKEN", "NOTION_API_KEY"), ("api.notion.com",), "https://api.notion.com/v1"),
    _header("linear", ("LINEAR_API_KEY",), ("api.linear.app",), "Authorization"),
    _header("discord", ("DISCORD_BOT_TOKEN",), ("discord.com",), "Authorization", "Bot ", "https://discord.com/api"),
    Known(
        "datadog",
        "header",
        (
            Field("datadog/api-key", ("DD_API_KEY", "DATADOG_API_KEY"), "DD-API-KEY"),
            Field("datadog/app-key", ("DD_APP_KEY", "DATADOG_APP_KEY"), "DD-APPLICATION-KEY", optional=True),
        ),
        ("api.datadoghq.com", "http-intake.logs.datadoghq.com"),
        "https://api.datadoghq.com/api",
        note="Other sites than datadoghq.com (DD_SITE): change the hosts.",
    ),
    _header("new-relic", ("NEW_RELIC_API_KEY",), ("api.newrelic.com",), "Api-Key"),
    _header(
        "new-relic-ingest",
        ("NEW_RELIC_LICENSE_KEY",),
        ("metric-api.newrelic.com", "log-api.newrelic.com", "trace-api.newrelic.com", "otlp.nr-data.net"),
        "Api-Key",
    ),
    Known(
        "sentry",
        "bearer",
        (Field("sentry/token", ("SENTRY_AUTH_TOKEN",)),),
        ("sentry.io", "us.sentry.io", "de.sentry.io"),
        "https://sentry.io/api/0",
        ("SENTRY_URL",),
        "/api/0",
    ),
    _header("pagerduty", ("PAGERDUTY_TOKEN",), ("api.pagerduty.com",), "Authorization", "Token token="),
    _header(
        "statuspage",
        ("STATUSPAGE_API_KEY",),
        ("api.statuspage.io",),
        "Authorization",
        "OAuth ",
        "https://api.statuspage.io/v1",
    ),
    _bearer("pingdom", ("PINGDOM_API_TOKEN",), ("api.pingdom.com",), "https://api.pingdom.com/api/3.1"),
    Known("grafana", "bearer", (Field("grafana/token", ("GRAFANA_TOKEN",)),), url_variables=("GRAFANA_URL",)),
    Known(
        "dynatrace",
        "header",
        (Field("dynatrace/token", ("DT_API_TOKEN",), "Authorization", "Api-Token "),),
        url_variables=("DT_ENVIRONMENT",),
    ),
    _header(
        "circleci",
        ("CIRCLE_TOKEN", "CIRCLE_CLI_TOKEN"),
        ("circleci.com",),
        "Circle-Token",
        base_url="https://circleci.com/api/v2",
    ),
    _header("travis-ci", ("TRAVIS_TOKEN",), ("api.travis-ci.com",), "Authorization", "token "),
    Known(
        "sonar",
        "bearer",
        (Field("sonar/token", ("SONAR_TOKEN",)),),
        ("sonarcloud.io", "api.sonarcloud.io"),
        url_variables=("SONAR_HOST_URL",),
    ),
    Known(
        "artifactory",
        "bearer",
        (Field("artifactory/token", ("JF_ACCESS_TOKEN", "ARTIFACTORY_ACCESS_TOKEN", "JFROG_ACCESS_TOKEN")),),
        url_variables=("JF_URL", "JFROG_URL"),
        path="/artifactory",
        encoded_slash=True,
    ),
    Known(
        "jenkins",
        "basic",
        (Field("jenkins/user", ("JENKINS_USER_ID",)), Field("jenkins/token", ("JENKINS_API_TOKEN",))),
        url_variables=("JENKINS_URL",),
    ),
    Known(
        "jira",
        "basic",
        (Field("jira/user", ("JIRA_USERNAME", "JIRA_EMAIL")), Field("jira/token", ("JIRA_API_TOKEN",))),
        url_variables=("JIRA_URL",),
    ),
    Known(
        "confluence",
        "basic",
        (Field("confluence/user", ("CONFLUENCE_USERNAME",)), Field("confluence/token", ("CONFLUENCE_API_TOKEN",))),
        url_variables=("CONFLUENCE_URL",),
    ),
    _bearer(
        "digitalocean",
        ("DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_TOKEN"),
        ("api.digitalocean.com",),
        "https://api.digitalocean.com/v2",
    ),
    _bearer("heroku", ("HEROKU_API_KEY", "HEROKU_API_TOKEN"), ("api.heroku.com",)),
    _bearer(
        "cloudflare",
        ("CLOUDFLARE_API_TOKEN", "CF_API_TOKEN"),
        ("api.cloudflare.com",),
        "https://api.cloudflare.com/client/v4",
    ),
    _header("fastly", ("FASTLY_API_TOKEN", "FASTLY_KEY"), ("api.fastly.com", "rt.fastly.com"), "Fastly-Key"),
    _bearer("vercel", ("VERCEL_TOKEN",), ("api.vercel.com",)),
    _bearer("terraform", ("TFE_TOKEN",), ("app.terraform.io",), "https://app.terraform.io/api/v2"),
    Known(
        "npm",
        "bearer",
        (Field("npm/token", ("NPM_TOKEN", "NODE_AUTH_TOKEN")),),
        url_variables=("npm_config_registry", "NPM_CONFIG_REGISTRY"),
        encoded_slash=True,
    ),
)
"""Every service that one or two variables are enough for."""

_SIGNED: Final = "its requests are signed, which proxyd cannot do yet; leave its hosts out of the services"
_FLOW: Final = "it is exchanged for short-lived tokens, which proxyd cannot do yet"
_NOT_HTTP: Final = "it is no credential of an HTTP service; proxyd leaves it alone"

UNUSABLE: Final = {
    "AWS_ACCESS_KEY_ID": f"AWS: {_SIGNED} (SigV4)",
    "AWS_SECRET_ACCESS_KEY": f"AWS: {_SIGNED} (SigV4)",
    "AWS_SESSION_TOKEN": f"AWS: {_SIGNED} (SigV4)",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": f"Alibaba Cloud: {_SIGNED}",
    "AZURE_CLIENT_SECRET": f"Azure: {_FLOW}",
    "GOOGLE_APPLICATION_CREDENTIALS": f"Google Cloud: {_FLOW}",
    "IBMCLOUD_API_KEY": f"IBM Cloud: {_FLOW}",
    "CI_JOB_TOKEN": "a job's own token: it lives as long as the job and goes into JOB-TOKEN; write its service by hand",
    "DOCKER_AUTH_CONFIG": f"container registries: {_FLOW}",
    "SENTRY_DSN": "a DSN's key is public; the SDK sends it by itself and needs no service here",
    "TELEGRAM_BOT_TOKEN": "it goes into the path of the URL, where proxyd cannot put it yet",
    "PGPASSWORD": _NOT_HTTP,
    "MYSQL_PWD": _NOT_HTTP,
    "DATABASE_URL": _NOT_HTTP,
    "REDIS_URL": _NOT_HTTP,
    "REDIS_PASSWORD": _NOT_HTTP,
    "PROXYD_VAULT_KEY": "it opens proxyd's own vault",
    "PROXYD_VAULT_PASSPHRASE": "it opens proxyd's own vault",
}
"""Variables that are known and cannot be used, and why."""
