"""Proofs of the catalogue: official clients through a real daemon. They run with ``-m catalogue`` alone.

``make test-catalogue SERVICES="github npm"`` installs what these need and runs them. What comes of it is kept in
``results/SERVICE.json``, from which docs/services.md is made.
"""

import datetime
import importlib.metadata
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.catalogue.lab.proxied import Proxied, client_variables, configuration, variable_of
from tests.catalogue.lab.vendor import Answer, Answers, Check, Vendor, unauthorised
from tests.lab.daemon import Daemon
from tests.lab.pki import Pki, create_pki

RESULTS = Path(__file__).with_name("results")
MARKER = "catalogue"

_outcomes: dict[str, list[str]] = {}
"""Outcomes of the tests of each service."""
_modules: dict[str, Any] = {}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the proofs out of an ordinary run: their clients are not installed for it."""
    wanted = MARKER in (config.option.markexpr or "")
    return True if collection_path.name.startswith("test_") and not wanted else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every proof."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(MARKER)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note how each test of a service ended."""
    outcome: Any = yield
    report = outcome.get_result()
    service = _service_of(item.path)
    if report.when == "call" or report.outcome != "passed":
        _outcomes.setdefault(service, []).append(report.outcome)
        _modules[service] = getattr(item, "module", None)


def pytest_sessionfinish() -> None:
    """Write one file for each service whose tests all ran; what was skipped proves nothing."""
    for service, outcomes in _outcomes.items():
        module = _modules[service]
        clients = [_with_version(name) for name in getattr(module, "CLIENTS", ())]
        result = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "clients": clients,
            "against": getattr(module, "AGAINST", "double"),
            "passed": bool(outcomes) and set(outcomes) == {"passed"},
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{service}.json").write_text(json.dumps(result, indent=1) + "\n")


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for certificates."""
    return tmp_path_factory.mktemp("catalogue")


@pytest.fixture
def pki_of(lab_folder: Path) -> Callable[..., Pki]:
    """Make an authority and a leaf for the hosts of a vendor: ``pki_of("api.example.com", "*.example.com")``."""
    return lambda *hosts: create_pki(lab_folder / "_".join(hosts)[:80].replace("*", "any"), hosts)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is entered here is left at the test's end, the latest first."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def vendor(stack: ExitStack) -> Iterator[Callable[..., Vendor]]:
    """Start a double: ``vendor(pki, check, answers)``. A rule that lets in whoever asks proves nothing, and fails."""
    doubles = []

    def start(
        pki: Pki, check: Check, answers: Answers, refuse: Callable[[str], Answer] = unauthorised, *, tls: bool = True
    ) -> Vendor:
        doubles.append(stack.enter_context(Vendor(pki, check, answers, refuse, tls=tls)))
        return doubles[-1]

    yield start
    assert all(double.discerns() for double in doubles), "this double lets in whoever asks"


@pytest.fixture
def proxied(stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Proxied]:
    """Start a daemon: ``proxied(pki, {"github": {"secret": "github/token", …}}, {"github/token": VALUE})``.

    This process's own environment goes through it from then on, so that SDKs that are used in the test do.
    """

    def start(pki: Pki, services: Mapping[str, Mapping[str, Any]], secrets: Mapping[str, str], **more: Any) -> Proxied:
        config = configuration(tmp_path, pki, services, secrets, **more)
        values = {variable_of(name): value for name, value in secrets.items()}
        daemon = stack.enter_context(Daemon(tmp_path, config, values))
        variables = client_variables(daemon)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        return Proxied(daemon, variables)

    return start


def _service_of(path: Path) -> str:
    return path.stem.removeprefix("test_").replace("_", "-")


def _with_version(client: str) -> str:
    try:
        return f"{client} {importlib.metadata.version(client)}"
    except importlib.metadata.PackageNotFoundError:
        return client
