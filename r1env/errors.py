"""The error model, in four sentences.

1. A wrong request (unknown name, conflicting options, bad value) raises `UsageError` as early as possible, with one line that names
   the value and the remedy; the command line exits with 2.
2. A fault in a plugin raises `PluginError`, which names the plugin; listings continue without that plugin.
3. A fault while a run is stored or resumed raises `RunError`; what is already on disk stays intact.
4. A fault while one rollout is scored does *not* raise: it gives a `Score` without a value, which is counted and shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class R1EnvError(Exception):
    """Base class of all errors that r1env raises on purpose. `exit_code` is the exit status of the command line."""

    exit_code = 1


class UsageError(R1EnvError, ValueError):
    """The request cannot be fulfilled. The message says what to do instead."""

    exit_code = 2


class UnknownNameError(UsageError, LookupError):
    """Nothing provides the requested name. The message suggests similar known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        candidates = sorted(known)
        close = difflib.get_close_matches(name, candidates, n=3, cutoff=0.5)
        if close:
            remedy = "did you mean " + " or ".join(repr(match) for match in close) + "?"
        elif candidates:
            shown = ", ".join(candidates[:12]) + (", …" if len(candidates) > 12 else "")
            remedy = f"known: {shown}"
        else:
            remedy = "none is installed"
        super().__init__(f"unknown {kind} {name!r}; {remedy}" + (f" {hint}" if hint else ""))
        self.kind = kind
        self.name = name


class DataError(UsageError):
    """A data file, or a row of it, cannot be used.

    Attributes:
        where: the file and, if known, the row: `train.jsonl, line 3`.
        what: what was found there, and what to write instead.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class NoSplitError(UsageError):
    """The task source does not have the requested split."""


class PluginError(R1EnvError):
    """A plugin is broken, or two plugins provide the same name."""


class RunError(R1EnvError):
    """A run folder cannot be written, read or resumed."""


class RunFolderError(RunError, UsageError):
    """The folder contains no run to read or resume, or a new run cannot be created in it."""


class EngineError(R1EnvError):
    """An engine could not produce completions."""


class TrainingStoppedError(R1EnvError):
    """Training cannot continue meaningfully; the message says why. The last checkpoint is complete."""
