import subprocess
import sys

import pytest

from proxyd.catalog.extract import MAX_BYTES, ExtractError, main, read_git_credentials, read_netrc

NETRC = "machine a.example login me password s3cret\nmachine b.example\nlogin you\npassword other\n"
GIT = "https://me:p%40ss@git.example\nhttp://plain:no@plain.example\nhttps://x:y@git.example:8443\nnot a url\n"
NPMRC = "; a comment\nregistry=https://npm.example/\n//npm.example/:_authToken = npm_s3cret\n"
PYPIRC = "[acme]\nrepository = https://pypi.example/\nusername = __token__\npassword = pypi-%s3cret\n"
GH = "github.com:\n    user: me\n    oauth_token: gho_s3cret\nghe.example:\n    user: me\n"


@pytest.mark.parametrize(
    ("text", "words", "value"),
    [
        (NETRC, ("netrc", "FILE", "a.example", "password"), "s3cret"),
        (NETRC, ("netrc", "FILE", "b.example", "login"), "you"),
        (GIT, ("git-credentials", "FILE", "git.example", "password"), "p@ss"),
        (GIT, ("git-credentials", "FILE", "git.example:8443", "login"), "x"),
        (NPMRC, ("npmrc", "FILE", "//npm.example/:_authToken"), "npm_s3cret"),
        (PYPIRC, ("ini", "FILE", "acme", "password"), "pypi-%s3cret"),
        (GH, ("gh", "FILE", "github.com"), "gho_s3cret"),
        (GH, ("yaml", "FILE", "github.com", "oauth_token"), "gho_s3cret"),
        ('{"profiles": [{"key": "s3cret"}]}', ("yaml", "FILE", "profiles", "0", "key"), "s3cret"),
    ],
)
def test_one_value_is_printed(tmp_path, capsys, text, words, value):
    file = tmp_path / "file"
    file.write_text(text)
    assert main([str(file) if word == "FILE" else word for word in words]) == 0
    assert capsys.readouterr() == (value, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NETRC, ("netrc", "FILE", "c.example", "password")),
        (NETRC, ("netrc", "FILE", "a.example", "nonsense")),
        (GH, ("yaml", "FILE", "github.com", "oauth_token", "deeper")),
        ("a: [s3cret]", ("yaml", "FILE", "a", "1")),
        ("a: {b: s3cret}", ("yaml", "FILE", "a")),
        ("a: [s3cret", ("yaml", "FILE", "a")),
        ("machine a.example login me passwort s3cret", ("netrc", "FILE", "a.example", "password")),
        (GIT, ("git-credentials", "FILE", "plain.example", "password")),
        (NPMRC, ("npmrc", "FILE", "//other.example/:_authToken")),
        (PYPIRC, ("ini", "FILE", "other", "password")),
        ("s3cret", ("ini", "FILE", "acme", "password")),
        (GH, ("gh", "FILE", "ghe.example")),
        ("{s3cret", ("gh", "FILE", "github.com")),
    ],
)
def test_what_is_not_there_is_an_error_that_shows_nothing(tmp_path, capsys, text, words):
    file = tmp_path / "file"
    file.write_text(text)
    assert main([str(file) if word == "FILE" else word for word in words]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert str(file) in output.err
    assert "s3cret" not in output.err


@pytest.mark.parametrize("words", [[], ["netrc"], ["nonsense", "a", "b", "c"], ["gh", "a", "b", "c"]])
def test_a_wrong_command_line_is_2(words, capsys):
    assert main(words) == 2
    assert "KIND" in capsys.readouterr().err


def test_a_file_without_end_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ExtractError, match="more than"):
        read_netrc(file)


def test_it_runs_as_the_program_that_init_writes(tmp_path):
    file = tmp_path / "netrc"
    file.write_text(NETRC)
    command = [sys.executable, "-P", "-m", "proxyd.catalog.extract", "netrc", str(file), "a.example", "password"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd="/")
    assert done.stdout == "s3cret"


def test_hosts_without_a_password_are_no_credentials(tmp_path):
    file = tmp_path / "credentials"
    file.write_text("https://me@git.example\nhttps://git.example/path\n")
    assert read_git_credentials(file) == {}
