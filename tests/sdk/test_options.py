from dataclasses import dataclass, field
from typing import Literal

import pytest

from proxyd.sdk.options import Duration, OptionsError, SecretName, Size, read_options, secret_names, secret_places


@dataclass(frozen=True)
class Place:
    host: str
    port: int = 443


@dataclass(frozen=True)
class Options:
    url: str
    key: SecretName
    place: Place
    level: Literal["low", "high"] = "low"
    every: float = 5.0
    retries: int = 3
    secure: bool = True
    tags: tuple[str, ...] = ()
    others: tuple[Place, ...] = ()
    headers: dict[str, SecretName] = field(default_factory=dict)
    note: str | None = None
    wait: Duration = Duration(1)
    room: Size = Size(1)

    def __post_init__(self):
        if self.url == "bad":
            raise ValueError("url: a URL is expected")


GOOD = {"url": "x", "key": "k", "place": {"host": "h"}}


def test_plain_values_become_options():
    options = read_options(
        Options,
        GOOD
        | {
            "level": "high", "every": 2, "tags": ["a", "b"], "others": [{"host": "o", "port": 1}],
            "headers": {"x": "secret"}, "note": "n", "wait": "250ms", "room": "64KiB",
        },
    )  # fmt: skip
    headers = {"x": SecretName("secret")}
    assert options == Options(
        "x", SecretName("k"), Place("h"), "high", 2.0, 3, True, ("a", "b"), (Place("o", 1),), headers, "n",
        Duration(0.25), Size(65536),
    )  # fmt: skip
    assert type(options.every) is float
    assert secret_names(options) == {"k", "secret"}
    assert dict(secret_places(options)) == {("key",): "k", ("headers", "x"): "secret"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": 5}, "url: text is expected here"),
        ({"url": "bad"}, "url: a URL is expected"),
        ({"key": ""}, "key: the name of a secret is expected here"),
        ({"key": ["a"]}, "key: the name of a secret is expected here"),
        ({"place": "h"}, "place: a map is expected here"),
        ({"place": {"host": "h", "port": "1"}}, "place.port: a whole number is expected here"),
        ({"place": {}}, "place.host: the key is missing"),
        ({"level": "lo"}, "level: not a known word; expected one of low, high"),
        ({"level": ["low"]}, "level: not a known word; expected one of low, high"),
        ({"every": "5s"}, "every: a number is expected here"),
        ({"retries": True}, "retries: a whole number is expected here"),
        ({"secure": 1}, "secure: true or false is expected here"),
        ({"tags": "a"}, "tags: a list is expected here"),
        ({"tags": ["a", 1]}, "tags[1]: text is expected here"),
        ({"others": [{"host": 1}]}, "others[0].host: text is expected here"),
        ({"headers": []}, "headers: a map is expected here"),
        ({"wait": 5}, "wait: a duration needs its unit: write 5s; expected a duration such as 250ms, 2s"),
        ({"wait": "5sec"}, "wait: an unknown unit of time; expected a duration such as"),
        ({"room": "5KB"}, "room: an unknown unit of size; expected a size such as 64KiB"),
        ({"plcae": 1}, "plcae: unknown option; there are url, key"),
    ],
)
def test_a_mistake_is_told_with_its_place(changes, message):
    with pytest.raises(OptionsError) as caught:
        read_options(Options, GOOD | changes)
    assert str(caught.value).startswith(message)


def test_every_mistake_is_told_at_once():
    with pytest.raises(OptionsError) as caught:
        read_options(Options, {"place": {"port": "x"}, "every": None, "colour": 1})
    assert [mistake.trail for mistake in caught.value.mistakes] == [
        ("colour",), ("url",), ("key",), ("place", "host"), ("place", "port"), ("every",),
    ]  # fmt: skip


def test_a_value_is_never_quoted():
    with pytest.raises(OptionsError) as caught:
        read_options(Options, GOOD | {"retries": "hunter2", "level": "hunter2"})
    assert "hunter2" not in str(caught.value)


@dataclass(frozen=True)
class Unreadable:
    when: complex = 0j


def test_options_of_a_type_that_is_not_supported_are_a_mistake_and_no_crash():
    with pytest.raises(OptionsError, match="the plugin's options have a type that cannot be read"):
        read_options(Unreadable, {"when": 1})
