"""Sinks in a configuration: the plugin says what it thinks of its options, and where."""

from dataclasses import dataclass

import pytest

from proxyd.core.plain import from_plain, to_plain
from proxyd.core.settings import SinkSettings
from proxyd.sdk import SecretName, Sink
from tests.config.conftest import LISTENERS


@dataclass(frozen=True)
class Options:
    url: str
    key: SecretName | None = None
    every: float = 5.0


class Plugin(Sink):
    options_type = Options

    async def events(self, batch):
        return


HEAD = LISTENERS + "secrets: {key: {env: KEY}}\n"
PLUGIN = f'"{__name__}:Plugin"'


def test_options_pass_through_with_their_line(settings_of):
    settings = settings_of(
        f"{HEAD}telemetry:\n"
        f"  access_log: {{path: a.log}}\n"
        f"  sinks:\n"
        f"    - {{plugin: {PLUGIN}, url: x, key: key, every: 2}}\n"
        f"    - {{plugin: {PLUGIN}, name: other, url: y}}\n"
        f"    - {{plugin: access_log, name: second, path: b.log}}\n"
    )
    plugin = f"{__name__}:Plugin"
    assert settings.sinks == (
        SinkSettings("Plugin", plugin, {"url": "x", "key": "key", "every": 2}, 6),
        SinkSettings("other", plugin, {"url": "y"}, 7),
        SinkSettings("second", "access_log", {"path": "b.log"}, 8),
    )
    assert from_plain(type(settings), to_plain(settings)) == settings


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{}", "4:11: telemetry.sinks[0].plugin: the key is missing: "),
        ("{plugin: 5}", "4:20: telemetry.sinks[0].plugin: a number stands here; expected a plugin's name"),
        ("{plugin: 'a b'}", "4:20: telemetry.sinks[0].plugin: not a plugin; expected the name of an installed one"),
        ("{plugin: acess_log}", "4:20: telemetry.sinks[0].plugin: no sink of this name is installed; "),
        ("{plugin: 'absent:X'}", "4:20: telemetry.sinks[0].plugin: absent:X cannot be loaded: ModuleNotFoundError: "),
        ("{plugin: PLUGIN}", "4:11: telemetry.sinks[0].url: the key is missing"),
        ("{plugin: PLUGIN, url: 5}", "telemetry.sinks[0].url: text is expected here"),
        (
            "{plugin: PLUGIN, url: x, evry: 5}",
            "telemetry.sinks[0].evry: unknown option; there are url, key, every; did",
        ),
        (
            "{plugin: PLUGIN, url: x, key: kay}",
            "telemetry.sinks[0].key: no secret of this name stands under secrets; did",
        ),
        ("{plugin: PLUGIN, url: }", "telemetry.sinks[0].url: nothing stands here"),
        ("{plugin: access_log}", "4:11: telemetry.sinks[0].path: the key is missing"),
        ("{plugin: access_log, name: a b, path: x}", "telemetry.sinks[0].name: not a name"),
    ],
)
def test_a_mistake_is_told_with_its_place(problems_of, entry, problem):
    text = f"{HEAD}telemetry:\n  sinks: [{entry.replace('PLUGIN', PLUGIN)}]\n"
    found = problems_of(text)
    assert any(problem in line for line in found), found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            f"telemetry: {{sinks: [{{plugin: {PLUGIN}, url: x}}, {{plugin: {PLUGIN}, url: y}}]}}\n",
            "another sink is called 'Plugin', on line 3; give this one a name of its own",
        ),
        (
            "telemetry: {access_log: {path: a}, sinks: [{plugin: access_log, path: b}]}\n",
            "another sink is called 'access_log', on line 3; give this one a name of its own",
        ),
    ],
)
def test_names_are_unique(problems_of, text, problem):
    (found,) = problems_of(HEAD + text)
    assert problem in found
