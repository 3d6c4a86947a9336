import pytest

from proxyd.cli.authority import Store, install, root_pem, uninstall
from proxyd.cli.exits import CommandError

PEM = "-----BEGIN CERTIFICATE-----\n"


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return Store(folder, ("sh", "-c", f'echo "updated $1" >>{tmp_path}/log', "sh"), needs_root=False)


def test_install_and_uninstall_update_the_store(store, tmp_path, capsys):
    assert install(PEM, store) == 0
    assert store.path.read_text() == PEM
    assert store.path.stat().st_mode & 0o777 == 0o644
    assert uninstall(store) == 0
    assert not store.path.exists()
    assert (tmp_path / "log").read_text() == "updated \nupdated --fresh\n"
    assert uninstall(store) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_without_root_the_way_is_told(store, monkeypatch, capsys):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    guarded = Store(store.folder, ("update-ca-certificates",))
    assert install(PEM, guarded) == 1
    assert f"sudo tee {guarded.path}" in capsys.readouterr().err
    assert not guarded.path.exists()
    guarded.path.write_text(PEM)
    assert uninstall(guarded) == 1
    assert "sudo rm" in capsys.readouterr().err
    assert guarded.path.exists()


def test_a_system_without_such_a_store_is_told_so(tmp_path):
    with pytest.raises(CommandError, match="does not exist"):
        install(PEM, Store(tmp_path / "absent"))


def test_an_update_that_fails_is_told(store):
    with pytest.raises(CommandError, match="ended with 3: no room"):
        install(PEM, Store(store.folder, ("sh", "-c", "echo no room >&2; exit 3"), needs_root=False))
    with pytest.raises(CommandError, match="not installed"):
        install(PEM, Store(store.folder, ("no-such-command-anywhere",), needs_root=False))


def test_the_root_is_the_running_daemon_s(daemon, tmp_path):
    daemon.answers["ca"] = {"path": "/x", "pem": PEM}
    assert root_pem(daemon.path, tmp_path / "state", explicit=True) == PEM


def test_without_a_daemon_it_is_the_state_folder_s_and_made_once(tmp_path):
    first = root_pem(tmp_path / "absent.sock", tmp_path / "state", explicit=False)
    assert first.startswith(PEM)
    assert root_pem(tmp_path / "absent.sock", tmp_path / "state", explicit=False) == first


def test_a_socket_that_was_named_must_answer(tmp_path):
    with pytest.raises(CommandError, match="no daemon answers"):
        root_pem(tmp_path / "absent.sock", tmp_path / "state", explicit=True)
