import pytest

from proxyd.cli.commands import hold
from proxyd.cli.main import main


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (["breaker", "open", "maps"], ("breaker", "maps", "open", None)),
        (["breaker", "close", "maps", "--endpoint", "h:1"], ("breaker", "maps", "closed", "h:1")),
        (["breaker", "auto", "maps"], ("breaker", "maps", "auto", None)),
        (["endpoint", "down", "maps", "h:1"], ("endpoint", "maps", "down", "h:1")),
        (["endpoint", "up", "maps", "h:1"], ("endpoint", "maps", "up", "h:1")),
    ],
)
def test_the_words_say_what_is_held(words, called, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(hold, "call", lambda arguments, *given: seen.append(given) or {"ok": True, "held": ["all"]})
    assert main(words) == 0
    assert seen == [called]
    assert capsys.readouterr().out == "all\n"


def test_nothing_held_is_said(monkeypatch, capsys):
    monkeypatch.setattr(hold, "call", lambda *_: {"ok": True, "held": []})
    assert main(["breaker", "auto", "maps"]) == 0
    assert capsys.readouterr().out == "nothing is held\n"
    assert main(["breaker", "auto", "maps", "--json"]) == 0
    assert '"held": []' in capsys.readouterr().out
