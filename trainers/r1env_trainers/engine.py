"""The engine `transformers`: completions from a local model, for evaluation and sampling."""

from __future__ import annotations

from collections.abc import Sequence

from r1env.engines import Sampling
from r1env.types import Completion, Conversation, FinishReason
from r1env_trainers.devices import Device, choose_device, limit_threads
from r1env_trainers.models.load import LoadedModel, load_model
from r1env_trainers.prompts import encode_prompt
from r1env_trainers.sampling import Sampler, Samples

MAX_ROWS = {"cpu": 256, "cuda": 1024}
"""Completions of a batch unless said otherwise: as many as keep the device busy."""


class TransformersEngine:
    """Batched decoding with a model in this process.

    Attributes:
        sampler: decodes at most `max_rows` completions at once, if that is given.
        batch_rows: completions of a batch; each batch has its own seed.
    """

    def __init__(self, loaded: LoadedModel, max_rows: int | None = None) -> None:
        self.loaded = loaded
        self.sampler = Sampler(loaded, max_rows)
        usual = MAX_ROWS[loaded.device.type]
        self.batch_rows = max(usual, max_rows or 0) if loaded.device.type == "cuda" else max_rows or usual

    def generate(self, prompts: Sequence[Conversation], sampling: Sampling) -> list[list[Completion]]:
        encoded = [encode_prompt(self.loaded.tokenizer, prompt, chat=sampling.chat) for prompt in prompts]
        per_batch = max(1, self.batch_rows // sampling.n)
        completions: list[list[Completion]] = []
        for start in range(0, len(encoded), per_batch):
            samples = self.sampler.sample(
                encoded[start : start + per_batch],
                n=sampling.n,
                max_new_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                stop=sampling.stop,
                seed=sampling.seed + start,
            )
            rows = as_completions(samples, self.sampler.decode(samples))
            completions += [rows[i : i + sampling.n] for i in range(0, len(rows), sampling.n)]
        return completions

    def close(self) -> None:
        """Nothing but memory is held."""


def as_completions(samples: Samples, texts: Sequence[str]) -> list[Completion]:
    """One `Completion` a row of `samples`."""
    lengths = samples.mask.sum(dim=1).long().tolist()
    rows = zip(texts, samples.ids.tolist(), samples.logprobs.tolist(), lengths, samples.finished.tolist(), strict=True)
    return [
        Completion(
            text=text,
            finish_reason=FinishReason.STOP if finished else FinishReason.LENGTH,
            token_ids=tuple(ids[:length]),
            logprobs=tuple(logprobs[:length]),
        )
        for text, ids, logprobs, length, finished in rows
    ]


def make_transformers(model: str, *, device: Device = "auto", max_rows: int | None = None, seed: int = 0) -> TransformersEngine:
    """The entry of the engine plugin."""
    loaded = load_model(model, device=choose_device(device), seed=seed)
    limit_threads(loaded.parameters, None)
    return TransformersEngine(loaded, max_rows)
