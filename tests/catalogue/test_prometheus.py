"""prometheus-api-client and promtool with placeholders, through proxyd, to a real Prometheus that wants Basic."""

import http.client
import socket
import ssl
import subprocess

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.lab.daemon import wait_until

CLIENTS = ("prometheus-api-client", "promtool")
AGAINST = "real"
HOST = "prometheus.corp.example"
USER, PASSWORD = "ada", "p4ss-word-of-prometheus"
HASHED = "$2b$10$"


@pytest.fixture
def prometheus(tmp_path, pki_of):
    """A server on loopback; yields its port and the authority."""
    import bcrypt

    pki = pki_of(HOST)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    tls = f"tls_server_config: {{cert_file: {pki.certificate}, key_file: {pki.key}}}\n"
    (tmp_path / "web.yml").write_text(f'{tls}basic_auth_users: {{{USER}: "{hashed}"}}\n')
    (tmp_path / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--web.config.file={tmp_path}/web.yml"]
    command += [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            wait_until(lambda: _status(port, pki) == 401, "Prometheus")
            yield port, pki
        finally:
            server.terminate()


def _status(port, pki):
    context = ssl.create_default_context(cafile=pki.roots)
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", "/-/ready", headers={"Host": HOST})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.mark.parametrize("password", [PASSWORD, "another-password"], ids=["right", "wrong"])
def test_clients_work_with_placeholders(prometheus, proxied, password):
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException

    port, pki = prometheus
    service = {"secret": {"user": "p/user", "password": "p/password"}, **loopback(port, [f"{HOST}:9090"])}
    proxy = proxied(pki, {"prometheus": service}, {"p/user": USER, "p/password": password})
    fields = {"Authorization": f"Bearer {PLACEHOLDER}"}
    client = PrometheusConnect(url=f"https://{HOST}:9090", headers=fields, retry=None)
    if password != PASSWORD:
        with pytest.raises(PrometheusApiClientException, match="401"):
            client.custom_query("vector(1)")
        return
    assert client.custom_query("vector(7)")[0]["value"][1] == "7"
    said = proxy.output("promtool", "query", "instant", f"https://{HOST}:9090", "vector(7)")
    assert "=> 7 @" in said
