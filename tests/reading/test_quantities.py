import pytest

from proxyd.reading.problems import Mistake
from proxyd.reading.quantities import duration, duration_text, size, size_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("2s", 2.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("2d", 172800.0),
        ("1.5s", 1.5),
        ("2 s", 2.0),
        ("0s", 0),
    ],
)
def test_durations(text, seconds):
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "count"), [(100, 100), ("64KiB", 65536), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("7B", 7)]
)
def test_sizes(value, count):
    assert size(value) == count


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (2, "write 2s"),
        ("2", "write 2s"),
        (1.5, "write 1.5s"),
        ("2sec", "did you mean '2s'?"),
        ("3min", "did you mean '3m'?"),
        ("1H", "did you mean '1h'?"),
        ("2w", "an unknown unit of time"),
        ("soon", "not a duration"),
        ("-1s", "not a duration"),
        ("1h30m", "not a duration"),
        (True, "not a duration"),
        (None, "not a duration"),
        ("٣s", "not a duration"),
    ],
)
def test_a_duration_without_a_known_unit_is_refused_with_advice(value, advice):
    with pytest.raises(Mistake, match="expected a duration") as caught:
        duration(value)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("64KB", "'64KiB'"),
        ("64k", "'64KiB'"),
        ("1mb", "'1MiB'"),
        ("12x", "an unknown unit"),
        (1.5, "not a size"),
        (True, "not"),
    ],
)
def test_a_size_without_a_known_unit_is_refused_with_advice(value, advice):
    with pytest.raises(Mistake, match="expected a size") as caught:
        size(value)
    assert advice in str(caught.value)


@pytest.mark.parametrize("text", ["250ms", "2s", "90s", "5m", "1h", "2d", "0s"])
def test_durations_are_written_as_they_are_read(text):
    assert duration(duration_text(duration(text))) == pytest.approx(duration(text))
    assert text in (duration_text(duration(text)), "90s")


def test_sizes_are_written_in_the_largest_unit_that_fits():
    assert [size_text(count) for count in (0, 240, 60 * 1024, 1 << 20, 3 << 30)] == [
        "0",
        "240",
        "60KiB",
        "1MiB",
        "3GiB",
    ]
