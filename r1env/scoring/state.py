"""`ProcessState`: proof that a worker is as it was before a rollout, so that no rollout is scored in what another left behind.

The check runs after every rollout, within 20 microseconds on Linux. The functions it needs are bound when this module is imported:
a reward may have replaced them in their modules by then.
"""

from __future__ import annotations

import builtins
import collections
import functools
import io
import itertools
import json
import math
import operator
import os
import posixpath
import random
import re
import resource
import shutil
import signal
import string
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from gc import isenabled
from os import close, dup, fstat, getcwd, listdir, pread, umask
from resource import getrlimit
from signal import getitimer, getsignal
from sys import get_int_max_str_digits, getprofile, getrecursionlimit, gettrace
from typing import Any

MODULES = (
    builtins, collections, functools, io, itertools, json, json.decoder, json.encoder, math, operator, os, posixpath, random, re,
    resource, shutil, signal, string, subprocess, sys, threading, time,
)  # fmt: skip
CLASSES: tuple[type, ...] = (json.JSONDecoder, json.JSONEncoder, random.Random, subprocess.Popen, threading.Thread)
"""What rewards, and the code that they run, have been seen to replace parts of."""

LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_DATA, resource.RLIMIT_STACK, resource.RLIMIT_NPROC)
"""Resource limits that are compared; those that bound each rollout are compared by `bounded`."""

SPARE_DESCRIPTORS = 32
"""Descriptors that rollouts may leave open: far below any limit, and a reward that leaks one at a time keeps its worker for a while."""

HARMLESS = frozenset({"children", "descriptors", "environment", "folder", "handlers", "settings", "threads"})
"""What a reward may change once, with its first rollout in a worker, if it does so in every worker; see `pool.Habits`."""


class ProcessState:
    """What this process is like now. `changes` says what has become different.

    Attributes:
        address_space_bytes: virtual memory at the last look; None where the system does not tell.
        resident_bytes: physical memory at the last look; 0 where the system does not tell.
    """

    def __init__(self) -> None:
        self.address_space_bytes: int | None = None
        self.resident_bytes = 0
        _stat_file()
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._files = _standard_files()
        self._descriptors = _open_descriptors()
        self._free = _lowest_free_descriptor()
        self._limits = [getrlimit(kind) for kind in LIMITS]
        self._process = self._look_at_process()
        self._children = _has_children()
        self._folder = _folder()
        self._environment = dict(os.environ._data)  # type: ignore[attr-defined]  # without decoding each value
        self._umask = umask(0o77)
        umask(self._umask)
        self._settings = _settings()
        self._search_path = list(sys.path)
        self._namespaces = [vars(owner) for owner in (*MODULES, *CLASSES)]
        self._names = _values(self._namespaces)

    def changes(self) -> tuple[str, ...]:
        """Return the kinds of what is different from the time when this object was made; normally none."""
        found = [
            kind
            for kind, same in (
                ("standard streams", self._has_same_streams()),
                ("descriptors", self._has_same_descriptors()),
                ("limits", [getrlimit(kind) for kind in LIMITS] == self._limits),
                ("children", self._children or not _has_children()),
                ("folder", _folder() == self._folder),
                ("environment", os.environ._data == self._environment),  # type: ignore[attr-defined]
                (
                    "settings",
                    _settings() == self._settings and sys.path == self._search_path and umask(self._umask) == self._umask,
                ),
                ("modules", _same_values(_values(self._namespaces), self._names)),
            )
            if not same
        ]
        threads, *handlers = self._look_at_process()
        if threads > self._process[0]:
            found.append("threads")
        if handlers != self._process[1:]:
            found.append("handlers")
        return tuple(found)

    def _has_same_streams(self) -> bool:
        streams = (sys.stdin, sys.stdout, sys.stderr)
        return (
            streams == self._streams
            and not any(stream is not None and stream.closed for stream in streams)
            and _standard_files() == self._files
        )

    def _has_same_descriptors(self) -> bool:
        """A new descriptor gets the lowest free number, so that number changes when one is left open, or one below it is closed."""
        free = _lowest_free_descriptor()
        if free == self._free:
            return True
        now = _open_descriptors()
        if now is None or self._descriptors is None:
            return False
        self._free = free
        return self._descriptors <= now and len(now) <= len(self._descriptors) + SPARE_DESCRIPTORS

    def _look_at_process(self) -> list[Any]:
        """Return the number of threads, then the state of the signals."""
        file = _stat_file()
        if file is None:
            return [
                threading.active_count(),
                getsignal(signal.SIGINT),
                getsignal(signal.SIGALRM),
                getitimer(signal.ITIMER_REAL)[0] > 0,
            ]
        fields = pread(file, 1024, 0).rpartition(b")")[2].split()
        self.address_space_bytes = int(fields[20])
        self.resident_bytes = int(fields[21]) * PAGE_BYTES
        # The number of threads; the masks of blocked, ignored and caught signals; the niceness.
        return [int(fields[17]), *fields[29:32], fields[16], getsignal(signal.SIGINT), getitimer(signal.ITIMER_REAL)[0] > 0]


PAGE_BYTES = resource.getpagesize()


@cache
def _stat_file() -> int | None:
    """Return the file of Linux that describes this process, kept open: it is read after every rollout."""
    try:
        return os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


os.register_at_fork(after_in_child=_stat_file.cache_clear)  # the open file describes the parent


def _standard_files() -> tuple[tuple[int, int] | None, ...]:
    """Return device and inode of standard output and error; None for one that is closed."""
    found: list[tuple[int, int] | None] = []
    for descriptor in (1, 2):
        try:
            status = fstat(descriptor)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)


def _lowest_free_descriptor() -> int:
    """Return the number that the next descriptor would get; -1 if there is none left or standard error is closed."""
    try:
        free = dup(2)
    except OSError:
        return -1
    close(free)
    return free


def _open_descriptors() -> frozenset[str] | None:
    try:
        return frozenset(listdir("/dev/fd")) - {str(_lowest_free_descriptor())}  # without the one that reads the folder
    except OSError:
        return None


_waitid = getattr(os, "waitid", None)  # macOS has it since Python 3.13


def _has_children() -> bool:
    if _waitid is None:
        return False
    try:
        _waitid(ALL_CHILDREN, 0, ENDED_OR_NOT)
    except ChildProcessError:
        return False
    return True


if _waitid is not None:
    ALL_CHILDREN, ENDED_OR_NOT = os.P_ALL, os.WEXITED | os.WNOHANG | os.WNOWAIT


def _folder() -> str | None:
    try:
        return getcwd()
    except OSError:  # it was removed
        return None


def _settings() -> tuple[Any, ...]:
    return getrecursionlimit(), get_int_max_str_digits(), gettrace(), getprofile(), isenabled()


def _values(namespaces: list[Mapping[str, Any]]) -> list[list[Any]]:
    return [list(namespace.values()) for namespace in namespaces]


def _same_values(now: list[list[Any]], then: list[list[Any]]) -> bool:
    """Compare by identity first, which is what comparing lists does; an object whose comparison raises is not the old one."""
    try:
        return now == then
    except Exception:  # noqa: BLE001 - a reward may have put any object there
        return False
