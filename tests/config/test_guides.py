"""The configurations in the guides load: each block by itself, or as what it adds to the guide's first one."""

import re
from pathlib import Path

import pytest
import yaml

from proxyd.config.load import load_text
from tests.config.conftest import RUNTIME, STATE

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(guide, number, id=f"{guide.stem}-{number}")
    for guide in [GUIDES / "gateway.md"]
    for number in range(len(BLOCK.findall(guide.read_text())))
]


@pytest.mark.parametrize(("guide", "number"), BLOCKS)
def test_the_block_loads(guide, number, tmp_path):
    blocks = [yaml.safe_load(text) for text in BLOCK.findall(guide.read_text())]
    whole = blocks[0] | blocks[number]
    assert load_text(yaml.safe_dump(whole), guide.name, tmp_path, STATE, RUNTIME).listeners
