import pytest

from proxyd.net.tls import Shown
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
                self.told.append((message.host, message.fingerprint))
            return self.room

    lab = Lab()
    monkeypatch.setattr(module, "shown_certificate", lambda stream: stream)
    lab.certificates = Certificates(lab.tell)
    return lab


def shown(number=1):
    return Shown(bytes([number % 256, number // 256]) * 16, 1.0, 2.0)


def test_each_certificate_of_a_host_is_told_once(lab):
    for host, number in (("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)):
        lab.certificates.saw(host, shown(number))
    assert lab.told == [("a", "0100" * 16), ("b", "0100" * 16), ("a", "0200" * 16)]


def test_none_is_nothing_to_tell(lab):
    lab.certificates.saw("a", None)
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
