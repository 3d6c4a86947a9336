"""The manifests: what a restricted namespace and a kubelet demand, and the configuration that they carry."""

from pathlib import Path

import pytest
import yaml

from proxyd.config.load import load_text

FOLDER = Path(__file__).parents[2] / "packaging" / "kubernetes"
NAMES = ("sidecar", "native-sidecar")
STATE, RUNTIME = Path("/run/own/state/proxyd"), Path("/run/own/run/proxyd")


def documents(name):
    return {one["kind"]: one for one in yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text())}


@pytest.fixture(params=NAMES)
def pod(request):
    """The pod's specification."""
    return documents(request.param)["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def proxyd(pod):
    """proxyd's container."""
    return next(one for one in (*pod.get("initContainers", ()), *pod["containers"]) if one["name"] == "proxyd")


@pytest.fixture(params=NAMES)
def settings(request):
    text = documents(request.param)["ConfigMap"]["data"]["proxyd.yaml"]
    return load_text(text, "proxyd.yaml", Path("/etc/proxyd"), STATE, RUNTIME)


def test_the_pod_is_allowed_in_a_restricted_namespace(pod):
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= container["resources"].keys()


def test_probes_ask_the_paths_that_the_admin_address_serves(proxyd):
    paths = {kind: proxyd[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/ready", "readiness": "/ready", "liveness": "/live"}
    (port,) = proxyd["ports"]
    assert port["containerPort"] == 3130
    assert {proxyd[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {
        port["name"]
    }


def test_the_application_shares_the_gateway_and_the_certificates_and_no_secret(pod, proxyd):
    (application,) = (one for one in pod["containers"] if one["name"] == "application")
    assert application["volumeMounts"] == [{"name": "pod", "mountPath": "/run/pod", "readOnly": True}]
    assert {mount["name"] for mount in proxyd["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert not [one for one in application["env"] if "valueFrom" in one]


def test_the_configuration_agrees_with_the_pod(settings, pod, proxyd):
    places = {mount["name"]: mount["mountPath"] for mount in proxyd["volumeMounts"]}
    assert settings.ca_folder == places["pod"]
    assert [one.address for one in settings.listeners] == ["127.0.0.1:3128", f"unix:{places['pod']}/gateway.sock"]
    assert all(source.file.startswith(places["secrets"]) for source in settings.secrets)
    assert settings.admin_http == "0.0.0.0:3130"
    assert settings.drain_timeout < pod["terminationGracePeriodSeconds"]


def test_folders_are_in_a_volume_of_proxyd_s_own(proxyd):
    folders = {one["name"]: Path(one["value"]) for one in proxyd["env"]}
    assert (folders["XDG_STATE_HOME"] / "proxyd", folders["XDG_RUNTIME_DIR"] / "proxyd") == (STATE, RUNTIME)


def test_the_native_sidecar_starts_before_the_application_and_differs_in_nothing_else():
    plain, native = (documents(name) for name in NAMES)
    assert plain["ConfigMap"] == native["ConfigMap"]
    pods = [one["Deployment"]["spec"]["template"]["spec"] for one in (plain, native)]
    (sidecar,) = pods[1].pop("initContainers")
    assert sidecar.pop("restartPolicy") == "Always"
    assert pods[0]["containers"].pop() == sidecar
    assert pods[0] == pods[1]
