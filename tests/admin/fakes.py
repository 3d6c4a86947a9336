"""A service object that answers at once and remembers what it was asked."""


class FakeService:
    def __init__(self):
        self.ready = True
        self.calls = []

    async def status(self):
        self.calls.append("status")
        return {"version": "0.1.0", "listeners": []}

    async def services(self):
        return [{"name": "tickets"}]

    async def pools(self):
        return []

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
