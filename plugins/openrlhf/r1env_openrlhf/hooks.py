"""Runs a function on a module right after it is first imported, without importing it."""

from __future__ import annotations

import copyreg
import hashlib
import io
import json
import math
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

Action = Callable[[ModuleType], None]


def after_import(actions: Mapping[str, Action]) -> None:
    """Call `actions[name](module)` when `name` has been imported; at once where it already is."""
    for name in actions.keys() & sys.modules.keys():
        actions[name](sys.modules[name])
    sys.meta_path.insert(0, _Finder({name: action for name, action in actions.items() if name not in sys.modules}))


class _Finder:
    """Finds the modules as everybody else would, and has their loader do one thing more."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._actions = actions
        self._asking: set[str] = set()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in self._actions or name in self._asking:
            return None
        self._asking.add(name)
        try:
            spec = find_spec(name)
        finally:
            self._asking.discard(name)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute, action = loader.exec_module, self._actions[name]

        def exec_module(module: ModuleType) -> None:
            execute(module)
            action(module)

        loader.exec_module = exec_module
        return spec


# A large object that goes along with every call of a Ray actor: pickled once where it comes from, unpickled once where it arrives.

_sent: dict[int, tuple[Any, str, bytes]] = {}
"""Identity → the object, which keeps that identity its own, its digest and its pickle."""

_received: dict[str, Any] = {}
"""Digest → what it was unpickled to."""


def pickle_once(value: Any) -> None:
    """Make this process pickle `value`, and any other object of its type, only the first time.

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
    """Return the pickle of `value` as it was before `pickle_once`."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {kind: reduce for kind, reduce in copyreg.dispatch_table.items() if kind is not type(value)}
    pickler.dump(value)
    return buffer.getvalue()


def _restore(digest: str, blob: bytes) -> Any:
    if digest not in _received:
        _received[digest] = pickle.loads(blob)
    return _received[digest]


# Dithers the float32 weights behind a model that OpenRLHF trains in bfloat16, see `r1env_trainers.model.dither`.
#
# OpenRLHF reads a checkpoint in bfloat16, whatever it is stored in, and DeepSpeed makes its float32 weights of that.


SEED = "R1ENV_OPENRLHF_DITHER"
"""Variable of the job's environment: the seed. Without it nothing is dithered."""

STRATEGY = "openrlhf.utils.deepspeed.deepspeed"


def dither_environment(seed: int | None) -> dict[str, str]:
    """Return the environment variables that tell the processes of a job to dither under a seed; none for None."""
    return {} if seed is None else {SEED: str(seed)}


def dither_actions() -> Mapping[str, Action]:
    """Install the hooks of a process that may train; for `after_import`."""
    return {STRATEGY: _dither_when_prepared} if SEED in os.environ else {}


def _dither_when_prepared(module: ModuleType) -> None:
    original = module.DeepspeedStrategy._ds_init_train_model

    def init_train_model(self: Any, model: Any, cfg: dict[str, Any]) -> Any:
        model, optimizer, scheduler = original(self, model, cfg)
        engine = model.model if isinstance(model, module.Actor) else model
        if self.param_dtype == "bf16":
            dither_masters(engine, int(os.environ[SEED]))
        return model, optimizer, scheduler  # a checkpoint to resume from is read later, and brings float32 weights of its own

    module.DeepspeedStrategy._ds_init_train_model = init_train_model


def dither_masters(engine: Any, seed: int) -> None:
    """Dither the float32 weights of a DeepSpeed engine, at any stage of ZeRO. Every process has to call it."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_set_full_fp32_param
    from torch import Generator

    from r1env_trainers.model.dither import dithered

    generator = None
    for parameter in engine.module.parameters():
        weights = safe_get_full_fp32_param(parameter) if parameter.requires_grad else None
        if weights is not None:
            # One seed on every GPU: each draws all of a weight, and keeps its own part.
            generator = generator or Generator(weights.device).manual_seed(seed)
            safe_set_full_fp32_param(parameter, dithered(weights, generator))


# What every Ray worker of a job does first: changes to three parts of OpenRLHF, made as soon as each is imported.
#
# Its logger writes our file of metrics, its tokenizer travels once, and its weights are dithered.


METRICS = "metrics.jsonl"


def set_up() -> None:
    """Set up a worker; called by Ray in each. Nothing of OpenRLHF is imported."""
    after_import(
        {
            "openrlhf.utils.logging_utils": _log_json_lines,
            "openrlhf.trainer.ppo_utils.samples_generator": _send_tokenizer_once,
            **dither_actions(),
        }
    )


def _log_json_lines(module: ModuleType) -> None:
    module.TensorboardLogger = JsonLinesLogger  # type: ignore[attr-defined]


def _send_tokenizer_once(module: ModuleType) -> None:
    """Pickle the tokenizer once: OpenRLHF sends it with every prompt, and unpickling one takes 0.2 s for a vocabulary of 49,000."""
    original = module.SamplesGenerator.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        pickle_once(self.tokenizer)

    module.SamplesGenerator.__init__ = init


class MetricsFile:
    """Appends metrics to a job's file: every step is there before the next one begins."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / METRICS).open("a", encoding="utf-8")

    def log_train(self, global_step: int, logs_dict: Mapping[str, Any]) -> None:
        self._write("train", global_step, logs_dict)

    def log_eval(self, global_step: int, logs_dict: Mapping[str, Any]) -> None:
        self._write("eval", global_step, logs_dict)

    def close(self) -> None:
        self._file.close()

    def _write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
        finite = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
        self._file.write(json.dumps({"kind": kind, "step": step, "time": time.time(), "metrics": finite}) + "\n")
        self._file.flush()


class JsonLinesLogger(MetricsFile):
    """Takes the place of OpenRLHF's TensorBoard logger, whose files lag two minutes behind and lose what a crash leaves unwritten."""

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(Path(args.logger.tensorboard_dir))
