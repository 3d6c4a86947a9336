from pathlib import Path

import pytest

from proxyd.catalog.document import document
from proxyd.catalog.found import Findings, Proposal, Remark, Source
from proxyd.catalog.shelf import Shelf
from proxyd.catalog.summary import plain
from proxyd.catalog.variables import search
from proxyd.config.load import load_text


def settings_of(findings):
    return load_text(document(findings), "test", Path("/"), Path("/"), Path("/"))


def variables_of(definition):
    """The variables of the first scheme of which all are known, and of an instance."""
    fields = definition["fields"]
    for scheme in definition["schemes"]:
        named = {name: fields[name].get("environment", ()) for name in scheme.get("fields", ())}
        if named and all(named.values()) and any(fields[name].get("secret", True) for name in named):
            found = {names[0]: "x" for names in named.values()}
            urls = (definition.get("environment") or {}).get("urls", [])
            return found | dict.fromkeys(urls[:1], f"https://{definition['name']}.example")
    return {}


SHELF = Shelf()
DEFINITIONS = [plain(SHELF.find(name)) for name in SHELF.names()]
FINDABLE = [one for one in DEFINITIONS if variables_of(one)]


@pytest.mark.parametrize("definition", FINDABLE, ids=lambda one: one["name"])
def test_every_service_that_variables_tell_makes_a_file_that_loads(definition):
    findings = Findings()
    variables = variables_of(definition)
    search(variables, findings)
    if not findings.proposals:  # its host is the user's, and no variable names it
        assert definition.get("your_hosts")
        assert "host" in findings.remarks[0].why or "needed as well" in findings.remarks[0].why
        return
    settings = settings_of(findings)
    assert [service.name for service in settings.services] == [definition["name"]]
    assert {source.env for source in settings.secrets} <= variables.keys()


def test_most_services_are_found_by_their_variables():
    findings = Findings()
    for definition in FINDABLE:
        search(variables_of(definition), findings)
    assert len(settings_of(findings).services) > 30


def test_without_services_the_file_loads_and_shows_how_one_is_written():
    assert settings_of(Findings()).services == ()
    assert "# services:\n#   github:" in document(Findings())


def test_the_example_of_a_service_loads_when_it_is_taken_out_of_its_comment():
    text = document(Findings())
    begin = text.index("# services:")
    end = text.index("\n\n", begin)
    block = "\n".join(line.removeprefix("# ") for line in text[begin:end].splitlines())
    text = text[:begin] + block.replace("or {vault: …}, {file: …}, {command: […]}", "") + text[end:]
    assert [service.name for service in load_text(text, "t", Path("/"), Path("/"), Path("/")).services] == [
        "github",
        "tickets",
    ]


def test_commands_and_odd_texts_are_quoted():
    command = ("/a b/python", "-c", 'quote " hash # colon: {brace}')
    proposal = Proposal("x", "here", ("x.example",), "", "{scheme: bearer, secret: x}", (Source("x", command=command),))
    findings = Findings([proposal], [Remark("\x1b[31mred\n", "why")], ["UNKNOWN_TOKEN"])
    assert settings_of(findings).secrets[0].command == command
    assert "\x1b" not in document(findings)
