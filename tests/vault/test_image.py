"""The vault's files as bytes: whatever stands there, it is understood or refused in words."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.vault import image
from proxyd.vault.cipher import DataKeys, Scrypt, open_value, seal_value, unwrap, wrap
from proxyd.vault.errors import VaultError
from proxyd.vault.image import ANCHOR_MAGIC, MAGIC, Anchor, Entry, Image, KeyInfo

VAULT = b"v" * 16
KEY = KeyInfo("file", "/state/vault/key", b"k" * 16)
ENTRIES = (Entry("a", 1, 5.0, 9.0, b"x" * 40), Entry("a", 2, 6.0, 0.0, b"y" * 40), Entry("@ca-root", 1, 1.0, 0.0, b"z"))
FILE = Image(VAULT, 7, KEY, b"w" * 92, ENTRIES)


def test_a_file_is_read_as_it_was_written():
    assert image.decode(image.encode(FILE), "x") == FILE
    assert FILE.names == ["a"]
    assert FILE.current("a") == ENTRIES[1]
    assert [entry.version for entry in FILE.pruned(9.0).versions("a")] == [2]


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FILE, id=b"short"),
        replace(FILE, generation=0),
        replace(FILE, generation=image.MAX_VERSION),
        replace(FILE, key=replace(KEY, kind="other")),
        replace(FILE, key=replace(KEY, id=b"")),
        replace(FILE, key=KeyInfo("passphrase", "X", b"k" * 16, b"salt", 2**40, 8, 1)),
        replace(FILE, entries=(*ENTRIES, ENTRIES[0])),
        replace(FILE, entries=(*ENTRIES, Entry("a", 3, 1.0, 0.0, b""))),
        replace(FILE, entries=ENTRIES[:1]),
        replace(FILE, entries=(*ENTRIES, Entry("a b", 1, 1.0, 0.0, b""))),
        replace(FILE, entries=(*ENTRIES, Entry("b", 0, 1.0, 0.0, b""))),
    ],
)
def test_a_file_that_breaks_a_bound_is_damaged(wrong):
    with pytest.raises(VaultError, match="damaged"):
        image.decode(image.encode(wrong), "x")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(data):
    for read in (
        lambda: image.split(data, "x"),
        lambda: image.decode(MAGIC + data, "x"),
        lambda: image.decode_anchor(data, "x"),
        lambda: image.decode_anchor(ANCHOR_MAGIC + data, "x"),
    ):
        with pytest.raises(VaultError):
            read()


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_changed_byte_is_understood_or_refused_in_words(place, byte):
    body = bytearray(image.encode(FILE))
    body[len(MAGIC) + place % (len(body) - len(MAGIC))] = byte
    try:
        assert isinstance(image.decode(bytes(body), "x"), Image)
    except VaultError:
        return


def test_an_anchor_is_read_as_it_was_written():
    anchor = Anchor(VAULT, 7, b"t" * 32)
    body = image.encode_anchor(anchor)
    assert image.decode_anchor(body + b"s" * 32, "x") == (anchor, body, b"s" * 32)
    with pytest.raises(VaultError):
        image.decode_anchor(image.encode_anchor(replace(anchor, generation=-1)) + b"s" * 32, "x")


@given(st.binary(max_size=100), st.text(max_size=20), st.integers(1, 2**53 - 1))
def test_a_value_opens_under_its_own_name_version_and_vault_only(value, name, version):
    keys = DataKeys.fresh()
    sealed = seal_value(keys, VAULT, name, version, value)
    assert open_value(keys, VAULT, name, version, sealed) == value
    for vault, called, number in ((b"o" * 16, name, version), (VAULT, name + "x", version), (VAULT, name, version + 1)):
        with pytest.raises(ValueError, match="sealed with another key or is damaged"):
            open_value(keys, vault, called, number, sealed)
    for cut in (b"", sealed[:11], sealed[:-1]):
        with pytest.raises(ValueError, match="sealed with another key or is damaged"):
            open_value(keys, VAULT, name, version, cut)


def test_data_keys_open_with_their_key_only():
    keys, material = DataKeys.fresh(), os.urandom(32)
    wrapped = wrap(keys, material, VAULT)
    assert unwrap(wrapped, material, VAULT) == keys
    for key, vault in ((os.urandom(32), VAULT), (material, b"o" * 16)):
        with pytest.raises(ValueError, match="another key"):
            unwrap(wrapped, key, vault)


def test_a_passphrase_makes_the_same_key_with_the_same_salt_only():
    work = Scrypt(2**4, 8, 1)
    assert work.derive(b"correct horse", b"salt") == work.derive(b"correct horse", b"salt")
    assert work.derive(b"correct horse", b"salt") != work.derive(b"correct horse", b"pepper")
