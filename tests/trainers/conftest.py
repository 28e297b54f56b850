"""Fixtures of several tests of trainers."""

import json

import pytest


@pytest.fixture
def data(tmp_path):
    """The path of a file of 64 demonstrations."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{i}?", "completion": f"{i}"}) + "\n" for i in range(64)))
    return str(path)
