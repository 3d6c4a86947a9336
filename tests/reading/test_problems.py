from proxyd.reading.problems import MAX_PROBLEMS, ConfigError, Problem, describe, field_name, nearest, shown


def test_problems_are_printed_in_the_order_of_the_file_each_once():
    late, early = Problem("f", 9, 1, "b", "two"), Problem("f", 2, 3, "a[0].x", "one")
    error = ConfigError([late, early, late])
    assert error.problems == [early, late]
    assert str(error) == "f:2:3: a[0].x: one\nf:9:1: b: two"


def test_a_flood_of_problems_is_counted():
    error = ConfigError(Problem("f", line, 1, "", "x") for line in range(1, MAX_PROBLEMS + 8))
    assert len(error.problems) == MAX_PROBLEMS
    assert str(error).endswith("… and 7 more")


def test_messages_name_what_was_expected_and_the_nearest():
    assert describe("bad", "a map", "x") == "bad; expected a map; did you mean 'x'?"
    assert describe("bad") == "bad"


def test_the_nearest_name_ignores_case_and_dashes():
    assert nearest("Drain-Old", ["drain_old", "drain_timeout"]) == "drain_old"
    assert nearest("zzz", ["drain_old"]) == ""
    assert nearest(5, ["drain_old"]) == ""


def test_fields_are_named_as_people_write_them():
    assert field_name(("access", "rules", 2, "allow")) == "access.rules[2].allow"


def test_names_from_the_file_stay_on_one_printable_line():
    assert shown("a\n\x1b[31mb") == "a��[31mb"
    assert shown("x" * 100) == "x" * 60 + "…"
