import pytest

from proxyd.reading import names
from proxyd.reading.problems import Mistake


@pytest.mark.parametrize("text", ["tickets/token", "a", "A.b-c_d/1", "x" * 128])
def test_names(text):
    assert names.name(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a b", "é", "x" * 129, "a\n", "*", 5])
def test_bad_names(text):
    with pytest.raises(Mistake):
        names.name(text)


def test_header_names_are_tokens_in_lower_case():
    assert names.header_name("X-Api-Key") == "x-api-key"
    for text in ("X-Key:", "a b", "", "é", "a\r\nb"):
        with pytest.raises(Mistake, match="not a header name"):
            names.header_name(text)


@pytest.mark.parametrize(
    "text", ["Host", "content-length", "Transfer-Encoding", "Connection", "TE", "Upgrade", "Proxy-Authorization", "Via"]
)
def test_a_header_that_frames_the_message_carries_no_credential(text):
    with pytest.raises(Mistake, match="cannot carry a credential"):
        names.header_name(text)


def test_methods_are_exact():
    assert names.method("LIST") == "LIST"
    assert names.method("m-search") == "m-search"
    with pytest.raises(Mistake, match="did you mean 'GET'"):
        names.method("get")
    with pytest.raises(Mistake, match="not a method"):
        names.method("GET POST")


def test_a_user_name_has_no_colon():
    assert names.user_name("ci") == "ci"
    for text in ("a:b", "", "a\nb", "é"):
        with pytest.raises(Mistake):
            names.user_name(text)


def test_variables_are_named_without_a_dollar():
    assert names.environment_name("API_TOKEN") == "API_TOKEN"
    with pytest.raises(Mistake, match="without"):
        names.environment_name("$API_TOKEN")


def test_text_for_headers_is_printable_ascii():
    assert names.plain_text("Token ") == "Token "
    for text in ("a\r\nb", "é", "x" * 5000, None):
        with pytest.raises(Mistake):
            names.plain_text(text)


def test_paths_and_arguments_hold_no_nul():
    assert names.path_text("a/b") == "a/b"
    assert names.argument("") == ""
    for read in (names.path_text, names.argument):
        with pytest.raises(Mistake):
            read("a\0b")
