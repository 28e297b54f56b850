"""`load_model` turns a name into a model and its tokenizer, on a device."""

from __future__ import annotations

import importlib.util
import json
import warnings
import weakref
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from r1env.errors import UnknownNameError, UsageError
from r1env.prompts import END_TOKENS
from r1env.rollout import ChatTemplateError, reply_text
from r1env_trainers.model import tiny
from r1env_trainers.model.guards import check_loaded, first_not_finite
from r1env_trainers.model.wheels import GEMMA3_270M, SMOLLM2_135M
from r1env_trainers.settings import Device


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A causal language model and its tokenizer. The tokenizer pads on the left and has a pad token.

    Attributes:
        dtype: the number format that the weights were stored in; they are float32 here, and are stored in it again.
        adapter: PEFT's wrapper of the model, where it has low-rank adapters (see `lora`).
        base_only: stands for the model that the adapters were added to.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype = torch.float32
    adapter: Any = None
    base_only: bool = False

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def pad(self) -> int:
        """The id of the pad token."""
        pad = self.tokenizer.pad_token_id
        assert isinstance(pad, int)  # load_model gives every tokenizer one
        return pad

    @property
    def ends(self) -> list[int]:
        """The tokens that end a completion."""
        settings = self.model.generation_config
        return end_tokens(self.tokenizer, settings.eos_token_id if settings else None)

    @property
    def never_drawn(self) -> int | None:
        """The token that no sampler draws, see `never_drawn`; log-probs of completions are those of a distribution without it."""
        return never_drawn(self.tokenizer, self.ends)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]
NAMED: Mapping[str, Callable[[int], Loaded]] = {
    "tiny": tiny.build,
    "tiny-1m": tiny.build_1m,
    "tiny-2m": tiny.build_2m,
    "tiny-gpt2": tiny.build_gpt2,
    "tiny-tools": tiny.build_tools,
    "smollm2-135m": lambda _seed: SMOLLM2_135M.load(),
    "gemma3-270m": lambda _seed: GEMMA3_270M.load(),
}
"""Models that need no folder and no hub; each takes the seed of its initial weights."""


def check_model_name(name: str) -> None:
    """Refuse a name that cannot be a model, without loading anything.

    Raises:
        UnknownNameError: neither a known name, nor a folder, nor of the form `owner/name`.
    """
    if name not in NAMED and not Path(name).is_dir() and ("/" not in name or name.startswith((".", "/"))):
        raise UnknownNameError("model", name, NAMED, hint="(or give a folder, or a hub name such as owner/name)")


def load_model(name: str, *, device: torch.device | str = "cpu", seed: int = 0) -> LoadedModel:
    """Load a model by name, from a folder, or from the hub; in float32 and evaluation mode.

    Args:
        seed: of the initial weights, for models made from scratch.

    Raises:
        UsageError: it is unknown or unreadable, has weights that are not finite, or an optional dependency is missing.
    """
    check_model_name(name)
    if is_adapter_folder(name):
        return load_adapter_folder(name, load_model(base_of(name), device=device, seed=seed))
    disable_progress_bar()  # one bar per shard, in the middle of the run's own table
    model, tokenizer = NAMED[name](seed) if name in NAMED else read_folder(AutoModelForCausalLM, name)
    check_loaded(model, name)
    prepare_tokenizer(tokenizer, name)
    dtype = torch.float32 if name in NAMED else stored_dtype(name)
    return LoadedModel(model.to(device).eval(), tokenizer, dtype)  # type: ignore[arg-type]  # transformers wraps `to`


def forget_forward_pass(model: PreTrainedModel) -> None:
    """Let the next forward pass be chosen anew, after layers were put into the model or taken out."""
    for known in FORWARD_PASSES:
        known.pop(model, None)


FORWARD_PASSES: list[weakref.WeakKeyDictionary[PreTrainedModel, bool]] = []
"""What was found out about the forward pass of each model; the modules that do register theirs."""


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Let a tokenizer pad on the left, by its end of sequence where it has no pad token.

    Raises:
        UsageError: it has neither.
    """
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise UsageError(
            f"the tokenizer of {name!r} has neither an end-of-sequence nor a pad token, so no completion could end; set eos_token in its "
            "tokenizer_config.json"
        )


def stored_dtype(name: str) -> torch.dtype:
    """Return the number format of a model's weights by its config.json; float32 where that names none."""
    dtype = AutoConfig.from_pretrained(name).get_text_config().dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def read_folder(auto: Any, name: str, **options: Any) -> Loaded:
    """Return the model, in float32, and the tokenizer of a folder or hub name, as transformers reads them, whole.

    Args:
        auto: the class of transformers that makes the model, such as `AutoModelForCausalLM`.
        options: of the model.

    Raises:
        UsageError: they cannot be read, or weights are missing or of another shape: transformers would put random ones in their place.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model, found = auto.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    # transformers says "not found" and "not a model" with the first two; RuntimeError and SafetensorError are torn files.
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"cannot load the model {name!r}: {reason}") from error
    missing, other_shapes = sorted(found["missing_keys"]), sorted(map(str, found["mismatched_keys"]))
    if missing or other_shapes:
        first = f"{missing[0]} is missing" if missing else f"{other_shapes[0]} (in the file, and by config.json)"
        raise UsageError(
            f"cannot load the model {name!r}: {len(missing) + len(other_shapes)} of its weights are missing or have another shape, and "
            f"would be random: {first}; its files are incomplete or belong to another config.json"
        )
    return model, tokenizer


# Where a completion ends, and what it never contains.


def end_tokens(tokenizer: PreTrainedTokenizerBase, named: int | list[int] | None) -> list[int]:
    """Return the tokens that end a completion, ascending: the tokenizer's, the chat template's end of turn, and those in `named`.

    Args:
        named: the end tokens in the model's generation settings.
    """
    listed = named if isinstance(named, list) else [named]
    return sorted({end for end in (*listed, tokenizer.eos_token_id, end_of_turn(tokenizer)) if isinstance(end, int)})


def never_drawn(tokenizer: PreTrainedTokenizerBase, ends: Collection[int]) -> int | None:
    """Return the pad token, which no completion contains, unless it is one of the tokens that end completions."""
    pad = tokenizer.pad_token_id
    return pad if isinstance(pad, int) and pad not in ends else None


_ends_of_turns: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, tuple[str, int | None]] = weakref.WeakKeyDictionary()


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the token with which the chat template ends a turn; None where there is no template, or it ends turns with plain text.

    A model that learns from demonstrations learns to write it, so sampling stops there, and `learn_to_stop` in `sft.loop` adds it to
    the model's generation settings.
    """
    template = str(tokenizer.chat_template or "")
    known, end = _ends_of_turns.get(tokenizer, ("", None))
    if known != template:  # kept, since trainers ask in every step
        try:
            tail = reply_text(tokenizer, (), chat=True).text
            end = next((token for token in token_ids(tokenizer, tail)[:1] if token in end_ids(tokenizer, tail)), None)
        except ChatTemplateError:  # it will be raised, with the conversation at fault, when a prompt is made
            end = None
        _ends_of_turns[tokenizer] = (template, end)
    return end


def end_ids(tokenizer: PreTrainedTokenizerBase, tail: str) -> set[int]:
    """Return the tokens that end a turn: the template's, the tokenizer's, and those that public tokenizers have for it.

    Args:
        tail: what the template writes after an answer.
    """
    known = (tokenizer.convert_tokens_to_ids(token) for token in END_TOKENS)
    ends = {token for token in (*known, tokenizer.eos_token_id) if isinstance(token, int) and token != tokenizer.unk_token_id}
    first = token_ids(tokenizer, tail)[:1]
    return ends | {token for token in first if token in tokenizer.all_special_ids and token != tokenizer.unk_token_id}


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the tokens of a text, without those that a tokenizer adds at its ends."""
    return cast("list[int]", tokenizer(text, add_special_tokens=False)["input_ids"])


# Folders with low-rank adapters, which PEFT wrote. What trains them is `lora`.

ADAPTER = "adapter_config.json"


def check_peft() -> None:
    """Raise UsageError where PEFT is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise UsageError("adapters (LoRA) need the package peft: pip install peft accelerate")


def merged(loaded: LoadedModel) -> LoadedModel:
    """Add the adapters to the weights, in place; return the model without any."""
    loaded.adapter.merge_and_unload()
    loaded.model.requires_grad_(True)
    forget_forward_pass(loaded.model)
    return replace(loaded, adapter=None)


def is_adapter_folder(name: str) -> bool:
    """Return whether a folder holds adapters and no model."""
    return (Path(name) / ADAPTER).is_file() and not (Path(name) / "config.json").is_file()


def base_of(folder: str) -> str:
    """Return the name of the model that an adapter folder belongs to.

    Raises:
        UsageError: it names none.
    """
    base = json.loads((Path(folder) / ADAPTER).read_text("utf-8")).get("base_model_name_or_path")
    if not base:
        raise UsageError(f"{folder}/{ADAPTER} does not name the model that the adapter belongs to (base_model_name_or_path)")
    return str(base)


def load_adapter_folder(folder: str, base: LoadedModel) -> LoadedModel:
    """Return `base` with the adapters of a folder merged into it.

    Raises:
        UsageError: PEFT is not installed, or the adapters do not fit the model or are not finite.
    """
    check_peft()
    from peft import PeftModel, load_peft_weights

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")  # `fill_adapters` refuses them
            adapter = PeftModel.from_pretrained(base.model, folder)
        weights = load_peft_weights(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"cannot read the adapter {folder!r}: {str(error).strip().splitlines()[0]}") from error
    loaded = replace(base, adapter=adapter)
    fill_adapters(loaded, weights, folder)
    if (tied := tied_target(base.model)) is not None:
        raise UsageError(f"cannot merge the adapter {folder!r}: {tied}")
    return merged(loaded)


def fill_adapters(loaded: LoadedModel, weights: Mapping[str, torch.Tensor], folder: str) -> None:
    """Give the adapters of a model the weights that were read from a folder, all of them.

    Raises:
        UsageError: some are missing, belong to nothing in the model, or are not finite. PEFT would leave out what does not fit.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    wanted = get_peft_model_state_dict(loaded.adapter, save_embedding_layers=False)
    missing = sorted(wanted.keys() - weights.keys())
    result: Any = set_peft_model_state_dict(loaded.adapter, dict(weights))
    unknown = sorted(result.unexpected_keys)
    if missing or unknown:
        first = f"{missing[0]} is missing" if missing else f"{unknown[0]} belongs to no layer"
        raise UsageError(
            f"the adapter {folder!r} does not fit the model: {len(missing) + len(unknown)} of its weights would be left out, first: {first}"
        )
    if (found := first_not_finite(weights.items())) is not None:
        raise UsageError(
            f"the adapter {folder!r} has weights that are not finite, first in {found}; take an earlier checkpoint"
        )


def tied_target(model: PreTrainedModel) -> str | None:
    """Return why adapters of a model cannot be merged: one is on an embedding whose weights the head shares, or the reverse."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    adapted = [name for name, layer in (("head", head), ("embedding", embedding)) if hasattr(layer, "base_layer")]
    plain = [getattr(layer, "base_layer", layer) for layer in (head, embedding)]
    if not adapted or plain[0] is None or plain[0].weight is not plain[1].weight:
        return None
    return (
        f"it changes the {adapted[0]} alone, whose weights are those of the {'embedding' if adapted[0] == 'head' else 'head'} too "
        "(tied), so that the merged model would be another one; leave it out of target_modules"
    )


# Devices, number formats and threads.

SMALL_MODEL = 5_000_000  # parameters; below it a second thread costs more in waiting than it computes


def choose_device(wanted: Device) -> torch.device:
    """Return the device to use.

    Raises:
        UsageError: `cuda` was asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for, but torch sees no GPU here; use --device cpu")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context for bfloat16 arithmetic over float32 weights on a GPU; on a CPU it does nothing."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


def has_triton() -> bool:
    """Return whether torch can compile for a GPU."""
    return importlib.util.find_spec("triton") is not None


def limit_memory(device: torch.device, gigabytes: float | None) -> None:
    """Have torch take at most so much of a GPU's memory; None for all of it. Nothing on a CPU."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        share = 1.0 if gigabytes is None else min(1.0, gigabytes * 1e9 / total)
        torch.cuda.set_per_process_memory_fraction(share, _number_of(device))


def usable_memory(device: torch.device) -> float:
    """Return the bytes of a GPU that this process may take, see `limit_memory`."""
    total: int = torch.cuda.get_device_properties(device).total_memory
    return total * torch.cuda.get_per_process_memory_fraction(_number_of(device))


def _number_of(device: torch.device) -> int:
    """Return the number of a GPU: the current one's, where the device does not say."""
    return torch.cuda.current_device() if device.index is None else device.index


def free_memory(device: torch.device) -> float:
    """Return the bytes of a GPU that this process can still take, including what torch holds unused."""
    reserved, allocated = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
    return min(torch.cuda.mem_get_info(device)[0] + reserved - allocated, usable_memory(device) - allocated)


def limit_threads(parameters: int, threads: int | None) -> None:
    """Set torch's number of CPU threads: `threads` if given, one for a small model, else torch's default."""
    if threads is not None:
        torch.set_num_threads(threads)
    elif parameters < SMALL_MODEL:
        torch.set_num_threads(1)
