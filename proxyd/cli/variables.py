"""The environment that takes a program through proxyd: a pure function from what the daemon says to variables.

Every runtime has its own name for "trust these roots"; all of them get a bundle of the system's roots and the local
one. Variables that hold secrets get a placeholder, so a program that insists on a credential starts without one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

PLACEHOLDER: Final = "proxyd-placeholder"

BUNDLE_VARIABLES: Final = (
    "SSL_CERT_FILE",  # OpenSSL, Go, Ruby, PHP, rustls-native-certs, uv, httpx
    "NIX_SSL_CERT_FILE",
    "CURL_CA_BUNDLE",  # curl, Python requests
    "REQUESTS_CA_BUNDLE",  # Python requests, Azure CLI
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cafile",
    "YARN_HTTPS_CA_FILE_PATH",
    "DENO_CERT",
    "CARGO_HTTP_CAINFO",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
    "BUNDLE_SSL_CA_CERT",  # Ruby's bundler
    "HEX_CACERTS_PATH",  # Elixir
    "PERL_LWP_SSL_CA_FILE",
    "JULIA_SSL_CA_ROOTS_PATH",
)
"""Variables that name one PEM file of roots."""

PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NO_PROXY_VARIABLES: Final = ("NO_PROXY", "no_proxy", "npm_config_noproxy")
NPM_PROXY_VARIABLES: Final = ("npm_config_proxy", "npm_config_https_proxy")
REMOVED: Final = ("SSL_CERT_DIR",)
"""Roots in single files would stand beside the bundle, or in its place."""

GATEWAY_VARIABLES: Final = {
    "gateway_socket": "PROXYD_GATEWAY_SOCKET",
    "gateway_url": "PROXYD_GATEWAY_URL",
    "gateway_token_file": "PROXYD_GATEWAY_TOKEN_FILE",
}
"""By key of the daemon's answer."""

TRUSTSTORE_PASSWORD: Final = "changeit"  # noqa: S105 - Java's own, for a file of public certificates


@dataclass(frozen=True, slots=True)
class Client:
    """What a program's environment is made of."""

    proxy: str
    """``http://host:port`` of the forward listener."""
    ca_bundle: str
    """PEM of the system's roots and the local root."""
    wgetrc: str
    """A wgetrc that names proxy and bundle: wget has no variable for roots."""
    truststore: str
    """The bundle as PKCS#12, for Java."""
    php_folder: str
    """A folder with an ini file that names the bundle: PHP has no variable for roots."""
    secret_variables: tuple[str, ...] = ()
    """Variables that the daemon reads secrets from."""
    gateway: Mapping[str, str] = field(default_factory=dict)
    """Variables that say where the gateway is."""


def client_variables(client: Client, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set; what ``base`` has in those that hold several things stays before ours."""
    variables = dict.fromkeys(_both_cases(PROXY_VARIABLES), client.proxy)
    variables.update(dict.fromkeys(NPM_PROXY_VARIABLES, client.proxy))
    variables.update(dict.fromkeys(NO_PROXY_VARIABLES, ""))
    variables.update(dict.fromkeys(BUNDLE_VARIABLES, client.ca_bundle))
    variables["NODE_USE_ENV_PROXY"] = "1"
    variables["WGETRC"] = client.wgetrc
    variables["JAVA_TOOL_OPTIONS"] = f"{base.get('JAVA_TOOL_OPTIONS', '')} {_java(client)}".strip()
    variables["PHP_INI_SCAN_DIR"] = f"{base.get('PHP_INI_SCAN_DIR', '')}:{client.php_folder}"  # empty: its own folder
    variables.update(dict.fromkeys(client.secret_variables, PLACEHOLDER))
    variables.update(client.gateway)
    return variables


def gateway_variables(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that say where the gateway is; ``answer`` is the daemon's. The token itself is in none."""
    return {variable: str(answer[key]) for key, variable in GATEWAY_VARIABLES.items() if answer.get(key)}


def child_environment(base: Mapping[str, str], client: Client) -> dict[str, str]:
    """Return ``base`` changed so that a child of ours goes through proxyd and holds no secret."""
    environment = {name: value for name, value in base.items() if name not in REMOVED}
    return environment | client_variables(client, base)


def wgetrc(proxy: str, ca_bundle: str, own: str = "") -> str:
    """Return a wgetrc: ``own`` is the user's, whose settings of the same names lose."""
    ours = ("use_proxy = on", f"http_proxy = {proxy}", f"https_proxy = {proxy}", "no_proxy =")
    lines = [*own.splitlines(), *ours, f"ca_certificate = {ca_bundle}"]
    return "\n".join(lines) + "\n"


def php_ini(ca_bundle: str) -> str:
    """Return an ini file for PHP's curl and its streams."""
    quoted = '"' + ca_bundle.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"curl.cainfo = {quoted}\nopenssl.cafile = {quoted}\n"


def shell_exports(variables: Mapping[str, str], removed: Iterable[str] = REMOVED) -> str:
    """Return lines that a POSIX shell evaluates."""
    lines = [f"unset {name}" for name in removed]
    lines += [f"export {name}={_quoted(value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"


def _both_cases(names: Iterable[str]) -> list[str]:
    return [form for name in names for form in (name, name.lower())]


def _java(client: Client) -> str:
    proxy = urlsplit(client.proxy)
    options = [f"-D{scheme}.proxy{part}" for scheme in ("http", "https") for part in
               (f"Host={proxy.hostname}", f"Port={proxy.port}")]  # fmt: skip
    options.append("-Dhttp.nonProxyHosts=")
    options.append(f"-Djavax.net.ssl.trustStore={client.truststore}")
    options.append("-Djavax.net.ssl.trustStoreType=PKCS12")
    options.append(f"-Djavax.net.ssl.trustStorePassword={TRUSTSTORE_PASSWORD}")
    return " ".join(f'"{option}"' if " " in option else option for option in options)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
