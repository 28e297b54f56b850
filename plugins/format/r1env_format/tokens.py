"""`split_tokens`: text cut into words, without a tokenizer. What the rewards here count."""

from __future__ import annotations

import re

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
"""Kana and Han: written without spaces, so each character counts as a word."""

_TOKEN = re.compile(rf"[{CJK}]|[^\W{CJK}]+|[^\w\s]")
_WORD = re.compile(rf"[{CJK}]|[^\W{CJK}]+")


def split_tokens(text: str) -> list[str]:
    """Words, single Chinese and Japanese characters, and single signs of punctuation, in order. Linear."""
    return _TOKEN.findall(text)


def split_words(text: str) -> list[str]:
    """The same without the punctuation."""
    return _WORD.findall(text)
