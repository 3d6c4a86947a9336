from importlib import metadata

import pytest

from proxyd.catalog import shelf
from proxyd.catalog.shelf import SHIPPED, Shelf


def test_shipped_definitions_are_found_by_name():
    assert Shelf().find("github") == SHIPPED / "github.yaml"
    assert Shelf().find("no-such-service") is None
    assert Shelf().find("../services/github") is None


def test_own_files_and_folders_come_first(tmp_path):
    (tmp_path / "github.yaml").write_text("")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "tickets.yaml").write_text("")
    (tmp_path / "own" / "readme.md").write_text("")
    own = Shelf([tmp_path / "github.yaml", tmp_path / "own"])
    assert own.find("github") == tmp_path / "github.yaml"
    assert own.find("tickets") == tmp_path / "own" / "tickets.yaml"
    assert {"github", "tickets", "pagerduty"} <= set(own.names())
    assert "readme" not in own.names()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package with definitions, as an installed distribution would bring."""
    package = tmp_path / "acme_services"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("acme", "github"):
        (package / f"{name}.yaml").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    entry = metadata.EntryPoint("acme", "acme_services", shelf.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry] if group == shelf.GROUP else [])
    shelf.packaged.cache_clear()
    yield package
    shelf.packaged.cache_clear()


def test_packages_bring_definitions_and_replace_none(plugin):
    assert Shelf().find("acme") == plugin / "acme.yaml"
    assert Shelf().find("github") == SHIPPED / "github.yaml"
    assert "acme" in Shelf().names()
