from proxyd.control.reach import reach
from proxyd.control.supervisor import Socket
from proxyd.core.access import ProxyUser
from proxyd.core.snapshot import ListenerMode
from tests.control.fakes import listener, settings

NOTHING = dict.fromkeys(("proxy", "proxy_socket", "gateway_socket", "gateway_url", "gateway_token_file"))
GATEWAY = ListenerMode.GATEWAY


def answer(*listeners):
    bound = {each.name: Socket(each.address, -1) for each in listeners}
    return reach(settings(listeners=listeners), bound, "/run/token")


def test_nothing_is_reached_before_there_is_a_configuration():
    assert reach(None, {}, "/run/token") == NOTHING


def test_the_first_listener_of_each_kind_is_named():
    assert answer(
        listener("g", "127.0.0.1:3129", mode=GATEWAY),
        listener("f", "127.0.0.1:3128"),
        listener("later", "127.0.0.1:1"),
        listener("gu", "unix:/run/g.sock", mode=GATEWAY),
        listener("fu", "unix:/run/f.sock"),
    ) == {
        "proxy": "http://127.0.0.1:3128",
        "proxy_socket": "/run/f.sock",
        "gateway_socket": "/run/g.sock",
        "gateway_url": "http://127.0.0.1:3129",
        "gateway_token_file": "/run/token",
    }


def test_a_listener_that_demands_a_password_is_left_out():
    assert answer(listener("f", users=(ProxyUser("a", "b"),))) == NOTHING


def test_an_open_gateway_has_no_token_file():
    found = answer(listener("g", "[::]:3129", mode=GATEWAY, open=True))
    assert (found["gateway_url"], found["gateway_token_file"]) == ("http://[::1]:3129", None)


def test_a_listener_that_is_not_bound_is_not_reached():
    assert reach(settings(listeners=(listener("a"),)), {}, "") == NOTHING
