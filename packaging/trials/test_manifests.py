"""The Kubernetes manifests against Kubernetes' own schemas, unknown fields included."""

from pathlib import Path

import pytest
import yaml

from tests.lab.tools import missing

FOLDER = Path(__file__).parents[1] / "kubernetes"
VERSIONS = ("1.29", "1.37")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["sidecar", "native-sidecar"])
def test_every_document_is_valid(name, version):
    try:
        import kubernetes_validate
    except ImportError:
        missing("kubernetes-validate is not installed (PyPI package kubernetes-validate)")
    for document in yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text()):
        kubernetes_validate.validate(document, version, strict=True)
