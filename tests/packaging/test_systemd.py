"""The units: systemd finds no fault, they are as hardened as they say, and they agree with the program."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from proxyd.cli.main import build_parser
from proxyd.config.load import load_text
from proxyd.supervisor.current import DEFAULT_DRAIN
from proxyd.supervisor.options import Options
from tests.lab.tools import require_tool

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "packaging" / "systemd"
EXPOSURE = 15
"""systemd's score in tenths, 0 to 100: the least that a network service with a user of its own gets is about 12."""
CONFIGURATION = ROOT / "packaging" / "debian" / "proxyd.yaml"


class Unit(configparser.RawConfigParser):
    """A unit file; a key that stands twice keeps its last value."""

    def __init__(self, name):
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str
        self.read_string((UNITS / name).read_text())


def analyze(*words):
    done = subprocess.run(
        [require_tool("systemd-analyze"), *words], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_systemd_finds_no_fault_with_the_units(tmp_path):
    copies = []
    for unit in sorted(UNITS.glob("proxyd*")):
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace("/usr/bin/proxyd", sys.executable))  # it must be executable
        copies.append(str(copy))
    assert analyze("verify", "--man=no", *copies) == (0, "")


def test_the_service_is_as_hardened_as_its_score(tmp_path):
    code, said = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(UNITS / "proxyd.service"))
    assert code == 0, said


@pytest.mark.parametrize("key", ["ExecStart", "ExecReload"])
def test_the_service_s_commands_are_the_program_s(key):
    program, *words = Unit("proxyd.service")["Service"][key].split()
    assert program == "/usr/bin/proxyd"
    assert build_parser().parse_args(words).function


def test_systemd_waits_longer_than_a_drain_takes():
    control_stop = Options(control_command=[], worker_main=lambda *_: 0, preload=lambda: None).control_stop
    assert float(Unit("proxyd.service")["Service"]["TimeoutStopSec"]) > DEFAULT_DRAIN + control_stop


def test_the_socket_is_the_listener_of_the_configuration_that_is_installed():
    socket = Unit("proxyd.socket")["Socket"]
    config = load_text(CONFIGURATION.read_text(), "proxyd.yaml", ROOT, Path("/var/lib/proxyd"), Path("/run/proxyd"))
    assert [(one.name, one.address) for one in config.listeners] == [
        (socket["FileDescriptorName"], socket["ListenStream"])
    ]


def test_the_group_of_the_gateway_s_socket_is_made():
    group = Unit("proxyd-gateway.socket")["Socket"]["SocketGroup"]
    assert f"g {group} -" in (UNITS / "sysusers.conf").read_text().splitlines()
