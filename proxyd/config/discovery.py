"""The `discover` section of a service: where its endpoints are looked for."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field

from proxyd.core.authority import normalise_host, parse_authority
from proxyd.core.discovery import Discovery, Dns, Finder, ListFile, Slices, Srv
from proxyd.core.service import BaseUrl
from proxyd.reading import names
from proxyd.reading.problems import Mistake, Trail, describe, kind_of
from proxyd.reading.readers import Text, Whole
from proxyd.reading.sections import Section
from proxyd.reading.tree import Tree

KINDS: Final = ("dns", "srv", "file", "kubernetes")
DNS_PORT: Final = 53
MAX_SERVERS: Final = 8

LABEL_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_LABEL: Final = re.compile(LABEL_PATTERN[1:-1])
_SRV_LABEL: Final = re.compile(r"_?[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_PORT_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAX_NAME: Final = 253


def dns_name(value: object) -> str:
    """Read a name whose addresses are looked up."""
    expected = "a full name such as backend.example.com"
    text = _text(value, expected)
    try:
        host, is_ip = normalise_host(text)
    except ValueError:
        raise Mistake("not a host name", expected) from None
    if is_ip:
        raise Mistake("an IP address is looked up nowhere; it belongs under endpoints", expected)
    return host


def srv_name(value: object) -> str:
    """Read the name of SRV records (RFC 2782)."""
    text = _text(value, "a name such as _https._tcp.example.com").lower().removesuffix(".")
    if len(text) > _MAX_NAME or not all(_SRV_LABEL.fullmatch(label) for label in text.split(".")):
        raise Mistake("not the name of SRV records", "a name such as _https._tcp.example.com")
    return text


def server_address(value: object) -> tuple[str, int]:
    """Read the address of a resolver; port 53 where there is none."""
    expected = "a resolver such as 192.0.2.53 or [2001:db8::53]:5353"
    text = _text(value, expected)
    try:
        bare = ipaddress.ip_address(text)
        return str(bare), DNS_PORT
    except ValueError:
        pass
    try:
        authority = parse_authority(text, DNS_PORT)
        return str(ipaddress.ip_address(authority.host)), authority.port
    except ValueError:
        raise Mistake("not an IP address, or not a port", expected) from None


def label(value: object) -> str:
    """Read the name of a Kubernetes object (RFC 1123 label)."""
    text = _text(value, "a name such as payments")
    if not _LABEL.fullmatch(text):
        raise Mistake("not the name of a Kubernetes object", "up to 63 small letters, digits and '-'")
    return text


def slice_port(value: object) -> str:
    """Read the port of EndpointSlices: its name, or its number in the pods."""
    expected = "the name of the service's port, or a number from 1 to 65535"
    if type(value) is int and 0 < value < 65536:
        return str(value)
    if not isinstance(value, str) or not _PORT_NAME.fullmatch(value) or value.isdecimal():
        raise Mistake("not a port", expected)
    return value


def api_url(value: object) -> str:
    """Read the address of the Kubernetes API; the token is worth a cluster, so http is for loopback alone."""
    expected = "a URL such as https://10.0.0.1:6443"
    text = _text(value, expected)
    try:
        parts = urlsplit(text)
        host, _ = normalise_host(f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise Mistake("not a URL", expected) from None
    if parts.scheme not in ("https", "http") or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Mistake("the URL has scheme, host and port alone", expected)
    if parts.username is not None or parts.password is not None:
        raise Mistake("a URL carries no user or password here", expected)
    if parts.scheme == "http" and host not in ("127.0.0.1", "::1", "localhost"):
        raise Mistake("the token would go over plain http; that is for a proxy on loopback", expected)
    return f"{parts.scheme}://[{host}]:{port}" if ":" in host else f"{parts.scheme}://{host}:{port}"


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise Mistake(f"{kind_of(value)} stands here", expected)
    return value


Servers = Annotated[
    list[Annotated[tuple[str, int], Text(server_address, "ip or ip:port")]],
    Field(min_length=1, max_length=MAX_SERVERS),
]
KubernetesName = Annotated[str, Text(label, "name", LABEL_PATTERN)]
FilePath = Annotated[str, Text(names.path_text, "path")]


class DnsSection(Section):
    """The A and AAAA records of a name. They are looked up again when their time to live (1 s to 5 min) is over."""

    name: Annotated[str, Text(dns_name, "name")]
    """The full name; /etc/hosts and search domains do not count."""
    port: Annotated[int, Whole(1, 65535)] | None = None
    """Port of the endpoints. Without it: the base URL's."""
    servers: Servers | None = None
    """Resolvers to ask. Without it: those of /etc/resolv.conf."""


class SrvSection(Section):
    """The SRV records of a name: hosts and ports, with their priorities and weights."""

    name: Annotated[str, Text(srv_name, "name")]
    """Such as `_https._tcp.example.com`."""
    servers: Servers | None = None
    """Resolvers to ask. Without it: those of /etc/resolv.conf."""


class KubernetesSection(Section):
    """The EndpointSlices of a service, over the Kubernetes API."""

    service: KubernetesName
    """Name of the Service object."""
    namespace: KubernetesName = ""
    """Its namespace. Without it: the pod's own."""
    port: Annotated[str, Text(slice_port, "port name or number")]
    """Name of the service's port, or the number that the pods listen on."""
    api: Annotated[str, Text(api_url, "url")] = ""
    """Address of the API. Without it: what the pod's environment says."""
    token_file: FilePath = ""
    """File with the token, relative to the configuration file. Without it: the service account's."""
    ca_file: FilePath = ""
    """PEM file with the API's CA, relative to the configuration file. Without it: the service account's."""


class DiscoverSection(Section):
    """Where endpoints are looked for: exactly one of `dns`, `srv`, `file` and `kubernetes`."""

    dns: DnsSection | None = None
    """The addresses of a name."""
    srv: SrvSection | None = None
    """SRV records."""
    file: FilePath = ""
    """A file with a list like `endpoints`, JSON or YAML, read again when it changes; relative to the configuration."""
    kubernetes: KubernetesSection | None = None
    """The pods of a Kubernetes service."""

    def compiled(self, service: str, base: BaseUrl, folder: Path) -> Discovery:
        """Return the noun; one of the keys is given."""
        return Discovery(service, self._finder(base, folder))

    def _finder(self, base: BaseUrl, folder: Path) -> Finder:
        if self.dns is not None:
            return Dns(self.dns.name, self.dns.port or base.port, tuple(self.dns.servers or ()))
        if self.srv is not None:
            return Srv(self.srv.name, tuple(self.srv.servers or ()))
        if self.kubernetes is not None:
            found = self.kubernetes
            token, ca = (str(folder / path) if path else "" for path in (found.token_file, found.ca_file))
            return Slices(found.service, found.namespace, found.port, found.api, token, ca)
        return ListFile(str(folder / self.file))


def check_discover(tree: Tree, trail: Trail, service: dict[str, Any]) -> None:
    """Report a `discover` section that names no source, or several."""
    discover = service.get("discover")
    if not isinstance(discover, dict):
        return
    given = [kind for kind in KINDS if kind in discover]
    if len(given) != 1:
        found = f"{' and '.join(given)} are given" if given else "the source is missing"
        tree.add((*trail, "discover"), describe(found, "exactly one of dns, srv, file and kubernetes"), at_key=True)
