"""Docker's own SDK with a placeholder, through proxyd, to podman's Docker API on a Unix socket, which pulls."""

import base64
import json
import os
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER
from tests.catalogue.lab.registry import image
from tests.lab.daemon import wait_until

CLIENTS = ("docker",)
AGAINST = "real: podman's Docker API and docker-registry (Debian)"
HOST = "docker:2375"
USER, PASSWORD = "ada", "p4ss-word-of-a-registry"


@pytest.fixture
def registry(tmp_path):
    """A registry on loopback that wants Basic, with one image; yields ``host:port``."""
    import bcrypt

    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"{USER}:{hashed}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "blobs")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "lab"},
        "auth": {"htpasswd": {"realm": "lab", "path": str(tmp_path / "htpasswd")}},
    }
    (tmp_path / "registry.json").write_text(json.dumps(config))
    address = f"127.0.0.1:{port}"
    command = ["docker-registry", "serve", str(tmp_path / "registry.json")]
    with (tmp_path / "registry.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            wait_until(lambda: _status(address) == 401, "docker-registry")
            layout = f"oci:{image(tmp_path / 'image')}"
            copy = ["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", f"--dest-creds={USER}:{PASSWORD}"]
            subprocess.run([*copy, layout, f"docker://{address}/box:1"], check=True, capture_output=True)
            yield address
        finally:
            server.terminate()


@pytest.fixture
def engine(tmp_path, registry):
    """podman's Docker API on a Unix socket, with storage of its own; yields the socket's path."""
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    (tmp_path / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    variables = {**os.environ, "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"), "HOME": str(tmp_path)}
    with tempfile.TemporaryDirectory(prefix="engine-") as short, (tmp_path / "podman.log").open("wb") as log:
        path = f"{short}/engine.sock"  # podman wants short paths
        storage = ["--root", str(tmp_path / "root"), "--runroot", f"{short}/run", "--storage-driver", "vfs"]
        command = ["podman", *storage, "system", "service", "--time=120", f"unix://{path}"]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=variables)
        try:
            wait_until(lambda: os.path.exists(path), "podman")
            yield path
        finally:
            server.terminate()
            server.wait(20)


def _status(address):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{address}/v2/", timeout=5)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
    return 200


@pytest.mark.parametrize("password", [PASSWORD, "another-password-00"], ids=["right", "wrong"])
def test_the_sdk_pulls_with_a_placeholder(engine, registry, pki_of, proxied, password):
    import docker

    said = {"username": USER, "password": password, "serveraddress": registry}
    credential = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    service = {
        "hosts": [HOST],
        "base_url": f"http://{HOST}",
        "endpoints": [f"unix:{engine}"],
        "secret": "d/auth",
        "timeouts": {"first_byte": "60s", "idle": "60s"},
    }
    proxied(pki_of("localhost"), {"docker": service}, {"d/auth": credential})
    client = docker.DockerClient(base_url=f"tcp://{HOST}", version="1.40", timeout=60)
    try:
        assert client.ping()
        placeholder = {"username": "me", "password": PLACEHOLDER}
        if password != PASSWORD:
            with pytest.raises(docker.errors.APIError):
                client.images.pull(f"{registry}/box", tag="1", auth_config=placeholder)
            return
        client.images.pull(f"{registry}/box", tag="1", auth_config=placeholder)
        assert f"{registry}/box:1" in client.images.list()[0].tags
    finally:
        client.close()
