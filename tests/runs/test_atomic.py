"""All or nothing, byte by byte."""

import os
from pathlib import Path

import pytest

from r1env.runs.files import append_bytes, cut, replace_text


def test_a_replacement_that_fails_leaves_the_old_content_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    replace_text(path, "old")

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        replace_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_lone_surrogates_can_be_written(tmp_path: Path) -> None:
    replace_text(tmp_path / "page", "a\ud800b")
    assert (tmp_path / "page").read_text() == "a?b"


def test_appending_adds_at_the_end(tmp_path: Path) -> None:
    for data in (b"one", b"two"):
        append_bytes(tmp_path / "log", data)
    assert (tmp_path / "log").read_bytes() == b"onetwo"


def test_cutting_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    cut(tmp_path / "log", 0)
    assert list(tmp_path.iterdir()) == []
