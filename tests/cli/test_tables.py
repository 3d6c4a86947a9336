import pytest

from proxyd.cli.tables import cell, printable, render


def test_a_map_is_lines_and_lists_in_it_are_tables():
    text = render(
        {
            "version": "0.1.0",
            "uptime_seconds": 3725,
            "ready": True,
            "problems": [],
            "listeners": [{"name": "apps", "address": "127.0.0.1:3128"}, {"name": "b", "address": "[::1]:1"}],
        }
    )
    assert text.splitlines() == [
        "version   0.1.0",
        "uptime    1h 2m",
        "ready     yes",
        "problems  -",
        "",
        "listeners:",
        "  NAME  ADDRESS",
        "  apps  127.0.0.1:3128",
        "  b     [::1]:1",
    ]


def test_numbers_stand_to_the_right_and_absent_values_are_dashes():
    text = render([{"host": "a", "idle": 12}, {"host": "bcd", "idle": 3, "why": None}])
    assert text.splitlines() == ["HOST  IDLE  WHY", "a       12  -", "bcd      3  -"]


def test_an_empty_list_has_words():
    assert render([], "no pools") == "no pools\n"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("x", None, "-"),
        ("x", "", "-"),
        ("x", False, "no"),
        ("x", 1234567, "1234567"),
        ("x", 1.5, "1.5"),
        ("rss_bytes", 512, "512 B"),
        ("rss_bytes", 3 * 1024 * 1024, "3.0 MiB"),
        ("up_seconds", 0.25, "0.25s"),
        ("up_seconds", 90061, "1d 1h"),
        ("hosts", ["a", "b"], "a, b"),
        ("x", {"a": 1, "b": None}, "a=1 b=-"),
        ("x", [{"name": "tickets/token", "state": "ok"}], "tickets/token (ok)"),
        ("x", b"\xff", "\\xff"),
    ],
)
def test_cells(name, value, text):
    assert cell(name, value) == text


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\r", "\x7f", "\u202e", "\u2028", "\x00", "\ud800"])
def test_nothing_that_drives_a_terminal_is_printed(text):
    assert printable(text).isprintable()
    for shown in (
        render({"host": text}),
        render([{"host": text}]),
        render({text: 1}),
        render([{text: 1}]),
        render(text),
    ):
        assert all(line.isprintable() for line in shown.split("\n"))
        assert shown.count("\n") <= 2


def test_letters_of_any_script_are_kept():
    assert printable("héllo 日本") == "héllo 日本"


def test_a_large_map_and_several_sentences_are_sections():
    problems = ["a worker is late", "the CA ends soon"]
    text = render({"limits": {f"n{n}": n for n in range(6)}, "few": {"a": 1}, "problems": problems, "one": ["a b"]})
    assert text.splitlines() == [
        "few  a=1", "one  a b",
        "", "limits:", *(f"  n{n}  {n}" for n in range(6)),
        "", "problems:", "  a worker is late", "  the CA ends soon",
    ]  # fmt: skip
