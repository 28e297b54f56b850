"""A language model with a scalar head: made of a causal model, saved, loaded, and run.

The folder is that of a transformers sequence classifier with one label, so that vLLM, TRL and transformers read it too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from r1env.errors import UsageError
from r1env.rollout import encode_prompt
from r1env.runs.files import replace_text
from r1env.types import Conversation
from r1env_trainers.model.batching import micro_batches, right_pad
from r1env_trainers.model.checkpoint import STATE
from r1env_trainers.model.guards import check_loaded
from r1env_trainers.model.load import (
    LoadedModel,
    autocast,
    choose_device,
    limit_threads,
    load_model,
    prepare_tokenizer,
    read_folder,
    stored_dtype,
    vocabulary_of,
)
from r1env_trainers.reward_model.config import Objective, Reads
from r1env_trainers.settings import Device

RECORD = "reward_model.json"


class Record(BaseModel):
    """What a model folder says about its rewards.

    Attributes:
        mean, std: of the rewards on the held-out data; what they are measured against when a value in [0, 1] is asked for.
            A pointwise model's rewards are log-odds already, with 0 and 1 here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Objective
    reads: Reads
    max_length: int
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)


@dataclass(frozen=True, slots=True)
class LoadedRewardModel:
    """A scalar-headed model with its tokenizer, and what its folder says about it."""

    loaded: LoadedModel
    record: Record


def start_reward_model(name: str, *, device: torch.device | str, seed: int) -> LoadedModel:
    """Return a model to train: a causal model with a new head, or a reward model (a checkpoint too) that is trained on.

    Args:
        seed: of the head's weights.

    Raises:
        UsageError: it cannot be loaded, or transformers has no classifier of its architecture.
    """
    if any((Path(name) / file).is_file() for file in (RECORD, STATE)):
        return load_classifier(Path(name), device)
    return with_scalar_head(load_model(name, device="cpu", seed=seed), device=device, seed=seed)


def with_scalar_head(causal: LoadedModel, *, device: torch.device | str, seed: int) -> LoadedModel:
    """The body of a causal model under a linear head with one output; torch's global generator stays as it was."""
    config = copy.deepcopy(causal.model.config)
    config.num_labels = 1
    # transformers reads the reward before the padding. Where texts end with the pad token, that would be one token too early; without
    # any it reads the last token, and refuses batches.
    config.pad_token_id = None if causal.pad in causal.ends else causal.pad
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise UsageError(
            f"{type(causal.model).__name__} cannot be a reward model: transformers has no classifier of it"
        ) from error
    model.base_model.load_state_dict(causal.model.base_model.state_dict(), assign=True)
    return LoadedModel(model.to(device).eval(), causal.tokenizer, causal.dtype)  # type: ignore[arg-type]  # transformers wraps `to`


def load_classifier(folder: Path, device: torch.device | str) -> LoadedModel:
    """Return the weights and tokenizer of a reward-model folder or checkpoint, in float32.

    Raises:
        UsageError: they cannot be read, some are missing, or they are not finite.
    """
    model, tokenizer = read_folder(AutoModelForSequenceClassification, str(folder), num_labels=1)
    check_loaded(model, str(folder))
    prepare_tokenizer(tokenizer, str(folder), vocabulary_of(model))
    return LoadedModel(model.to(device).eval(), tokenizer, stored_dtype(str(folder)))  # type: ignore[arg-type]  # transformers wraps `to`


def load_reward_model(folder: str | Path, *, device: torch.device | str = "cpu") -> LoadedRewardModel:
    """Load what the trainer `reward_model` left in `folder`.

    Raises:
        UsageError: the folder holds no reward model.
    """
    path = Path(folder) / RECORD
    try:
        record = Record.model_validate_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise UsageError(
            f"{str(folder)!r} holds no reward model ({RECORD} cannot be read); train one with `r1env train reward_model`"
        ) from error
    return LoadedRewardModel(load_classifier(Path(folder), device), record)


def save_record(folder: Path, record: Record) -> None:
    """Put the record beside the weights."""
    replace_text(folder / RECORD, record.model_dump_json(indent=2) + "\n")


def encode(tokenizer: PreTrainedTokenizerBase, prompt: Conversation, text: str) -> list[int]:
    """Return the token ids of a prompt and the text to be judged, ending with the end-of-sequence token, where the reward is read.

    The prompt goes through the chat template and the text does not: templates of reasoning models cut the thinking out of an
    answer. The text is a policy's, so a special token that it spells out stays text and opens no turn of its own.
    """
    clean = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no tokens
    response = tokenizer(clean, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    end = [tokenizer.eos_token_id] if isinstance(tokenizer.eos_token_id, int) else []
    return [*encode_prompt(tokenizer, prompt, chat=True), *response, *end]


def rewards_of(loaded: LoadedModel, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Return the rewards [B], float32, of token sequences: the head on the hidden state of the last token."""
    ids, lengths = right_pad(sequences, loaded.pad, loaded.device)  # which nothing sees, so no mask is needed
    with autocast(loaded.device):
        whole = loaded.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    hidden = whole[torch.arange(len(ids), device=ids.device), lengths - 1]  # [B, H]
    rewards: Tensor = loaded.model.score(hidden.float()).squeeze(-1)  # type: ignore[operator]
    return rewards


# `RewardModel`: a reward-model folder, ready to score. What the rewards `helpful` and `harmless` call.


class RewardModel:
    """Scores prompts with texts. Not safe to call from two threads at once.

    Args:
        folder: what the `reward_model` trainer left.

    Raises:
        UsageError: it cannot be loaded, or the device is not there.
    """

    def __init__(self, folder: str, device: Device = "auto") -> None:
        model = load_reward_model(folder, device=choose_device(device))
        self._loaded, self._record = model.loaded, model.record
        limit_threads(self._loaded.parameters, None)

    @property
    def reads(self) -> str:
        """What it was trained to see of a completion: `response` or `completion`."""
        return self._record.reads

    def score(self, items: Sequence[tuple[Conversation, str]]) -> list[float | None]:
        """Return a value in [0, 1] for each (prompt, text), in order; None where it is longer than the model was trained to read.

        Pointwise: the probability that the text is safe. Pairwise: σ of the reward, measured in standard deviations from the mean
        of the held-out data.
        """
        scale = self._record
        return [None if r is None else _sigmoid((r - scale.mean) / scale.std) for r in self.rewards(items)]

    @torch.inference_mode()
    def rewards(self, items: Sequence[tuple[Conversation, str]]) -> list[float | None]:
        """Return the rewards as the head gives them, on no scale."""
        limit = self._record.max_length
        encoded = [
            # No tokenizer makes more than one token of four bytes on average out of what is worth reading; this only keeps a
            # megabyte from being tokenised to be refused.
            encode(self._loaded.tokenizer, prompt, text) if len(text) <= MAX_CHARACTERS_PER_TOKEN * limit else None
            for prompt, text in items
        ]
        places = [place for place, ids in enumerate(encoded) if ids is not None and len(ids) <= limit]
        readable = [ids for ids in encoded if ids is not None and len(ids) <= limit]
        found: list[float | None] = [None] * len(items)
        # On a CPU one by one: batches gain nothing there, and a text's reward then does not depend on its company, to the last bit.
        rows = 1 if self._loaded.device.type == "cpu" else None
        for batch in micro_batches([len(ids) for ids in readable], self._loaded.model, rows):
            values = rewards_of(self._loaded, [readable[index] for index in batch]).tolist()
            for index, value in zip(batch, values, strict=True):
                found[places[index]] = value
        return found


MAX_CHARACTERS_PER_TOKEN = 64


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, x))))  # beyond 709 exp overflows
