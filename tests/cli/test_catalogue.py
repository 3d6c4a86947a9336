import json
import subprocess
import sys

from proxyd.cli.main import main


def test_the_catalogue_is_one_array_and_needs_no_daemon(capsys, tmp_path):
    assert main(["--admin", str(tmp_path / "none.sock"), "services", "--catalogue", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    github = next(one for one in found if one["name"] == "github")
    assert github["category"] == "development"
    assert "api.github.com" in github["hosts"]
    assert "GH_TOKEN" in github["environment"]


def test_the_table_names_every_service(capsys):
    assert main(["services", "--catalogue"]) == 0
    assert "github" in capsys.readouterr().out


def test_all_goes_with_the_catalogue(capsys):
    assert main(["services", "--all"]) == 2
    assert "--catalogue" in capsys.readouterr().err


def test_the_catalogue_imports_nothing_heavy():
    program = (
        "import sys\nfrom proxyd.cli.main import main\nmain(['services', '--catalogue', '--json'])\n"
        "print([name for name in ('trio', 'pydantic', 'httpx', 'asyncio', 'OpenSSL', 'cryptography', 'ssl') "
        "if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
