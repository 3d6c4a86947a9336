from proxyd.cli.main import main

TEXT = """\
listeners: [{name: a, mode: forward, address: '127.0.0.1:0'}]
services:
  github: {secret: {private_key: app/key}, options: {app_id: 1, installation_id: 2}}
secrets:
  app/key: {SOURCE}
"""


def checked(tmp_path, capsys, source):
    config = tmp_path / "proxyd.yaml"
    config.write_text(TEXT.replace("SOURCE", source))
    assert main(["check", "-c", str(config)]) == 0
    return capsys.readouterr().err.replace(str(config), "proxyd.yaml")


def test_a_malformed_key_at_hand_is_told_without_its_value(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("APP_KEY", "hunter2")
    (tmp_path / "key.pem").write_text("hunter2\n")
    for source in ("env: APP_KEY", "file: key.pem"):
        said = checked(tmp_path, capsys, source)
        assert said.startswith("warning: proxyd.yaml:5: secret app/key is no Private key of the App: no PEM block")
        assert "hunter2" not in said


def test_a_value_that_is_not_at_hand_is_not_looked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("APP_KEY", raising=False)
    assert checked(tmp_path, capsys, "env: APP_KEY") == ""
    assert checked(tmp_path, capsys, "file: missing.pem") == ""


def test_what_a_service_lacks_is_an_error(tmp_path, capsys):
    config = tmp_path / "proxyd.yaml"
    config.write_text(TEXT.replace("app_id: 1, ", "").replace("SOURCE", "env: APP_KEY"))
    assert main(["check", "-c", str(config)]) == 2
    assert "the field app_id is missing: App ID (https://github.com/settings/apps, General)" in capsys.readouterr().err
