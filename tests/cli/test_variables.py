import subprocess

import pytest

from proxyd.cli.variables import (
    BUNDLE_VARIABLES,
    PLACEHOLDER,
    Client,
    child_environment,
    client_variables,
    php_ini,
    shell_exports,
    wgetrc,
)

CLIENT = Client("http://127.0.0.1:3128", "/s/ca-bundle.pem", "/r/wgetrc", "/r/trust.p12", "/r/php", ("TICKETS_TOKEN",))
PROXY, BUNDLE = CLIENT.proxy, CLIENT.ca_bundle

TABLE = {
    "HTTP_PROXY": PROXY, "http_proxy": PROXY, "HTTPS_PROXY": PROXY, "https_proxy": PROXY,
    "ALL_PROXY": PROXY, "all_proxy": PROXY, "npm_config_proxy": PROXY, "npm_config_https_proxy": PROXY,
    "NO_PROXY": "", "no_proxy": "", "npm_config_noproxy": "",
    "SSL_CERT_FILE": BUNDLE, "NIX_SSL_CERT_FILE": BUNDLE, "CURL_CA_BUNDLE": BUNDLE, "REQUESTS_CA_BUNDLE": BUNDLE,
    "AWS_CA_BUNDLE": BUNDLE, "PIP_CERT": BUNDLE, "GIT_SSL_CAINFO": BUNDLE, "NODE_EXTRA_CA_CERTS": BUNDLE,
    "npm_config_cafile": BUNDLE, "YARN_HTTPS_CA_FILE_PATH": BUNDLE, "DENO_CERT": BUNDLE,
    "CARGO_HTTP_CAINFO": BUNDLE, "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": BUNDLE,
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": BUNDLE, "HTTPLIB2_CA_CERTS": BUNDLE, "BUNDLE_SSL_CA_CERT": BUNDLE,
    "HEX_CACERTS_PATH": BUNDLE, "PERL_LWP_SSL_CA_FILE": BUNDLE, "JULIA_SSL_CA_ROOTS_PATH": BUNDLE,
    "NODE_USE_ENV_PROXY": "1", "WGETRC": "/r/wgetrc", "PHP_INI_SCAN_DIR": ":/r/php", "TICKETS_TOKEN": PLACEHOLDER,
    "JAVA_TOOL_OPTIONS": (
        "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=3128 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128 "
        "-Dhttp.nonProxyHosts= -Djavax.net.ssl.trustStore=/r/trust.p12 -Djavax.net.ssl.trustStoreType=PKCS12 "
        "-Djavax.net.ssl.trustStorePassword=changeit"
    ),
}  # fmt: skip


def test_every_variable_is_as_the_table_says():
    assert client_variables(CLIENT, {}) == TABLE


def test_a_child_keeps_what_is_its_own_and_loses_what_would_defeat_the_proxy():
    base = {
        "PATH": "/bin", "NO_PROXY": "*", "no_proxy": "example.com", "https_proxy": "http://corp:8080",
        "SSL_CERT_DIR": "/etc/certs", "TICKETS_TOKEN": "the real token", "OTHER": "kept",
    }  # fmt: skip
    child = child_environment(base, CLIENT)
    assert child == {"PATH": "/bin", "OTHER": "kept"} | TABLE
    assert "the real token" not in child.values()
    assert base["NO_PROXY"] == "*"


def test_java_keeps_its_options_and_ours_come_last():
    child = child_environment({"JAVA_TOOL_OPTIONS": "-Xmx1g"}, CLIENT)
    assert child["JAVA_TOOL_OPTIONS"] == f"-Xmx1g {TABLE['JAVA_TOOL_OPTIONS']}"


def test_php_keeps_the_folders_that_it_read_before():
    assert child_environment({"PHP_INI_SCAN_DIR": "/own"}, CLIENT)["PHP_INI_SCAN_DIR"] == "/own:/r/php"


def test_php_reads_the_bundles_path_whatever_it_holds():
    assert php_ini('/a "b"/c.pem').splitlines()[0] == 'curl.cainfo = "/a \\"b\\"/c.pem"'


def test_java_options_with_spaces_are_quoted():
    client = Client(PROXY, BUNDLE, "/r/wgetrc", "/a b/trust.p12", "/r/php")
    assert '"-Djavax.net.ssl.trustStore=/a b/trust.p12"' in client_variables(client, {})["JAVA_TOOL_OPTIONS"]


def test_an_ipv6_proxy_is_a_host_for_java():
    client = Client("http://[::1]:3128", BUNDLE, "/r/wgetrc", "/r/t.p12", "/r/php")
    assert "-Dhttps.proxyHost=::1 -Dhttps.proxyPort=3128" in client_variables(client, {})["JAVA_TOOL_OPTIONS"]


def test_the_user_s_wgetrc_is_kept_and_loses():
    text = wgetrc(PROXY, BUNDLE, "tries = 3\nhttps_proxy = http://corp:8080")
    assert text.splitlines() == [
        "tries = 3", "https_proxy = http://corp:8080", "use_proxy = on", f"http_proxy = {PROXY}",
        f"https_proxy = {PROXY}", "no_proxy =", f"ca_certificate = {BUNDLE}",
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["plain", "", "it's", '$(touch x) `id` "', "a\nb", "\\"])
def test_a_shell_gets_values_exactly(value):
    script = shell_exports({"NAME": value}) + 'printf %s "$NAME"; printf %s "${SSL_CERT_DIR-unset}"'
    done = subprocess.run(["sh", "-c", script], env={"SSL_CERT_DIR": "/x"}, capture_output=True, check=True, text=True)
    assert done.stdout == value + "unset"


def test_no_variable_is_named_twice():
    assert len(set(BUNDLE_VARIABLES)) == len(BUNDLE_VARIABLES)
