"""Kept files: found again, bounded, the one that was not used for longest gone first."""

import os
from pathlib import Path

from trunkline.texml.cache import FileCache


def keep(cache: FileCache, size: int, *key: str) -> Path:
    blank = cache.blank()
    blank.write_bytes(bytes(size))
    return cache.put(blank, *key)


def test_a_file_is_found_by_its_whole_key(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "deep" / "cache", 100)
    path = keep(cache, 10, "a", "b")
    assert cache.get("a", "b") == path
    assert cache.get("ab") is None
    assert cache.get("a") is None


def test_the_least_used_goes_first_and_replacing_counts_once(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 100)
    for name in ("a", "b", "c"):
        keep(cache, 30, name)
    keep(cache, 30, "a")
    assert cache.get("b") is not None
    keep(cache, 30, "d")
    assert [name for name in "abcd" if cache.get(name)] == ["a", "b", "d"]
    assert len(list(tmp_path.iterdir())) == 3
    keep(cache, 200, "huge")
    assert [name for name in ("a", "b", "d", "huge") if cache.get(name)] == ["huge"]


def test_a_restart_keeps_the_files_and_clears_half_ones(tmp_path: Path) -> None:
    before = FileCache(tmp_path, 100)
    for age, name in enumerate(("new", "old")):
        os.utime(keep(before, 40, name), (1000 - age, 1000 - age))
    half = before.blank()
    half.write_bytes(b"half")
    cache = FileCache(tmp_path, 100)
    assert not half.exists()
    keep(cache, 40, "more")
    assert cache.get("old") is None
    assert cache.get("new") is not None


def test_a_removed_file_is_forgotten(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 100)
    keep(cache, 90, "a").unlink()
    assert cache.get("a") is None
    keep(cache, 50, "b")
    keep(cache, 50, "c")
    assert cache.get("b") is not None
