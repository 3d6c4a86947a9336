"""Every method of the table, whatever it is called with."""

import json

import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.admin.role import Role
from proxyd.admin.session import Session
from proxyd.admin.table import METHODS, PROTOCOL
from proxyd.core.refusal import Refusal
from tests.admin.fakes import FakeService

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**63) | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(sorted({param.name for method in METHODS.values() for param in method.params}))
PARAMS = st.lists(VALUES, max_size=4) | st.dictionaries(NAMES, VALUES, max_size=4).map(lambda named: [named])


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=30, deadline=None)
@given(params=PARAMS)
def test_parameters_are_read_or_refused_in_words(name, params):
    method = METHODS[name]
    values, refusal = read(method, params)
    if refusal is None:
        assert set(values) <= {param.name for param in method.params}
        assert None not in values.values()
    else:
        assert refusal.code == "invalid_params"
        assert len(refusal.message) < 1000
        msgpack.packb(refusal.message)


def read(method, params):
    try:
        return method.read(params), None
    except Refusal as refusal:
        return {}, refusal


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_does_and_returns(name):
    method = METHODS[name]
    described = method.describe()
    assert described["name"] == name
    assert described["help"]
    assert method.result
    assert not method.result.endswith(".")
    json.dumps(described)
    required = [param.required for param in method.params]
    assert required == sorted(required, reverse=True), "values come by their places: those that must be given first"


async def test_a_number_of_the_protocol_is_told():
    session = Session(FakeService(), Role.READER)
    assert (await METHODS["version"](session, []))["protocol"] == PROTOCOL
    await trio.lowlevel.checkpoint()
