"""All scenarios by name, in the order of the table of figures."""

from bench.origin import POST_BYTES
from bench.scenarios.base import Scenario
from bench.scenarios.idle import Idle, IdleMultiplexed, IdleWebSockets
from bench.scenarios.multiplexed import Gateway, InterceptMultiplexed
from bench.scenarios.requests import Forward, Hits, Intercept
from bench.scenarios.start import Start
from bench.scenarios.stream import Stream
from bench.scenarios.tunnel import Tunnel

CONNECTIONS = 32

PROXIES = ("proxyd", "envoy", "haproxy", "squid", "proxy.py", "mitmproxy")
WITH_DIRECT = (*PROXIES, "direct")
STREAMS = ("proxyd", "envoy", "squid")
"""HAProxy waits for more to send, mitmproxy for the whole response, unless they are told otherwise."""
TUNNELS = ("proxyd", "haproxy", "haproxy-splice", "envoy", "direct")
INTERCEPTORS = ("proxyd", "mitmproxy", "direct")
CACHES = ("proxyd", "proxyd-uncached", "squid", "nginx", "varnish")
LIMITED = ("proxyd", "envoy", "squid", "proxy.py", "mitmproxy")
GATEWAYS = ("proxyd", "envoy", "mitmproxy", "direct")
CALLS = ("proxyd", "envoy", "direct")

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Forward("forward", f"absolute-form GET 1 KB, {CONNECTIONS} keep-alive connections", WITH_DIRECT, CONNECTIONS),
        Forward("forward-c1", "the same on one connection: latency", WITH_DIRECT, 1),
        Forward("post", f"POST 10 KB, {CONNECTIONS} keep-alive connections", WITH_DIRECT, CONNECTIONS, POST_BYTES),
        Forward(
            "forward-limits",
            "forward, and proxyd has a limit per caller and the cache on",
            LIMITED,
            CONNECTIONS,
            feature="limits",
        ),
        Hits("cache", f"GET 1 KB that caches keep, {CONNECTIONS} keep-alive connections: hits", CACHES, CONNECTIONS),
        Tunnel("tunnel", "1 GiB through CONNECT, a plain neighbour beside it", TUNNELS),
        Intercept(
            "intercept", f"HTTPS through CONNECT, {CONNECTIONS} keep-alive connections", INTERCEPTORS, CONNECTIONS
        ),
        Intercept("intercept-new", "HTTPS, each request on a new connection, 8 at a time", INTERCEPTORS, 8, new=True),
        Gateway("h2", "GET 1 KB by HTTP/2 in the clear to an HTTP/1.1 origin, 4 connections x 10 streams", GATEWAYS),
        InterceptMultiplexed("h2-intercept", "HTTP/2 inside CONNECT and TLS, 4 connections x 10 streams", INTERCEPTORS),
        Gateway("grpc", "gRPC calls, HTTP/2 in the clear on both sides, 4 connections x 10 streams", CALLS, call=True),
        Idle("idle", "memory of all processes, and with 1,000 idle plain connections", PROXIES),
        IdleMultiplexed("idle-h2", "memory with 1,000 idle HTTP/2 connections", ("proxyd", "envoy")),
        IdleWebSockets("idle-websocket", "memory with 1,000 WebSockets that are silent", ("proxyd", "envoy")),
        Stream("stream", "server-sent events, one each 20 ms: origin write to client read", STREAMS),
        Stream("stream-intercept", "the same, intercepted", ("proxyd",), secure=True),
        Start("start", "from exec to the first byte served, empty state folder", PROXIES),
    )
}
