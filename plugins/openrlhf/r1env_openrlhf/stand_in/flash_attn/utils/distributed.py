"""The one name that OpenRLHF imports for ring attention, which needs the real flash-attn."""

from __future__ import annotations

from typing import NoReturn


def all_gather(*_: object) -> NoReturn:
    """Ring attention needs flash-attn."""
    raise ImportError("ring attention needs flash-attn; leave --ds.ring_attn_size at 1, or install flash-attn")
