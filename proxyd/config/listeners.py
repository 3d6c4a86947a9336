"""The sections that say how proxyd is reached: by applications at its listeners, by people at the admin socket."""

from typing import Annotated, Literal

from pydantic import Field

from proxyd.reading import addresses
from proxyd.reading.readers import Text
from proxyd.reading.sections import Section
from proxyd.reading.values import Cidr, FilePath, Id, ListenAddress, ListenerAddress, Name, SecretName, UserName


class User(Section):
    """One user of proxy authentication."""

    name: UserName
    """The user name; no colon."""
    secret: SecretName
    """Name of the secret that holds the password."""


class ProxyProtocolSection(Section):
    """The listener stands behind proxies that tell of each client (PROXY protocol, versions 1 and 2).

    Every connection must begin with the header; the client's address counts for `access`, limits and logs from there.
    """

    proxies: Annotated[list[Cidr], Field(alias="from", min_length=1, max_length=256)]
    """Addresses or ranges of the proxies. Connections of anybody else are closed."""


class ListenerSection(Section):
    """An address at which applications reach the proxy."""

    name: Name
    """Stands in logs and metrics; unique."""
    mode: Literal["forward", "gateway"]
    """`forward`: an HTTP forward proxy (HTTP_PROXY, CONNECT). `gateway`: the services as `http://SERVICE/…`."""
    address: ListenerAddress = ""
    """Port 0: chosen by the kernel. `unix:` path: relative to the runtime folder, a gateway's is `gateway.sock`."""
    unknown_hosts: Literal["tunnel", "deny", "intercept"] = "tunnel"
    """CONNECT to a host that is no service: pass the bytes on unread, refuse, or decrypt with the local CA."""
    users: Annotated[list[User], Field(min_length=1)] | None = None
    """Demand Basic proxy authentication from every client and accept these users. Mode `forward`."""
    origins: Annotated[list[Annotated[str, Text(addresses.web_origin, "origin")]], Field(min_length=1)] = []
    """Origins of web pages that may use the gateway. Without it: none. Mode `gateway`."""
    open: bool = False
    """Demand no token of callers on TCP: every local program may use the gateway. Mode `gateway`."""
    http2: bool = True
    """Speak HTTP/2 with applications that want it; `false`: HTTP/1.1 alone. Services are not concerned."""
    proxy_protocol: ProxyProtocolSection | None = None
    """Demand a header of the PROXY protocol, from these proxies alone. Without it: none is read."""


class ReadersSection(Section):
    """Who may look through the admin socket and change nothing. The daemon's own user and root may do everything.

    The socket's folder must let them in, which the runtime folder does not: name another with `admin.socket`.
    """

    uids: list[Id] = []
    """User ids."""
    gids: list[Id] = []
    """Group ids, of which a caller has one or more."""


class AdminSection(Section):
    """Where the daemon is asked and told."""

    socket: FilePath = ""
    """Unix socket, relative to the runtime folder; mode 0600 unless there are `readers`. Without it: `admin.sock`."""
    readers: ReadersSection = ReadersSection()
    """Who may look and change nothing. Without it: nobody."""
    http: ListenAddress = ""
    """Address of `/metrics`, `/live` and `/ready`. Without it: none."""
