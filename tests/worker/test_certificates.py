import pytest

from proxyd.core.described import Described
from proxyd.worker import certificates as module
from proxyd.worker.certificates import MOST, Certificates


@pytest.fixture
def lab(monkeypatch):
    class Lab:
        def __init__(self):
            self.told = []
            self.room = True

        def tell(self, message):
            if self.room:
                self.told.append((message.host, message.what.fingerprint))
            return self.room

    lab = Lab()
    monkeypatch.setattr(module, "shown_certificate", lambda stream: stream)
    monkeypatch.setattr(module, "describe", lambda shown: Described(shown.fingerprint(None).hex(), shown.begins(), 2.0))
    lab.certificates = Certificates(lab.tell)
    return lab


class Certificate:
    def __init__(self, number, *, readable=True):
        self.number = number
        self.readable = readable

    def fingerprint(self, algorithm):
        return bytes([self.number % 256, self.number // 256]) * 16

    def begins(self):
        if not self.readable:
            raise ValueError("a month 13")
        return 1.0


def shown(number=1):
    return Certificate(number)


def test_each_certificate_of_a_host_is_told_once(lab):
    for host, number in (("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)):
        lab.certificates.saw(host, shown(number))
    assert lab.told == [("a", "0100" * 16), ("b", "0100" * 16), ("a", "0200" * 16)]


def test_none_is_nothing_to_tell(lab):
    lab.certificates.saw("a", None)
    assert lab.told == []


def test_one_whose_times_cannot_be_read_is_not_told(lab):
    lab.certificates.saw("a", Certificate(1, readable=False))
    assert lab.told == []


def test_without_room_it_is_told_later(lab):
    lab.room = False
    lab.certificates.saw("a", shown())
    lab.room = True
    lab.certificates.saw("a", shown())
    assert len(lab.told) == 1


def test_another_control_is_told_again(lab):
    lab.certificates.saw("a", shown())
    lab.certificates.forget()
    lab.certificates.saw("a", shown())
    assert len(lab.told) == 2


def test_what_is_remembered_is_bounded(lab):
    for number in range(MOST + 1):
        lab.certificates.saw("a", shown(number))
    lab.certificates.saw("a", shown(0))
    assert len(lab.told) == MOST + 2
