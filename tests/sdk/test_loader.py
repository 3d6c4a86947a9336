import sys

import pytest

from proxyd import sdk
from proxyd.sdk import loader
from proxyd.sdk.loader import GROUP, SHIPPED, LoadError, load_exporter, load_sink
from proxyd.sdk.testing import FakeHost

MODULE = """
from proxyd.sdk import Sink
class Good(Sink):
    async def events(self, batch): ...
class Old(Good):
    api_version = 0
class NoDataclass(Good):
    options_type = dict
class Outer:
    Inner = Good
class Unrelated:
    async def events(self, batch): ...
class NotAsync(Sink):
    def events(self, batch): ...
"""
METADATA = "Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n"


@pytest.fixture
def strangers(tmp_path, monkeypatch):
    """An installed package with an entry point."""
    info = tmp_path / "strangers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nstrange = strangers:Good\nbroken = strangers:Absent\n")
    (tmp_path / "strangers.py").write_text(MODULE)
    (tmp_path / "explodes.py").write_text("raise ZeroDivisionError('boom')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("strangers", "explodes"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["strange", "strangers:Good", "strangers:Outer.Inner"])
def test_a_sink_is_found_by_entry_point_and_by_module(strangers, name):
    assert load_sink(name).__name__ == "Good"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_sink_is_found_without_reading_what_is_installed(name, monkeypatch):
    monkeypatch.setattr(loader, "_entry_point", None)
    assert load_sink(name).events is not sdk.Sink.events


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stranger", "no sink of this name is installed; there are access_log, broken, strange, or write module:name"),
        ("stranger", "did you mean 'strange'?"),
        ("broken", "broken cannot be loaded: AttributeError"),
        ("strangers:Absent", "strangers:Absent cannot be loaded: AttributeError"),
        ("absent:X", "absent:X cannot be loaded: ModuleNotFoundError"),
        ("explodes:X", "explodes:X cannot be loaded: ZeroDivisionError: boom"),
        ("strangers:NotAsync", "strangers:NotAsync is no sink: write 'async def events(self, batch)'"),
        ("strangers:Unrelated", "strangers:Unrelated is no sink: a class that derives from proxyd.sdk.Sink is"),
        ("strangers:Sink", "strangers:Sink is no sink: write 'async def events(self, batch)'"),
        ("strangers:Sink.__doc__", "is no sink"),
        ("strangers:NoDataclass", "its options_type is no dataclass"),
        ("strangers:Old", "strangers:Old is written for version 0 of proxyd.sdk, this is 1; update it"),
    ],
)
def test_what_cannot_be_loaded_is_told_with_what_to_do(strangers, name, words):
    with pytest.raises(LoadError) as caught:
        load_sink(name)
    assert words in str(caught.value)


def test_the_metrics_page_is_in_the_format_that_is_promised():
    assert load_exporter(FakeHost()).content_type == sdk.TEXT_FORMAT
