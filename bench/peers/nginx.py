"""nginx as a cache in front of the origin (proxy_cache): files that the page cache holds, one worker, access log on."""

import os

from bench.origin import KEY_HEADER
from bench.peers.base import Peer


class Nginx(Peer):
    """A reverse proxy: it takes absolute-form requests, and whatever host they name goes to the origin."""

    name = "nginx"
    tool = "nginx"

    def write_config(self) -> None:
        (self.folder / "nginx.conf").write_text(self.config())

    def command(self) -> list[str]:
        return [str(self.tools.find(self.tool)), "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]

    def config(self) -> str:
        """The configuration file."""
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "\n".join(
            f"    {kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""{user}
daemon off;
master_process off;
pid {self.folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log {self.access_log} combined buffer=32k flush=1s;
    tcp_nodelay on;
    keepalive_requests 1000000000;
{temporary}
    proxy_cache_path {self.folder}/kept keys_zone=kept:1m use_temp_path=off;
    open_file_cache max=100;
    upstream origin {{ server {self.target.plain_authority}; keepalive 64; }}
    server {{
        listen {self.address} backlog=4096;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header {KEY_HEADER} "{self.target.key}";
            proxy_cache kept;
            proxy_cache_key $request_method$host$request_uri;
        }}
    }}
}}
"""
