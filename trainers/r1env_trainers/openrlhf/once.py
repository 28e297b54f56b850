"""A large object that goes along with every call of a Ray actor: pickled once where it comes from, unpickled once where it arrives."""

from __future__ import annotations

import copyreg
import hashlib
import io
import pickle
from collections.abc import Callable
from typing import Any

_sent: dict[int, tuple[Any, str, bytes]] = {}
"""Identity → the object, which keeps that identity its own, its digest and its pickle."""

_received: dict[str, Any] = {}
"""Digest → what it was unpickled to."""


def pickle_once(value: Any) -> None:
    """From now on this process pickles `value`, and any other object of its type, the first time only.

    Whoever unpickles it gets one and the same object every time, as it was at that first time.
    """
    copyreg.pickle(type(value), _reduce)


def _reduce(value: Any) -> tuple[Callable[[str, bytes], Any], tuple[str, bytes]]:
    if id(value) not in _sent:
        blob = _dumps(value)
        _sent[id(value)] = value, hashlib.sha256(blob).hexdigest(), blob
    _, digest, blob = _sent[id(value)]
    return _restore, (digest, blob)


def _dumps(value: Any) -> bytes:
    """The pickle of `value` as it was before `pickle_once`."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {kind: reduce for kind, reduce in copyreg.dispatch_table.items() if kind is not type(value)}
    pickler.dump(value)
    return buffer.getvalue()


def _restore(digest: str, blob: bytes) -> Any:
    if digest not in _received:
        _received[digest] = pickle.loads(blob)
    return _received[digest]
