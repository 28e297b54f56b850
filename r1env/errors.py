"""The error model, in four sentences.

1. A wrong request (unknown name, clashing parts, bad value) is a `UsageError`: raised as early as it can be known, said in
   one line that names the value and the remedy; the command line exits 2.
2. A fault in somebody's plugin is a `PluginError` and names the plugin; listing goes on without it.
3. A fault while a run is stored or resumed is a `RunError`; what was already on disk stays whole.
4. A fault while one rollout is scored is *not* an exception: it is a `Score` without a value, counted and shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class R1EnvError(Exception):
    """Base of every error that r1env raises on purpose. `exit_code` is what the command line returns for it."""

    exit_code = 1


class UsageError(R1EnvError, ValueError):
    """The caller asked for something that cannot be done; the message says what to do instead."""

    exit_code = 2


class UnknownNameError(UsageError, LookupError):
    """A name that nothing provides. The message carries the nearest known names."""

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
    """A data file, or a row of one, that cannot be used.

    Attributes:
        where: the file, and the row where there is one: `train.jsonl, line 3`.
        what: what was found there, and what to write instead.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class NoSplitError(UsageError):
    """A task source was asked for a split that it does not have."""


class PluginError(R1EnvError):
    """A plugin is broken, or two plugins claim one name."""


class RunError(R1EnvError):
    """A run folder cannot be written, read or resumed."""


class RunFolderError(RunError, UsageError):
    """The caller named a folder that is not the one they mean: no run to read or resume, or no room for a new one."""


class EngineError(R1EnvError):
    """An engine could not produce completions."""


class TrainingStoppedError(R1EnvError):
    """Training cannot go on meaningfully; the message says why. The last checkpoint is whole."""
