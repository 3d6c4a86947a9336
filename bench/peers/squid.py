"""Squid: one worker, access log on, the header added to every request; no cache, except where hits are measured."""

from bench.origin import KEY_HEADER
from bench.peers.base import Peer


class Squid(Peer):
    """A forward proxy as it is."""

    name = "squid"
    tool = "squid"

    def write_config(self) -> None:
        (self.folder / "squid.conf").write_text(self.config())
        for name in ("access.log", "cache.log"):
            (self.folder / name).touch()
            (self.folder / name).chmod(0o666)  # a Squid that root starts writes as another user
        self.folder.chmod(0o755)

    def command(self) -> list[str]:
        return [str(self.tools.find(self.tool)), "-N", "-f", str(self.folder / "squid.conf")]

    def _cache(self) -> str:
        return "cache_mem 64 MB" if self.feature == "cache" else "cache deny all\ncache_mem 0"

    def config(self) -> str:
        """The configuration file."""
        return f"""http_port {self.address}
workers 1
{self._cache()}
access_log stdio:{self.access_log}
cache_log {self.folder}/cache.log
buffered_logs on
pid_filename none
coredump_dir none
pinger_enable off
netdb_filename none
dns_nameservers 127.0.0.1
visible_hostname bench
max_filedescriptors 8192
shutdown_lifetime 0 seconds
client_lifetime 1 day
http_access allow all
request_header_access {KEY_HEADER} deny all
request_header_add {KEY_HEADER} "{self.target.key}" all
"""
