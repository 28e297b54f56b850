"""`ProcessState`: checks that a worker is as it was before a rollout, so that no rollout is affected by what another left behind.

The check runs after every rollout, within 20 microseconds on Linux. The functions it needs are bound when this module is imported:
a reward may have replaced them in their modules by then.
"""

from __future__ import annotations

import builtins
import collections
import ctypes
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
from gc import get_referents, isenabled
from os import close, dup, fstat, getcwd, listdir, pread, umask
from resource import getrlimit
from signal import ITIMER_REAL, SIG_BLOCK, SIGALRM, SIGCHLD, SIGINT, SIGPROF, SIGTERM, SIGXCPU, getitimer
from sys import get_int_max_str_digits, getprofile, getrecursionlimit, gettrace
from typing import Any, cast

MODULES = (
    builtins, collections, functools, io, itertools, json, json.decoder, json.encoder, math, operator, os, posixpath, random, re,
    resource, shutil, signal, string, subprocess, sys, threading, time,
)  # fmt: skip
CLASSES: tuple[type, ...] = (json.JSONDecoder, json.JSONEncoder, random.Random, subprocess.Popen, threading.Thread)
"""Classes of which rewards, and the code that they run, have been seen to replace methods."""

LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_DATA, resource.RLIMIT_STACK, resource.RLIMIT_NPROC)
"""Resource limits that are compared here; `limits.Bounds` compares those that bound each rollout."""

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
        _proc_files()
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._files = _standard_files()
        self._descriptors = _open_descriptors()
        self._free = _lowest_free_descriptor()
        self._limits = [getrlimit(kind) for kind in LIMITS]
        self._look_at_memory()
        self._threads = _threads()
        self._signals = _signals()
        self._children = _has_children()
        self._folder = _folder()
        self._environment = dict(os.environ._data)  # type: ignore[attr-defined]  # without decoding each value
        self._umask = umask(0o77)
        umask(self._umask)
        self._settings = _settings()
        self._search_path = list(sys.path)
        self._namespaces = [vars(module) for module in MODULES] + [_dict_of(owner) for owner in CLASSES]
        self._names = _values(self._namespaces)
        self._versions = _Versions(self._namespaces)

    def changes(self) -> tuple[str, ...]:
        """Return the kinds of what is different from the time when this object was made; normally none."""
        found = []
        if not self._has_same_streams():
            found.append("standard streams")
        if _lowest_free_descriptor() != self._free and not self._has_same_descriptors():
            found.append("descriptors")
        if [getrlimit(kind) for kind in LIMITS] != self._limits:
            found.append("limits")
        if not self._children and _has_children():
            found.append("children")
        if _folder() != self._folder:
            found.append("folder")
        if os.environ._data != self._environment:  # type: ignore[attr-defined]
            found.append("environment")
        if _settings() != self._settings or sys.path != self._search_path or umask(self._umask) != self._umask:
            found.append("settings")
        if not self._versions.same() and not _same_values(_values(self._namespaces), self._names):
            found.append("modules")
        self._look_at_memory()
        if _threads() > self._threads:
            found.append("threads")
        if _signals() != self._signals:
            found.append("handlers")
        return tuple(found)

    def _has_same_streams(self) -> bool:
        source, out, errors = self._streams
        return (
            sys.stdout is out
            and sys.stderr is errors
            and sys.stdin is source
            and not (out.closed or errors.closed or source.closed)
            and _standard_files() == self._files
        )

    def _has_same_descriptors(self) -> bool:
        """Return whether the open descriptors are those of the start, and at most `SPARE_DESCRIPTORS` more.

        A new descriptor gets the lowest free number. That number is noted, so that this is only asked again when it has changed: when
        another descriptor is left open, or one below it is closed.
        """
        now = _open_descriptors()
        if now is None or self._descriptors is None:
            return False
        self._free = _lowest_free_descriptor()
        return self._descriptors <= now and len(now) <= len(self._descriptors) + SPARE_DESCRIPTORS

    def _look_at_memory(self) -> None:
        files = _proc_files()
        if files is not None:
            pages = pread(files[0], 64, 0).split(None, 2)
            self.address_space_bytes = int(pages[0]) * PAGE_BYTES
            self.resident_bytes = int(pages[1]) * PAGE_BYTES


PAGE_BYTES = resource.getpagesize()


@cache
def _proc_files() -> tuple[int, int] | None:
    """Return files of Linux that describe this process's memory and threads, kept open: they are read after every rollout."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC), os.open("/proc/self/task", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


os.register_at_fork(after_in_child=_proc_files.cache_clear)  # the open files describe the parent


def _threads() -> int:
    """Return a number that grows with the number of threads."""
    files = _proc_files()
    return threading.active_count() if files is None else fstat(files[1]).st_nlink  # each thread is a folder in that one


def _signals() -> tuple[object, ...]:
    """Return which signals are blocked, the handlers of those that rewards use, and the alarm that is set."""
    return (*map(_getsignal, _SIGNALS), _pthread_sigmask(SIG_BLOCK, ()), getitimer(ITIMER_REAL))


# The functions of C, without the detour over enumerations.
_getsignal = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
_pthread_sigmask = getattr(signal.pthread_sigmask, "__wrapped__", signal.pthread_sigmask)
_SIGNALS = (SIGALRM, SIGCHLD, SIGINT, SIGPROF, SIGTERM, SIGXCPU)


def _standard_files() -> tuple[object, ...] | None:
    """Return inode and device of standard output and error; None if one is closed."""
    try:
        return fstat(1)[1:3], fstat(2)[1:3]
    except OSError:
        return None


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


class _Versions:
    """The versions of some dictionaries: a number in CPython's dictionaries that changes whenever one of their entries does.

    Reading it is ten times as fast as comparing all values, and happens after every rollout. Where a dictionary has no such number,
    nothing is ever the same.
    """

    OFFSET = 3 * ctypes.sizeof(ctypes.c_void_p)  # behind the reference count, the type and the number of entries

    def __init__(self, dictionaries: list[Mapping[str, Any]]) -> None:
        self._numbers = [self._number(dictionary) for dictionary in dictionaries] if self._work() else []
        self._then = [number.value for number in self._numbers]

    def same(self) -> bool:
        """Return True if no dictionary can have changed."""
        return bool(self._then) and [number.value for number in self._numbers] == self._then

    @classmethod
    def _number(cls, dictionary: Mapping[str, Any]) -> ctypes.c_uint64:
        return ctypes.c_uint64.from_address(id(dictionary) + cls.OFFSET)

    @classmethod
    def _work(cls) -> bool:
        """Return True if this interpreter has the numbers where they are expected."""
        if sys.implementation.name != "cpython" or sys.version_info >= (3, 13):
            return False
        tried = {"a": 1, "b": 2}
        number = cls._number(tried)
        seen = [number.value]
        for change in (lambda: tried.update(a=3), lambda: tried.pop("b"), lambda: tried.setdefault("c", 4)):
            change()
            seen.append(number.value)
        return len(set(seen)) == len(seen) and tried["a"] == 3 and number.value == seen[-1]


def _dict_of(owner: type) -> Mapping[str, Any]:
    """Return the dictionary behind the read-only view that `vars` gives of a class."""
    (found,) = get_referents(vars(owner))
    return cast("Mapping[str, Any]", found)
