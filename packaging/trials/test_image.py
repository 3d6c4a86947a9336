"""The image: small, without root or shell, and proxyd as its process 1 carries an authorised request."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.lab.daemon import Admin, wait_until
from tests.lab.origin import BASE_URL, TOKEN

MANIFEST = Path(__file__).parents[1] / "kubernetes" / "sidecar.yaml"
LARGEST = 120 * 1000 * 1000
UID = 65532
SECRET = "tickets-token"


class Container:
    """proxyd's container of packaging/kubernetes/sidecar.yaml, as a kubelet would run it.

    Root is read-only, the user is 65532 without capabilities, and proxyd is process 1 of its namespace. Volumes are as
    the kubelet makes them: root's, empty ones open to all. The network is the host's, where the tests' origin is.
    """

    def __init__(self, config, rootfs, folder, files):
        manifest = {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}
        pod = manifest["Deployment"]["spec"]["template"]["spec"]
        spec = next(one for one in pod["containers"] if one["name"] == "proxyd")
        self.variables = {**variables(config), **{one["name"]: one["value"] for one in spec["env"]}}
        self.output = folder / "output.log"
        self._rootfs = rootfs
        self._command = [*config["Entrypoint"], *config["Cmd"]]
        self._mounts = []
        for volume, mount in zip(pod["volumes"], spec["volumeMounts"], strict=True):
            assert volume["name"] == mount["name"]
            path = folder / volume["name"]
            path.mkdir()
            self._mounts.append((path, mount["mountPath"].lstrip("/"), "ro" if mount.get("readOnly") else "rw"))
            if "emptyDir" in volume:
                path.chmod(0o777)
            for name, (data, mode) in files.get(volume["name"], {}).items():
                (path / name).write_text(data)
                os.chown(path / name, 0, UID)  # fsGroup
                (path / name).chmod(mode)
        self.pod, self.own = folder / "pod", folder / "own"
        self.admin = Admin(self.own / "run" / "proxyd" / "admin.sock")

    def __enter__(self):
        script = ["set -e", f"root={self._rootfs}", 'mount --bind "$root" "$root"']
        for source, target, mode in self._mounts:
            (self._rootfs / target).mkdir(parents=True, exist_ok=True)
            script += [f'mount --bind {source} "$root/{target}"', f'mount -o remount,bind,{mode} "$root/{target}"']
        script += ['mount -t proc proc "$root/proc"', 'mount -o remount,ro,bind "$root"']
        script += [f'exec setpriv --no-new-privs chroot --userspec {UID}:{UID} "$root" "$@"']
        command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", "\n".join(script), "sh", *self._command]
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=self.variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            wait_until(self._is_ready, "the container's admin socket")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            for pid in self._children():  # a namespace ends with its process 1
                os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def _is_ready(self):
        assert self._process.poll() is None, self.output.read_text()
        try:
            return self.admin.call("status")["state"] == "ready"
        except OSError:
            return False

    @property
    def first(self):
        """The host's number for the container's process 1."""
        (pid,) = self._children()
        return pid

    def _children(self):
        pid = self._process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def execute(self, *words):
        """Run a command in the container, as ``kubectl exec`` does."""
        enter = ["nsenter", "--target", str(self.first), "--mount", "--pid", "--root", "--setuid", str(UID)]
        done = subprocess.run(
            [*enter, "--setgid", str(UID), "--", *words],
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def stop(self):
        """Stop as an engine does; return the exit code."""
        os.kill(self.first, signal.SIGTERM)
        return self._process.wait(30)


def variables(config):
    """The image's environment; the host's programs, which set it up, come after the image's own."""
    found = dict(pair.split("=", 1) for pair in config["Env"])
    return {**found, "PATH": f"{found['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin"}


def adapted(origin):
    """The manifest's configuration, with the tests' origin behind the service and ports of the kernel's choice."""
    manifest = {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}
    config = yaml.safe_load(manifest["ConfigMap"]["data"]["proxyd.yaml"])
    config["listeners"][0]["address"] = "127.0.0.1:0"
    config["admin"]["http"] = "0.0.0.0:0"
    config["tls"]["extra_roots"] = "roots.pem"
    config["services"]["tickets"]["endpoints"] = [f"127.0.0.1:{origin.https_port}"]
    return yaml.safe_dump(config)


@pytest.fixture
def container(image, origin, pki, tmp_path):
    config, rootfs = image
    files = {
        "configuration": {"proxyd.yaml": (adapted(origin), 0o644), "roots.pem": (pki.roots.read_text(), 0o644)},
        "secrets": {SECRET: (TOKEN, 0o440)},
    }
    with Container(config["config"], rootfs, tmp_path, files) as box:
        yield box


def curl(*words):
    command = ["curl", "-sS", "--max-time", "20", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_image_is_small(archive):
    assert archive.stat().st_size <= LARGEST


def test_the_image_runs_proxyd_as_a_user_by_number(image):
    config = image[0]["config"]
    assert config["User"] == f"{UID}:{UID}"
    assert [*config["Entrypoint"], *config["Cmd"]] == ["proxyd", "run", "-c", "/etc/proxyd/proxyd.yaml"]


def test_the_image_has_no_shell_and_nothing_setuid_or_writable(image):
    rootfs = image[1]
    found = [path for path in rootfs.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in found if path.name in ("sh", "bash", "dash", "busybox", "perl", "apt", "dpkg", "tar")]
    assert not [path for path in found if path.stat().st_mode & 0o6002]


def test_the_folders_that_proxyd_writes_to_are_its_user_s(image):
    for path, mode in (("var/lib/proxyd", 0o700), ("run/proxyd", 0o755)):
        found = (image[1] / path).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (UID, UID, mode)


def test_the_image_says_which_packages_it_is_made_of(image):
    listed = {path.name for path in (image[1] / "var/lib/dpkg/status.d").iterdir()}
    assert {"base-files", "libc6"} <= listed
    assert "dpkg" not in listed


def test_the_image_s_own_configuration_is_right(image):
    config, rootfs = image
    script = f"exec chroot --userspec {UID}:{UID} {rootfs} proxyd check -c /etc/proxyd/proxyd.yaml"
    done = subprocess.run(
        ["sh", "-c", script], env=variables(config["config"]), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_pod_s_container_adds_the_credential_answers_probes_and_drains(container, origin):
    mark = origin.ledger.mark()
    status = container.admin.call("status")
    addresses = {one["name"]: one["address"] for one in status["listeners"]}
    curl(
        "--fail",
        "--proxy",
        f"http://{addresses['pod']}",
        "--cacert",
        container.pod / "ca-bundle.pem",
        f"{BASE_URL}/echo",
    )
    curl("--fail", "--unix-socket", container.pod / "gateway.sock", "http://tickets/echo")
    assert [one.values("authorization") for one in origin.ledger.since(mark)] == [[f"Bearer {TOKEN}"]] * 2
    assert status["problems"] == []

    port = status["admin_http"].rpartition(":")[2]
    for path in ("/live", "/ready"):
        assert curl("-o", "/dev/null", "-w", "%{http_code}", f"http://{own_address()}:{port}{path}") == "200"
    code, said = container.execute("proxyd", "status", "--json")
    assert code == 0, said
    assert json.loads(said)["state"] == "ready"

    assert container.stop() == 0
    assert TOKEN not in container.output.read_text()
    assert not [path for path in container.pod.rglob("*") if "key" in path.name]


def own_address():
    """An address of this machine that is not loopback, as the kubelet would use the pod's; loopback where none is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
