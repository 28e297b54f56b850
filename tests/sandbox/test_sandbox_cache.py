"""Compiled programs that the host keeps."""

from __future__ import annotations

from r1env_sandbox.cache import CompileCache


def test_the_least_recently_used_goes_first():
    cache = CompileCache(max_bytes=20)
    cache.put("a", b"x" * 10)
    cache.put("b", b"x" * 10)
    cache.get("a")
    cache.put("c", b"x" * 10)
    assert [name for name in "abc" if cache.get(name)] == ["a", "c"]


def test_what_is_too_large_is_not_kept():
    cache = CompileCache(max_bytes=20)
    cache.put("a", b"x" * 10)
    cache.put("b", b"x" * 21)
    assert cache.get("b") is None


def test_putting_twice_counts_once():
    cache = CompileCache(max_bytes=20)
    for _ in range(5):
        cache.put("a", b"x" * 10)
    cache.put("b", b"x" * 10)
    assert cache.get("a")


def test_moving_text_from_one_part_to_the_next_makes_another_key():
    assert CompileCache.key(["ab", "c"]) != CompileCache.key(["a", "bc"])
    assert CompileCache.key(["a", b"b"]) == CompileCache.key([b"a", "b"])
