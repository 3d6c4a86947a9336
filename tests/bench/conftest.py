from pathlib import Path

import pytest

from bench.certificates import Identity
from bench.origin import Target
from bench.tools import Tools


@pytest.fixture
def target(tmp_path):
    identity = Identity(tmp_path / "root.pem", tmp_path / "origin.pem", tmp_path / "origin.key")
    return Target(9000, 8443, 9100, 9200, identity, key="the-key", token="the-token")


@pytest.fixture
def tools(tmp_path):
    """A cache folder in which every Python peer seems to be installed."""
    cache = tmp_path / "cache"
    for name in ("lib/python3.11/site-packages/envoy/_bin/envoy", "bin/mitmdump", "bin/proxy", "bin/bench-connect"):
        path = cache / Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    return Tools(cache)
