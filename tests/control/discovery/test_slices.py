import pytest

from proxyd.control.discovery import slices
from proxyd.control.discovery.slices import SliceSet
from proxyd.control.discovery.watch import DiscoveryError
from tests.control.discovery.api import slice_of


def found(*items, port="https"):
    made = SliceSet(port)
    for item in items:
        made.put(item)
    return [(endpoint.host, endpoint.port) for endpoint in made.endpoints()]


def test_ready_endpoints_are_used_and_an_unknown_state_counts_as_ready():
    item = slice_of("a", 1, ("10.0.0.1", {"ready": False}), ("10.0.0.2", {}), ("10.0.0.3", {"ready": None}))
    assert found(item) == [("10.0.0.2", 8443), ("10.0.0.3", 8443)]
    del item["endpoints"][1]["conditions"]
    assert found(item) == [("10.0.0.2", 8443), ("10.0.0.3", 8443)]


def test_endpoints_that_terminate_and_still_serve_are_used_when_none_is_ready():
    leaving = ("10.0.0.1", {"ready": False, "serving": True, "terminating": True})
    gone = ("10.0.0.2", {"ready": False, "serving": False, "terminating": True})
    assert found(slice_of("a", 1, leaving, gone)) == [("10.0.0.1", 8443)]
    assert found(slice_of("a", 1, leaving, gone), slice_of("b", 2, "10.0.0.3")) == [("10.0.0.3", 8443)]


def test_an_endpoint_in_two_slices_counts_once():
    assert found(slice_of("a", 1, "10.0.0.1"), slice_of("b", 2, "10.0.0.1")) == [("10.0.0.1", 8443)]


@pytest.mark.parametrize(
    ("port", "expected"), [("https", [8443]), ("metrics", [9090]), ("9090", [9090]), ("dns", []), ("1", [])]
)
def test_a_port_is_chosen_by_name_or_number_and_is_tcp(port, expected):
    ports = (
        {"name": "https", "port": 8443},
        {"name": "metrics", "port": 9090, "protocol": "TCP"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "1", "port": 99999},
        None,
    )
    assert [number for _, number in found(slice_of("a", 1, "10.0.0.1", ports=ports), port=port)] == expected


def test_a_slice_that_restricts_no_port_takes_the_wanted_number():
    assert found(slice_of("a", 1, "10.0.0.1", ports=({"name": ""},)), port="8443") == [("10.0.0.1", 8443)]


def test_an_address_that_is_none_is_left_out():
    assert found(slice_of("a", 1, "a b", "2001:DB8::1", "", 17, "POD.example")) == [
        ("2001:db8::1", 8443),
        ("pod.example", 8443),
    ]


def test_lists_may_be_null():
    assert found({"metadata": {"name": "a"}, "endpoints": None, "ports": None}) == []


@pytest.mark.parametrize("item", [None, {}, {"metadata": {"name": 1}}, {"metadata": {"name": "a"}, "ports": 1}])
def test_what_is_no_slice_is_refused(item):
    with pytest.raises(DiscoveryError, match="makes no sense"):
        SliceSet("https").put(item)


def test_slices_have_a_bound(monkeypatch):
    monkeypatch.setattr(slices, "MAX_SLICES", 1)
    made = SliceSet("https")
    made.put(slice_of("a", 1, "10.0.0.1"))
    made.put(slice_of("a", 2, "10.0.0.1"))
    with pytest.raises(DiscoveryError, match="more than 1 EndpointSlices"):
        made.put(slice_of("b", 1, "10.0.0.1"))
