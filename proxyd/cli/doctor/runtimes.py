"""The runtimes that a trial knows: where each is found, how it says its version, how it asks for one URL.

A program asks as its users do, with its own configuration files: what they change is part of what is tested. Whether
it likes the answer does not matter, the daemon's log tells whether it came.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FAMILIES: Final = ("curl", "wget", "git", "python", "pip", "node", "npm", "deno", "java", "go", "ruby", "php")
LIBRARIES: Final = ("requests", "httpx", "aiohttp")
LOOK_SECONDS: Final = 10

URL: Final = "{url}"
"""Stands in a command for the URL; ``{folder}`` for a folder of the trial's."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One runtime, ready to be asked."""

    family: str
    name: str
    """Short and a DNS label, such as ``python-requests``."""
    command: tuple[str, ...]
    version_command: tuple[str, ...] = ()
    version: str = ""
    """Where it is known already."""
    path: str = "/"
    """Asked for."""
    alone: str = ""
    """What to do where the proxy variables alone are not enough for it."""
    broken: str = ""
    """What to do where even ``proxyd exec`` is not enough."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set besides, values as in ``command``."""


_URLLIB: Final = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=8).read()"
_AIOHTTP: Final = (
    "import sys, asyncio, aiohttp\n"
    "async def main():\n"
    "    async with aiohttp.ClientSession(trust_env=True) as session:\n"
    "        async with session.get(sys.argv[1]) as answer: await answer.read()\n"
    "asyncio.run(main())"
)
_PYTHON: Final = {
    "urllib": _URLLIB,
    "requests": "import sys, requests; requests.get(sys.argv[1], timeout=8)",
    "httpx": "import sys, httpx; httpx.get(sys.argv[1], timeout=8)",
    "aiohttp": _AIOHTTP,
}
_LOOK: Final = (
    "import sys, json, importlib.util as u; "
    f"print(json.dumps(['%d.%d.%d' % sys.version_info[:3], sys.prefix, [n for n in {LIBRARIES!r} if u.find_spec(n)]]))"
)
_FETCH: Final = "fetch(process.argv[1]).then(r => r.text()).catch(e => { console.error(e); process.exit(1) })"
_HTTPS: Final = "require('https').get(process.argv[1], r => r.resume()).on('error', e => { throw e })"
_RUBY: Final = "require 'net/http'; Net::HTTP.get_response(URI(ARGV[0]))"
_PHP: Final = (
    "if (function_exists('curl_init')) { $c = curl_init($argv[1]); curl_setopt($c, CURLOPT_RETURNTRANSFER, true); "
    "if (curl_exec($c) === false) { echo curl_error($c); } } else { echo file_get_contents($argv[1]); }"
)
_NODE_ALONE: Final = (
    "set NODE_USE_ENV_PROXY=1 (Node 24, or 22.21 and later) and NODE_EXTRA_CA_CERTS, as proxyd exec does"
)
_NODE_BROKEN: Final = (
    "Node reads the proxy variables from 24, or 22.21, on: use that, or point the program's base URL at a gateway "
    "listener"
)
_STORE: Final = "'proxyd ca install'"


def find(families: Iterable[str]) -> tuple[list[Probe], list[str]]:
    """Return the probes of ``families`` that are installed, and the families that are not."""
    probes: list[Probe] = []
    missing: list[str] = []
    for family in families:
        found = _python() if family == "python" else _simple(family)
        probes += found
        if not found:
            missing.append(family)
    return probes, missing


def _python() -> list[Probe]:
    """Every Python of interest: those on PATH, and the one that runs this."""
    probes: list[Probe] = []
    seen: set[str] = set()
    for label, place in (
        ("python", shutil.which("python3")),
        ("python", shutil.which("python")),
        ("python-of-proxyd", sys.executable),
    ):
        version, prefix, libraries = _look(place) if place else ("", "", [])
        if place is None or not version or prefix in seen:
            continue
        seen.add(prefix)
        known = {probe.name for probe in probes}
        label = label if f"{label}-urllib" not in known else f"{label}{len(seen)}"
        probes += [
            Probe(
                "python",
                f"{label}-{library}",
                (place, "-c", _PYTHON[library], URL),
                version=version,
                alone=_python_alone(library),
                broken="look for a proxy or trust setting in the program's own configuration",
            )
            for library in ("urllib", *libraries)
        ]
    return probes


def _python_alone(library: str) -> str:
    variable = "REQUESTS_CA_BUNDLE" if library == "requests" else "SSL_CERT_FILE"
    return f"set {variable}, as proxyd exec does" + ("" if library in ("requests", "httpx") else f", or {_STORE}")


def _look(python: str) -> tuple[str, str, list[str]]:
    """Return version, prefix and libraries of an interpreter; empty for a name that is none, such as a pyenv shim."""
    try:
        done = subprocess.run(
            [python, "-c", _LOOK], capture_output=True, timeout=LOOK_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
        version, prefix, libraries = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return "", "", []
    return str(version), str(prefix), [str(name) for name in libraries if name in LIBRARIES]


def _simple(family: str) -> list[Probe]:
    place = shutil.which("keytool" if family == "java" else family)
    return _MAKE[family](place) if place else []


def _curl(place: str) -> list[Probe]:
    return [
        Probe(
            "curl",
            "curl",
            (place, "-fsS", "-m", "8", "-o", os.devnull, URL),
            (place, "--version"),
            alone=f"set CURL_CA_BUNDLE, as proxyd exec does, or {_STORE}",
            broken="look for proxy, noproxy and cacert in ~/.curlrc",
        )
    ]


def _wget(place: str) -> list[Probe]:
    return [
        Probe(
            "wget",
            "wget",
            (place, "-nv", "-T", "8", "-t", "1", "-O", os.devnull, URL),
            (place, "--version"),
            alone=f"wget has no variable for roots: set WGETRC, as proxyd exec does, or {_STORE}",
            broken="look for proxy and ca_certificate in ~/.wgetrc and /etc/wgetrc",
        )
    ]


def _git(place: str) -> list[Probe]:
    return [
        Probe(
            "git",
            "git",
            (place, "ls-remote", URL),
            (place, "--version"),
            path="/probe.git",
            alone=f"set GIT_SSL_CAINFO, as proxyd exec does, or {_STORE}",
            broken="look at 'git config --get-regexp ^http': http.proxy and http.sslCAInfo override the variables",
            variables={"GIT_TERMINAL_PROMPT": "0"},
        )
    ]


def _pip(place: str) -> list[Probe]:
    words = ("download", "--no-cache-dir", "--no-deps", "--retries", "0", "--timeout", "8", "--no-input")
    quiet = ("--disable-pip-version-check", "-d", "{folder}", "--index-url", URL, "proxyd-doctor-probe")
    return [
        Probe(
            "pip",
            "pip",
            (place, *words, *quiet),
            (place, "--version"),
            path="/simple/",
            alone="set PIP_CERT, as proxyd exec does",
            broken="look at 'pip config list': proxy and cert override the variables",
        )
    ]


def _node(place: str) -> list[Probe]:
    return [
        Probe(
            "node", name, (place, "-e", code, URL), (place, "--version"), alone=_NODE_ALONE, broken=_NODE_BROKEN
        )
        for name, code in (("node-fetch", _FETCH), ("node-https", _HTTPS))
    ]  # fmt: skip


def _npm(place: str) -> list[Probe]:
    return [
        Probe(
            "npm",
            "npm",
            (place, "ping", "--registry", URL, "--fetch-retries", "0", "--cache", "{folder}", "--no-update-notifier"),
            (place, "--version"),
            alone="set npm_config_cafile, as proxyd exec does, or 'npm config set cafile FILE'",
            broken="look at 'npm config list': proxy, https-proxy, noproxy and cafile override the variables",
        )
    ]


def _deno(place: str) -> list[Probe]:
    return [
        Probe(
            "deno",
            "deno",
            (place, "eval", "await (await fetch(Deno.args[0])).text()", URL),
            (place, "--version"),
            alone="set DENO_CERT, as proxyd exec does",
            broken="Deno reads HTTP_PROXY, HTTPS_PROXY and DENO_CERT; look for --cert in the program's command",
        )
    ]


def _java(place: str) -> list[Probe]:
    """The JRE's keytool fetches a list of revoked certificates as any program does: URL.openStream, default trust."""
    java = shutil.which("java") or place
    return [
        Probe(
            "java",
            "java",
            (place, "-printcrl", "-file", URL),
            (java, "-version"),
            path="/crl",
            alone="Java reads no proxy variables: set JAVA_TOOL_OPTIONS, as proxyd exec does",
            broken="look for -Dhttps.proxyHost and -Djavax.net.ssl.trustStore in the program's command line",
        )
    ]


def _go(place: str) -> list[Probe]:
    """The go command asks its module proxy through net/http, as a Go program would; nothing is compiled."""
    return [
        Probe(
            "go",
            "go",
            (place, "list", "-m", "-versions", "doctor.invalid/probe"),
            (place, "version"),
            alone=f"set SSL_CERT_FILE, as proxyd exec does, or {_STORE}",
            broken="a Go program whose http.Transport has no Proxy: ProxyFromEnvironment ignores the variables",
            variables={
                "GOPROXY": URL,
                "GONOSUMDB": "*",
                "GONOSUMCHECK": "1",
                "GOFLAGS": "-mod=mod",
                "GONOPROXY": "none",
                "GOPRIVATE": "",
                "GOMODCACHE": "{folder}/mod",
                "GOCACHE": "{folder}/cache",
                "GOTOOLCHAIN": "local",
                "GOENV": "off",
            },
        )
    ]


def _ruby(place: str) -> list[Probe]:
    return [
        Probe(
            "ruby",
            "ruby",
            (place, "-e", _RUBY, URL),
            (place, "--version"),
            alone=f"set SSL_CERT_FILE, as proxyd exec does, or {_STORE}",
            broken="look for a proxy or ca_file setting in the program's own configuration",
        )
    ]


def _php(place: str) -> list[Probe]:
    return [
        Probe(
            "php",
            "php",
            (place, "-r", _PHP, "--", URL),
            (place, "--version"),
            alone=f"set PHP_INI_SCAN_DIR, as proxyd exec does, or {_STORE}",
            broken="PHP's streams ignore proxies: use its curl extension (Debian: php-curl), or a gateway listener",
        )
    ]


_MAKE: Final = {
    "curl": _curl,
    "wget": _wget,
    "git": _git,
    "pip": _pip,
    "node": _node,
    "npm": _npm,
    "deno": _deno,
    "java": _java,
    "go": _go,
    "ruby": _ruby,
    "php": _php,
}


def filled(text: str, url: str, folder: Path) -> str:
    """Return a word of a command with URL and folder in place."""
    return text.replace(URL, url).replace("{folder}", str(folder))
