import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.filters.mask import Masker, is_text, rarest

SECRET = b"s3cr3t-t0k3n-value"
STARS = b"*" * len(SECRET)


def masked(needles, *pieces):
    masker = Masker(needles)
    return b"".join([masker.feed(piece) for piece in pieces]) + masker.flush(), masker.hits


def model(needles, data):
    """Every byte that some occurrence covers is an asterisk."""
    covered = set()
    hits = 0
    for needle in needles:
        for at in range(len(data) - len(needle) + 1):
            if data[at : at + len(needle)] == needle:
                covered.update(range(at, at + len(needle)))
                hits += 1
    return bytes(ord("*") if i in covered else byte for i, byte in enumerate(data)), hits


def test_every_occurrence_is_masked_at_the_same_length():
    assert masked((SECRET,), b"a " + SECRET + b" b " + SECRET) == (b"a " + STARS + b" b " + STARS, 2)


@pytest.mark.parametrize("cut", range(1, len(SECRET)))
def test_a_secret_cut_anywhere_is_masked(cut):
    assert masked((SECRET,), b"x" + SECRET[:cut], SECRET[cut:] + b"y") == (b"x" + STARS + b"y", 1)


def test_a_secret_that_holds_another_is_masked_whole():
    assert masked((b"token", b"token-longer"), b"<token-longer>") == (b"<************>", 2)


def test_secrets_that_overlap_are_masked_both():
    assert masked((b"abcd", b"cdef"), b"abcdef") == (b"******", 2)
    assert masked((b"abab",), b"ababab") == (b"******", 2)


def test_a_piece_without_a_live_prefix_goes_on_at_once_and_uncopied():
    masker = Masker((SECRET,))
    event = b"data: hello\n\n"
    assert masker.feed(event) is event


def test_only_the_live_prefix_is_held_back():
    masker = Masker((SECRET,))
    assert masker.feed(b"data: " + SECRET[:5]) == b"data: "
    assert masker.feed(b"!") == SECRET[:5] + b"!"
    assert masker.flush() == b""


def test_a_masked_end_is_not_held_back_though_it_could_begin_the_secret_again():
    masker = Masker((b"xyz-secret-xyz",))
    assert masker.feed(b"data: xyz-secret-xyz") == b"data: " + b"*" * 14
    assert masker.feed(b"-secret-xyz\n") == b"*" * 11 + b"\n"
    assert masker.hits == 2


def test_an_incomplete_secret_at_the_end_is_passed_on():
    masker = Masker((SECRET,))
    masker.feed(SECRET[:-1])
    assert masker.flush() == SECRET[:-1]
    assert masker.hits == 0


def test_no_needle_masks_nothing():
    assert masked((), b"abc") == (b"abc", 0)
    assert masked((b"",), b"abc") == (b"abc", 0)


ALPHABET = st.sampled_from([b"a", b"b", b"*"])
WORD = st.lists(ALPHABET, min_size=1, max_size=6).map(b"".join)


@given(st.lists(WORD, min_size=1, max_size=3), st.lists(st.lists(ALPHABET, max_size=8).map(b"".join), max_size=10))
def test_any_chunking_equals_the_whole(needles, pieces):
    needles = tuple(dict.fromkeys(needles))
    assert masked(needles, *pieces) == model(needles, b"".join(pieces))


@given(WORD, st.lists(st.lists(ALPHABET, max_size=8).map(b"".join), max_size=10))
def test_no_more_than_a_live_prefix_is_ever_held_back(needle, pieces):
    masker = Masker((needle,))
    received = b""
    sent = 0
    for piece in pieces:
        received += piece
        sent += len(masker.feed(piece))
        held = len(received) - sent
        longest = next(n for n in range(min(len(needle) - 1, len(received)), -1, -1) if received.endswith(needle[:n]))
        assert held <= longest


def test_headers_are_masked_in_a_copy():
    headers = [(b"x-echo", b"Bearer " + SECRET), (b"date", b"today")]
    assert Masker((SECRET,)).mask_headers(headers) == ([(b"x-echo", b"Bearer " + STARS), (b"date", b"today")], 1)
    assert headers[0][1].endswith(SECRET)


def test_headers_without_a_secret_are_the_same_list():
    headers = [(b"x-echo", b"nothing of interest here")]
    assert Masker((SECRET,)).mask_headers(headers)[0] is headers
    assert Masker(()).mask_headers(headers)[0] is headers


@pytest.mark.parametrize(
    "kind",
    [
        b"text/html; charset=utf-8",
        b"Text/Event-Stream",
        b"application/json",
        b"application/problem+json; charset=utf-8",
        b"application/atom+xml",
        b"application/xml",
        b"application/x-www-form-urlencoded",
        b"application/javascript",
    ],
)
@pytest.mark.parametrize("coding", [[], [(b"content-encoding", b"identity")], [(b"content-encoding", b"gzip")]])
def test_text_is_searched_whatever_its_coding(kind, coding):
    assert is_text([(b"content-type", kind), *coding], 200)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([(b"content-type", b"application/octet-stream")], 200),
        ([(b"content-type", b"image/png")], 200),
        ([(b"content-type", b"text/plain")], 204),
        ([(b"content-type", b"text/plain")], 304),
        ([(b"content-type", b"text/plain")], 101),
    ],
)
def test_anything_else_is_not(headers, status):
    assert not is_text(headers, status)


@pytest.mark.parametrize(
    ("needle", "byte"), [(b"ghp_secret", b"_"), (b"e1Xe", b"X"), (b"\x80ab", b"\x80"), (b"aaa", b"a")]
)
def test_the_rarest_byte_of_a_needle(needle, byte):
    assert rarest(needle) == byte
