from pathlib import Path

from slow_log import SlowLog

from proxyd.sdk.testing import FakeHost, access, feed, opened


async def test_slow_exchanges_are_written_and_their_queries_are_not(tmp_path: Path) -> None:
    async with opened(SlowLog, {"path": "slow.txt"}, FakeHost(tmp_path)) as sink:
        await feed(sink, access(total_ms=3), access(total_ms=2500.0, path=b"/search?q=hidden", status=504))
    assert (tmp_path / "slow.txt").read_text() == "1790000000.124 2500ms 504 api.tickets.example/search?<redacted>\n"
