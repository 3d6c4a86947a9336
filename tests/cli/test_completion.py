import shutil
import subprocess

import pytest

from proxyd.cli.completion import script
from proxyd.cli.main import build_parser, main

BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def bash_script():
    return script("bash", build_parser())


def complete(bash_script, folder, *words):
    """Return what bash offers for the last of ``words``."""
    array = " ".join(f"'{word}'" for word in ("proxyd", *words))
    program = (
        f'{bash_script}\nCOMP_WORDS=({array}) COMP_CWORD={len(words)}\n_proxyd\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run([BASH, "--norc", "-c", program], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sta"], ["status"]),
        (["ca", "uni"], ["uninstall"]),
        (["log-level", "d"], ["debug"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["exchanges", "--se"], ["--service"]),
        (["exchanges", "--service", "status", "--js"], ["--json"]),
        (["exchanges", "--host", ""], []),
        (["run", "-c", ""], ["folder", "p.yaml"]),
        (["--admin", "p"], ["p.yaml"]),
        (["run", "--state-dir", ""], ["folder"]),
        (["--admin", "x", "ca", "ex"], ["export"]),
        (["exec", "--", "p.y"], ["p.yaml"]),
    ],
)
def test_bash_offers_commands_options_words_and_files(bash_script, tmp_path, words, offered):
    (tmp_path / "p.yaml").touch()
    (tmp_path / "folder").mkdir()
    assert sorted(complete(bash_script, tmp_path, *words)) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_in_every_script(shell, capsys):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for word in ("status", "log-level", "uninstall", "--state-dir" if shell != "fish" else "state-dir", "errors"):
        assert word in text


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_are_accepted_by_their_shell(shell):
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell}")
    subprocess.run([path, "-n"], input=script(shell, build_parser()), text=True, check=True)


def test_quotes_in_helps_do_not_end_a_word():
    for line in script("fish", build_parser()).splitlines():
        assert line.replace("'\\''", "").count("'") % 2 == 0


def test_another_shell_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["completion", "tcsh"])
    assert caught.value.code == 2
