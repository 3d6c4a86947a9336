from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.query import parameter_names, without_parameters


def test_parameters_go_by_what_a_server_decodes_and_the_rest_stays_byte_for_byte():
    path = b"/a%20b?x=1&api%5Fkey=s&&y=%zz&api_key&api+key=t"
    assert without_parameters(path, {b"api_key"}) == b"/a%20b?x=1&&y=%zz&api+key=t"
    assert without_parameters(b"/a?k=1", {b"k"}) == b"/a"
    assert without_parameters(b"/a", {b"k"}) == b"/a"
    assert parameter_names(path) == {b"x", b"api_key", b"y", b"api key"}


@given(st.binary(max_size=60), st.sets(st.sampled_from([b"a", b"b", b"key"])))
def test_none_of_the_names_is_left(query, names):
    assert not parameter_names(without_parameters(b"/?" + query, names)) & names
