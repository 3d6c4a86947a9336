import socket

from bench.origin import KEY_HEADER
from bench.scenarios.exchange import switch, upgrade_bytes
from bench.switch import SwitchOrigin


def test_the_origin_switches_for_the_credential_alone_and_echoes(target):
    request = upgrade_bytes(target)
    with SwitchOrigin(target) as origin:
        with socket.create_connection(("127.0.0.1", origin.port), timeout=10) as known:
            assert switch(known, request[:-2] + f"{KEY_HEADER}: {target.key}\r\n\r\n".encode()) == 101
        with socket.create_connection(("127.0.0.1", origin.port), timeout=10) as stranger:
            assert switch(stranger, request) == 401
