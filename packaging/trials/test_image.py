"""The image: small, without root or shell, and proxyd as its process 1 carries an authorised request."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.lab.daemon import Admin, configuration, wait_until
from tests.lab.origin import BASE_URL, KEY, TOKEN

LARGEST = 120 * 1000 * 1000
UID = 65532


class Container:
    """The image run as a restricted pod would: read-only root, uid 65532, no capability, process 1 of its namespace."""

    def __init__(self, config, rootfs, folder, configured):
        self.folder = folder
        self.state, self.runtime, self.etc, self.secrets = (
            folder / name for name in ("state", "run", "etc", "secrets")
        )
        for path in (self.state, self.runtime, self.etc, self.secrets):
            path.mkdir(parents=True)
            os.chown(path, UID, UID)
        (self.etc / "proxyd.yaml").write_text(yaml.safe_dump(configured))
        self.admin = Admin(self.runtime / "admin.sock")
        self.output = folder / "output.log"
        self._rootfs = rootfs
        self._command = [*config["Entrypoint"], *config["Cmd"]]
        self._variables = variables(config)

    def __enter__(self):
        mounts = {"var/lib/proxyd": self.state, "run/proxyd": self.runtime, "etc/proxyd": self.etc}
        mounts["run/secrets"] = self.secrets
        script = ["set -e", f"root={self._rootfs}", 'mount --bind "$root" "$root"']
        script += [f'mount --bind {source} "$root/{target}"' for target, source in mounts.items()]
        script += ['mount -t proc proc "$root/proc"', 'mount -o remount,ro,bind "$root"']
        script += [f'exec setpriv --no-new-privs chroot --userspec {UID}:{UID} "$root" "$@"']
        (self._rootfs / "run" / "secrets").mkdir(exist_ok=True)
        command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", "\n".join(script), "sh"]
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, *self._command], env=self._variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
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
            env=self._variables, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def stop(self):
        """Stop as an engine does; return the exit code."""
        os.kill(self.first, signal.SIGTERM)
        return self._process.wait(30)


def variables(config):
    """The image's environment; the host's programs, which set it up, come after the image's own."""
    found = dict(pair.split("=", 1) for pair in config["Env"])
    return {**found, "PATH": f"{found['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture
def container(image, origin, pki, tmp_path):
    config, rootfs = image
    configured = configuration(origin, pki, Path("/run/proxyd"))
    configured["tls"]["extra_roots"] = "/etc/proxyd/roots.pem"
    configured["admin"]["http"] = "127.0.0.1:0"
    configured["secrets"] = {name: {"file": f"/run/secrets/{name.replace('/', '-')}"} for name in configured["secrets"]}
    configured["telemetry"]["access_log"]["path"] = "-"
    box = Container(config["config"], rootfs, tmp_path, configured)
    shutil.copy(pki.roots, box.etc / "roots.pem")
    for name, value in (("tickets-token", TOKEN), ("plain-key", KEY)):
        (box.secrets / name).write_text(value)
        os.chown(box.secrets / name, UID, UID)
        (box.secrets / name).chmod(0o400)
    with box:
        yield box


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


def test_a_container_serves_an_authorised_request_answers_probes_and_drains(container, origin):
    mark = origin.ledger.mark()
    status = container.admin.call("status")
    (listener,) = status["listeners"]
    command = ["curl", "-fsS", "--proxy", f"http://{listener['address']}", "--cacert", str(container.state / "ca.pem")]
    done = subprocess.run([*command, f"{BASE_URL}/echo"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr + container.output.read_text()
    (received,) = origin.ledger.since(mark)
    assert received.values("authorization") == [f"Bearer {TOKEN}"]
    code, said = container.execute("proxyd", "status", "--json")
    assert code == 0, said
    assert json.loads(said)["state"] == "ready"
    assert Path(f"/proc/{container.first}/root").exists()
    assert container.stop() == 0
    assert TOKEN not in container.output.read_text()
