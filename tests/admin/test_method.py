import pytest

from proxyd.admin.method import Kind, Method, Param
from proxyd.admin.role import Role
from proxyd.admin.session import Session
from proxyd.core.refusal import Refusal
from tests.admin.fakes import FakeService


async def echo(session, **values):
    return values


SAMPLE = Method(
    "sample", "help", "a map", echo,
    (
        Param("name", Kind.TEXT, "a name", required=True, least=1, most=5),
        Param("level", Kind.TEXT, "a level", choices=("low", "high"), role=Role.FULL),
        Param("count", Kind.WHOLE, "a count", least=1, most=10),
        Param("share", Kind.NUMBER, "a share"),
        Param("exit", Kind.FLAG, "whether"),
        Param("kinds", Kind.TEXTS, "kinds", choices=("a", "b")),
        Param("value", Kind.BYTES, "a value"),
    ),
)  # fmt: skip


def test_values_come_in_order_or_by_name_and_nil_is_left_out():
    by_name = SAMPLE.read([{"name": "x", "exit": False, "share": None, "kinds": ["b"]}])
    assert by_name == {"name": "x", "exit": False, "kinds": ["b"]}
    assert SAMPLE.read(["x", None, 3]) == {"name": "x", "count": 3}


def test_a_value_may_be_bytes_or_text():
    assert SAMPLE.read([{"name": "x", "value": "é"}])["value"] == "é".encode()
    assert SAMPLE.read([{"name": "x", "value": b"\xff"}])["value"] == b"\xff"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([], "sample: name is missing: a name"),
        ([None], "sample: name is missing: a name"),
        ([{"nane": "x"}], "there is no parameter 'nane'; it takes name, level"),
        (["x"] * 8, "sample takes name, level, count, share, exit, kinds, value; got 8 values"),
        ([""], "name: expected 1 to 5 characters, got 0"),
        (["toolong"], "name: expected 1 to 5 characters, got 7"),
        ([7], "name: expected a text, got a whole number"),
        (["x", "hihg"], "level: expected low or high, got 'hihg'"),
        (["x", None, True], "count: expected a whole number, got true or false"),
        (["x", None, 1.0], "count: expected a whole number, got a number"),
        (["x", None, 0], "count: expected 1 to 10, got 0"),
        (["x", None, 11], "count: expected 1 to 10, got 11"),
        (["x", None, None, float("nan")], "share: expected a number, got a number"),
        (["x", None, None, -1], "share: expected 0 or more, got -1"),
        (["x", None, None, "1"], "share: expected a number, got text"),
        ([{"name": "x", "exit": 1}], "exit: expected true or false, got a whole number"),
        ([{"name": "x", "kinds": "a"}], "kinds: expected a list of 64 texts at most, got text"),
        ([{"name": "x", "kinds": ["a", "c"]}], "kinds: expected a or b, got 'c'"),
        ([{"name": "x", "value": 3}], "value: expected bytes or text, got a whole number"),
        ([{"name": "x", "value": "s3cret" * 20_000}], "value: longer than 65536 bytes"),
    ],
)
def test_what_is_wrong_is_told(params, message):
    with pytest.raises(Refusal) as caught:
        SAMPLE.read(params)
    assert caught.value.code == "invalid_params"
    assert caught.value.message.startswith(message)
    assert "s3cret" not in caught.value.message


def test_the_nearest_name_and_word_are_told():
    for params, nearest in (([{"nane": "x"}], "name"), (["x", "hihg"], "high")):
        with pytest.raises(Refusal) as caught:
            SAMPLE.read(params)
        assert caught.value.nearest == nearest


async def test_a_reader_calls_what_reads_and_gives_what_a_reader_may_give():
    reader = Session(FakeService(), Role.READER, 1001)
    assert await SAMPLE(reader, ["x"]) == {"name": "x"}
    with pytest.raises(Refusal, match=r"sample with level needs the full role; uid 1001 is a reader"):
        await SAMPLE(reader, ["x", "low"])
    full = Method("change", "help", "a map", echo, role=Role.FULL)
    with pytest.raises(Refusal, match="change needs the full role") as caught:
        await full(reader, [])
    assert caught.value.code == "forbidden"
    assert await full(Session(FakeService()), []) == {}
