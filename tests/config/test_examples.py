"""Every file in conf/ loads, for the daemon and for editors that check it by the schema."""

from pathlib import Path

import pytest
import trustme

from proxyd.config.load import load_text
from proxyd.core.limits import Limits
from tests.config.conftest import RUNTIME, STATE

CONF = Path(__file__).parents[2] / "conf"
EXAMPLES = sorted(CONF.glob("*.yaml"))


def load_example(path, tmp_path):
    roots = tmp_path / "roots.pem"
    trustme.CA().cert_pem.write_to_path(roots)
    text = path.read_text().replace("/etc/proxyd/extra-roots.pem", str(roots))
    return load_text(text, path.name, tmp_path, STATE, RUNTIME)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_loads(path, tmp_path):
    assert load_example(path, tmp_path).listeners


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_opens_with_what_it_is_for(path):
    assert path.read_text().startswith("# ")


def test_the_limits_of_the_tuning_example_are_the_defaults(tmp_path):
    assert load_example(CONF / "tuning.yaml", tmp_path).limits == Limits()
