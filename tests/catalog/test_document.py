from pathlib import Path

import pytest

from proxyd.catalog.document import document
from proxyd.catalog.found import Findings, Proposal, Remark, Source
from proxyd.catalog.known import KNOWN
from proxyd.catalog.variables import search
from proxyd.config.load import load_text


def settings_of(findings):
    return load_text(document(findings), "test", Path("/"), Path("/"), Path("/"))


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_every_known_service_makes_a_file_that_loads(known):
    variables = {name: "x" for field in known.fields for name in field.variables[:1]}
    variables |= dict.fromkeys(known.url_variables[:1], "https://instance.example")
    findings = Findings()
    search(variables, findings)
    settings = settings_of(findings)
    assert [service.name for service in settings.services] == [known.name]
    assert {source.env for source in settings.secrets} == {field.variables[0] for field in known.fields}


def test_all_of_them_together_load():
    findings = Findings()
    variables = {name: "x" for known in KNOWN for field in known.fields for name in field.variables}
    search(variables | {name: f"https://{name.lower().replace('_', '-')}.example" for known in KNOWN
                        for name in known.url_variables}, findings)  # fmt: skip
    assert len(settings_of(findings).services) == len(KNOWN)
    assert findings.remarks == []


def test_without_services_the_file_loads_and_shows_how_one_is_written():
    assert settings_of(Findings()).services == ()
    assert "# services:\n#   tickets:" in document(Findings())


def test_the_example_of_a_service_loads_when_it_is_taken_out_of_its_comment():
    text = document(Findings())
    begin = text.index("# services:")
    end = text.index("\n\n", begin)
    block = "\n".join(line.removeprefix("# ") for line in text[begin:end].splitlines())
    text = text[:begin] + block.replace("or {vault: …}, {file: …}, {command: […]}", "") + text[end:]
    assert [service.name for service in load_text(text, "t", Path("/"), Path("/"), Path("/")).services] == ["tickets"]


def test_commands_and_odd_texts_are_quoted():
    command = ("/a b/python", "-c", 'quote " hash # colon: {brace}')
    proposal = Proposal("x", "here", ("x.example",), "", "{scheme: bearer, secret: x}", (Source("x", command=command),))
    findings = Findings([proposal], [Remark("\x1b[31mred\n", "why")], ["UNKNOWN_TOKEN"])
    assert settings_of(findings).secrets[0].command == command
    assert "\x1b" not in document(findings)
