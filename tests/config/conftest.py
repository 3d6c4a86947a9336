from pathlib import Path

import pytest

from proxyd.config.load import load_text
from proxyd.reading.problems import ConfigError

STATE = Path("/var/lib/proxyd")
RUNTIME = Path("/run/proxyd")
LISTENERS = "listeners: [{name: apps, mode: forward, address: 127.0.0.1:3128}]\n"


@pytest.fixture
def settings_of(tmp_path):
    """Load text as if it stood in a file of an empty folder."""

    def load(text):
        return load_text(text, "proxyd.yaml", tmp_path, STATE, RUNTIME)

    return load


@pytest.fixture
def problems_of(settings_of):
    """Return the lines that are printed for text with mistakes, without the file's name."""

    def load(text):
        with pytest.raises(ConfigError) as caught:
            settings_of(text)
        return [line.removeprefix("proxyd.yaml:") for line in str(caught.value).splitlines()]

    return load
