"""A sink that writes one line for each exchange that took long."""

from dataclasses import dataclass

from proxyd.sdk import Batch, Duration, Sink, printable, without_query


@dataclass(frozen=True)
class Options:
    path: str
    over: Duration = Duration(1)


class SlowLog(Sink):
    api_version = 1
    options_type = Options

    async def open(self) -> None:
        self.file = open(self.host.state_dir / self.options.path, "a", buffering=1)

    async def events(self, batch: Batch) -> None:
        for exchange in batch:
            if exchange.total_ms >= self.options.over * 1000:
                url = printable(exchange.authority) + printable(without_query(exchange.path))
                self.file.write(f"{exchange.time:.3f} {exchange.total_ms:.0f}ms {exchange.status} {url}\n")

    async def reopen(self) -> None:
        await self.aclose()
        await self.open()

    async def aclose(self) -> None:
        self.file.close()
