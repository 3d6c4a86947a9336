"""Varnish: a cache and nothing else, in memory. Its threads use both CPUs, and its log stays in shared memory."""

from bench.origin import KEY_HEADER
from bench.peers.base import Peer
from bench.ports import LOOPBACK


class Varnish(Peer):
    """A reverse proxy for the origin; it takes absolute-form requests."""

    name = "varnish"
    tool = "varnishd"

    def write_config(self) -> None:
        path = self.folder / "default.vcl"
        path.write_text(self.config())
        self.folder.chmod(0o755)
        path.chmod(0o644)

    def command(self) -> list[str]:
        words = [str(self.tools.find(self.tool)), "-F", "-f", str(self.folder / "default.vcl"), "-a", self.address]
        return [*words, "-s", "malloc,64m", "-n", str(self.folder / "work")]

    def config(self) -> str:
        """The program in Varnish's language."""
        return f"""vcl 4.1;
backend origin {{ .host = "{LOOPBACK}"; .port = "{self.target.plain_port}"; }}
sub vcl_backend_fetch {{ set bereq.http.{KEY_HEADER} = "{self.target.key}"; }}
"""
