"""What stands under an idempotency key, step by step."""

from proxyd.core.idempotency import KeyState, Outcome
from proxyd.store.claims import Claimant, Record, ask, decode, settle
from proxyd.store.protocol import MAX_VALUE, Change

WHO = Claimant(b"c" * 16, "host/1", b"f" * 32, 600.0)
OTHER = WHO._replace(claim=b"d" * 16, owner="host/2")
DAY = 86400.0
NOW = 1_700_000_000.0


def alive(owner: str) -> bool:
    return True


def dead(owner: str) -> bool:
    return False


def taken() -> bytes:
    change, (state, _) = ask(b"", NOW, WHO, DAY, alive)
    assert state is KeyState.YOURS
    assert change.value
    return change.value


def settled(outcome: Outcome, body: bytes = b"ok", value: bytes | None = None) -> Change:
    change, is_taken = settle(value or taken(), NOW + 1, WHO, outcome, DAY, (201, [(b"a", b"b")], body))
    assert is_taken
    return change


def asked(value: bytes | None, who: Claimant = OTHER, now: float = NOW + 2) -> tuple[KeyState, Record | None]:
    change, answer = ask(value or b"", now, who, DAY, alive)
    assert change.value is None, "a question about a key that was used changes nothing"
    return answer


def test_a_key_is_one_askers() -> None:
    value = taken()
    assert asked(value)[0] is KeyState.RUNNING
    assert asked(value, WHO)[0] is KeyState.YOURS, "whoever has it may ask again"


def test_an_answer_is_found_again() -> None:
    change = settled(Outcome.ANSWERED)
    assert change.lifetime == DAY - 1, "the window counts from the first request"
    state, record = asked(change.value)
    assert state is KeyState.ANSWERED
    assert record is not None
    assert (record.status, record.headers, record.body) == (201, [(b"a", b"b")], b"ok")


def test_another_request_under_the_key_is_told_so_whatever_became_of_the_first() -> None:
    other = OTHER._replace(fingerprint=b"g" * 32)
    for value in (taken(), *(settled(one).value for one in (Outcome.ANSWERED, Outcome.DONE, Outcome.UNKNOWN))):
        assert asked(value, other)[0] is KeyState.DIFFERS


def test_a_claim_whose_owner_is_gone_or_late_has_an_unknown_outcome_for_ever() -> None:
    assert ask(taken(), NOW + 2, OTHER, DAY, dead)[1][0] is KeyState.UNKNOWN
    assert ask(taken(), NOW + 601, OTHER, DAY, alive)[1][0] is KeyState.UNKNOWN
    assert asked(settled(Outcome.UNKNOWN).value)[0] is KeyState.UNKNOWN


def test_an_outcome_that_was_unknown_may_still_be_told_by_its_owner() -> None:
    change = settled(Outcome.ANSWERED, value=settled(Outcome.UNKNOWN).value)
    assert asked(change.value)[0] is KeyState.ANSWERED


def test_a_key_that_was_freed_is_as_good_as_new() -> None:
    change = settled(Outcome.FREE)
    assert change.value == b""
    assert ask(change.value, NOW + 2, OTHER, DAY, alive)[1][0] is KeyState.YOURS


def test_only_the_claims_owner_says_what_came_of_it_and_an_answer_stands() -> None:
    answer = (200, [], b"")
    assert settle(taken(), NOW, OTHER, Outcome.FREE, DAY, answer) == (Change(None, None), False)
    assert settle(b"", NOW, WHO, Outcome.FREE, DAY, answer) == (Change(None, None), False)
    kept = settled(Outcome.ANSWERED).value
    assert kept is not None
    assert settle(kept, NOW, WHO, Outcome.FREE, DAY, answer) == (Change(None, None), False)
    assert settle(kept, NOW, WHO, Outcome.ANSWERED, DAY, answer) == (Change(None, None), True)


def test_an_outcome_is_written_down_though_the_store_has_forgotten_the_claim() -> None:
    change, is_taken = settle(b"", NOW, WHO, Outcome.ANSWERED, DAY, (200, [], b"ok"))
    assert is_taken
    assert asked(change.value)[0] is KeyState.ANSWERED
    assert asked(change.value, OTHER._replace(fingerprint=b"g" * 32))[0] is KeyState.DIFFERS


def test_an_answer_that_the_store_does_not_take_is_not_kept() -> None:
    state, record = asked(settled(Outcome.ANSWERED, b"x" * MAX_VALUE).value)
    assert state is KeyState.DONE
    assert record is not None
    assert record.status == 201


def test_a_value_that_makes_no_sense_forbids_the_request() -> None:
    for value in (b"x", b"\xc1", b"\x90", b"\x99" + b"\xc0" * 9):
        assert decode(value) is None
        assert asked(value)[0] is KeyState.UNKNOWN
