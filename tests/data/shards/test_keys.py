"""Keys of samples: what they look like, and when two are one."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clis_core.data.shards.keys import MAX_KEY, SeenKeys, hash_of_content, hash_of_key, key_of, longer_keys

SHA = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("prefix", "name", "key"),
    [
        ("n01440764", "n01440764_10026.JPEG", "n01440764_10026"),
        ("n01440764", "10026.JPEG", "n01440764_10026"),
        ("n01440764", "n014407641.JPEG", "n01440764_n014407641"),  # starts with it by chance
        ("cat", "catalogue.jpg", "cat_catalogue"),
        ("cat", "cat.jpg", "cat"),
        ("cat", "no_extension", "cat_no_extension"),
        ("cat", "../../etc/passwd.jpg", "cat_passwd"),
        ("cat", "C:\\pictures\\a.jpg", "cat_a"),
        ("cat", "a.b.jpg", "cat_a_b-01234567"),
        ("bow_(weapon)", "1.jpg", "bow__weapon__1-01234567"),
        ("cat", "été.jpg", "cat__t_-01234567"),
        ("cat", ".jpg", "cat__jpg-01234567"),
        ("", "7.jpg", "7"),
        ("", "", "-01234567"),
        ("-rf", "a.jpg", "_rf_a-01234567"),
        ("cat", "x" * 200 + ".jpg", "cat_" + "x" * 73 + "-01234567"),
    ],
)
def test_key(prefix: str, name: str, key: str) -> None:
    assert key_of(prefix, name, SHA) == key


@given(st.text(), st.text())
def test_any_name_gives_a_key_that_is_safe(prefix: str, name: str) -> None:
    key = key_of(prefix, name, SHA)
    for longer in longer_keys(key, SHA):
        assert re.fullmatch(r"[A-Za-z0-9_-]+", longer)
        assert len(longer) <= MAX_KEY
    assert len(set(longer_keys(key, SHA))) == 5


def test_different_names_of_which_much_is_replaced_stay_different() -> None:
    first, second = (hashlib.sha256(c).hexdigest() for c in (b"a", b"b"))
    assert key_of("cat", "猫.jpg", first) != key_of("cat", "犬.jpg", second)


def test_seen_keys_against_a_dict() -> None:
    random = np.random.default_rng(0)
    seen, known = SeenKeys(), {}
    keys = random.integers(0, 2**64, 30_000, np.uint64)
    keys[20_000:] = keys[:10_000]
    for key, content in zip(keys.tolist(), random.integers(0, 2**64, len(keys), np.uint64).tolist(), strict=True):
        assert seen.content(key) == known.get(key)
        if key not in known:
            seen.add(key, content)
            known[key] = content
    again = SeenKeys()
    again.fill(np.array(list(known), np.uint64), np.array(list(known.values()), np.uint64))
    for key, content in known.items():
        assert seen.content(key) == again.content(key) == content
        assert again.content(key ^ (1 << 40)) is None


def test_hashes() -> None:
    assert hash_of_key("n1_A") == hash_of_key("n1_a") != hash_of_key("n1_b")
    assert hash_of_content(SHA, 1) != hash_of_content(SHA, 2)
    assert 0 <= hash_of_content("f" * 64, -(2**62)) < 2**64
