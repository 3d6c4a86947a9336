"""The kit itself, and the guide's example, which is written with it."""

import sys
from pathlib import Path

import pytest
import trio

from proxyd.sdk import ACCESS, NOTICE, SCHEMAS, Sink
from proxyd.sdk.testing import FakeHost, access, batch, feed, notice, opened, record

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = ("slow_log.py", "test_slow_log.py")


class Steps(Sink):
    def __init__(self, options, host):
        super().__init__(options, host)
        self.steps = []

    async def open(self):
        self.steps.append("open")

    async def run(self):
        self.steps.append("run")

    async def events(self, batch):
        self.steps.append(len(batch))

    async def flush(self):
        self.steps.append("flush")

    async def aclose(self):
        self.steps.append("close")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_there_is_an_example_of_every_schema(schema):
    assert len(batch(record(schema))) == 1


def test_a_record_that_does_not_fit_is_a_mistake_of_the_test():
    with pytest.raises(ValueError, match="1 of 2 records"):
        batch(access(), access(status="200"))
    with pytest.raises(KeyError):
        access(colour="red")


async def test_a_sink_is_lived_through():
    async with opened(Steps) as sink:
        await trio.testing.wait_all_tasks_blocked()
        await feed(sink, access(), notice(), access())
    assert sink.steps == ["open", "run", 2, "flush", "flush", "close"]
    assert sink.schemas == {ACCESS}
    assert NOTICE not in sink.schemas


async def test_the_host_remembers():
    host = FakeHost(secrets={"key": b"value"})
    host.log("info", "begun", "all is well")
    host.lost(2, "full")
    host.lost(1, "full")
    host.problem("bad")
    assert (host.events, host.losses, host.text, host.secret("key")) == (["begun"], {"full": 3}, "bad", b"value")
    assert await host.metrics() == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_guide_shows_the_example_as_it_is(name):
    assert f"```python\n{(DOCS / 'examples' / name).read_text()}```" in (DOCS / "guides" / "plugins.md").read_text()


async def test_the_guides_example_passes_its_own_test(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "examples")
    from test_slow_log import test_slow_exchanges_are_written_and_their_queries_are_not as example

    await example(tmp_path)
    for name in ("slow_log", "test_slow_log"):
        sys.modules.pop(name)
