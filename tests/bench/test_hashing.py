import json
import random

from bench import hashing


def test_the_document_compares_all_schemes_for_all_groups(capsys, monkeypatch):
    monkeypatch.setattr(hashing, "KEYS", 500)
    assert hashing.main() == 0
    document = json.loads(capsys.readouterr().out)
    assert document.keys() == hashing.GROUPS.keys()
    assert all(figures.keys() == hashing.SCHEMES.keys() for figures in document.values())


def test_a_ring_moves_no_key_needlessly_and_a_table_is_more_even(monkeypatch):
    monkeypatch.setattr(hashing, "KEYS", 5000)
    ring, maglev = (
        hashing.measure(hashing.SCHEMES[name], (1,) * 10, random.Random(1))
        for name in ("ring, 100 points", "maglev, 16381 places")
    )
    assert ring["moved_needlessly_leave"] == ring["moved_needlessly_join"] == 0
    assert 0 < maglev["moved_needlessly_leave"] < 0.02
    assert maglev["fullest"] < ring["fullest"]
