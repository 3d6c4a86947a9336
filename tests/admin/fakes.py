"""A service object that answers at once and remembers what it was asked."""

from proxyd.core.refusal import Refusal
from proxyd.core.settings import Readers
from proxyd.telemetry.recent import Recent


class FakeService:
    def __init__(self):
        self.recent = Recent()
        self.allowed = Readers()
        self.level = "info"
        self.ready = True
        self.calls = []

    async def status(self):
        self.calls.append("status")
        return {"version": "0.1.0", "listeners": []}

    async def services(self):
        return [{"name": "tickets"}]

    async def service(self, name):
        if name != "tickets":
            raise Refusal("not_found", f"there is no service {name!r}", "tickets")
        return {"name": name}

    async def exchanges(self, wanted, limit):
        return await self.recent.find(wanted, limit)

    def subscribe(self, wanted, kinds, buffer):
        return self.recent.subscribe(wanted, kinds, buffer)

    async def certificates(self):
        return []

    async def workers(self):
        return []

    async def memory(self):
        return {}

    async def log_level(self, level=None):
        self.level = level or self.level
        return {"level": self.level}

    def readers(self):
        return self.allowed

    async def drain(self, **values):
        self.calls.append(("drain", values))
        return {"ok": True}

    async def pools(self):
        return []

    async def tokens(self):
        return []

    async def unknown_hosts(self):
        return []

    async def probes(self):
        return []

    async def endpoints(self):
        return []

    async def hold_breaker(self, **values):
        self.calls.append(("breaker", values))
        return {"ok": True, "held": []}

    async def hold_endpoint(self, **values):
        self.calls.append(("endpoint", values))
        return {"ok": True, "held": []}

    async def config(self):
        raise ZeroDivisionError("a bug with s3cret in its text")

    async def reload(self):
        return {"ok": False, "version": 1, "problems": ["proxyd.yaml:3:1: unknown key"]}

    async def stop(self):
        self.calls.append("stop")
        return True

    async def upgrade(self, seconds, drain):
        self.calls.append(("upgrade", seconds, drain))
        return {"ok": True, "generation": 2, "drain_seconds": 5.0}

    async def is_ready(self):
        return self.ready

    async def metrics_text(self):
        return b"# HELP x y\n"

    async def ca_pem(self):
        return "-----BEGIN CERTIFICATE-----\n"

    async def environment(self):
        return {"proxy": "http://127.0.0.1:3128", "ca_bundle": "/b.pem", "ca": "/ca.pem", "secret_variables": ["T"]}
