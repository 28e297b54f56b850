"""The engine `vllm`: a vLLM in this process, which is the faster choice for large models."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from r1env.engines import SamplingParams
from r1env.errors import EngineError, UsageError
from r1env_trainers.generate.cache import graph_sizes
from r1env_trainers.generate.engine import LocalEngine, OnSamples, Samples, rooms
from r1env_trainers.generate.options import VLLMOptions
from r1env_trainers.model.llama import compute_dtype
from r1env_trainers.model.load import NAMED, LoadedModel, check_model_name, choose_device, end_tokens, load_model, never_drawn
from r1env_trainers.model.lora import merged_parameters

EVALUATION_SHARE = 0.9
"""Share of the GPU's memory where there is no trainer beside."""


def make_vllm(model: str, *, seed: int = 0, **options: Any) -> LocalEngine:
    """Return the entry of the engine plugin.

    Args:
        options: fields of `VLLMOptions`.
    """
    check_model_name(model)
    try:
        settings = VLLMOptions(**{"gpu_memory_utilization": EVALUATION_SHARE, **options})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsageError(f"options of the engine 'vllm': {wrong}") from error
    if settings.sleep:
        raise UsageError("the engine 'vllm' sleeps beside a trainer only; leave the option 'sleep' out")
    if model in NAMED:  # not a folder that vLLM could read
        return LocalEngine(sampler_beside(load_model(model, device=choose_device("auto"), seed=seed), settings, seed))
    return LocalEngine(sampler_of_folder(model, settings, seed))


# The sampler: vLLM's completions as `Samples`; beside a trainer, with the newest weights.

INSTALL = "pip install 'r1env-trainers[vllm]'"
SEEDS = 2**62
"""vLLM stores a seed in 64 bits, signed, and gives completion k of a prompt the seed + k."""


LEAST_BIAS = -100.0
"""The lowest bias of a logit that vLLM takes; e**-100 of a token's probability is none in float32."""


class VLLMSampler:
    """Draws completions with vLLM. Every row has its own seed, so it depends on no other row but for rounding.

    Attributes:
        tokenizer: of the model.
        max_length: tokens of prompt and completion together.
    """

    def __init__(
        self,
        llm: Any,
        tokenizer: PreTrainedTokenizerBase,
        ends: Sequence[int],
        device: torch.device,
        source: PreTrainedModel | None = None,
        *,
        sleep: bool = False,
    ) -> None:
        """
        Args:
            llm: a `vllm.LLM`.
            ends: the tokens that end a completion.
            device: where samples are put.
            source: the module whose weights are copied into vLLM's before each batch; None where they never change.
            sleep: free vLLM's memory between batches; needs a `source`, since its weights are freed as well.
        """
        self.tokenizer = tokenizer
        self.max_length: int | None = llm.llm_engine.model_config.max_model_len
        self._llm = llm
        self._ends = list(ends)
        forbidden = never_drawn(tokenizer, ends)
        self._bias = None if forbidden is None else {forbidden: LEAST_BIAS}
        self._device = device
        self._source = source
        self._sleep = sleep
        if sleep:
            llm.sleep(level=2)

    def sample(self, prompts: Sequence[Sequence[int]], params: SamplingParams, on_finished: OnSamples | None = None) -> Samples:
        """Like `Sampler.sample`, but all rows are reported at the end.

        Raises:
            UsageError: min_p and top_p are both asked for, which vLLM applies in another order than r1env.
        """
        import vllm  # type: ignore[import-not-found,unused-ignore]

        if params.min_p > 0 and params.top_p < 1:
            raise UsageError(
                "the engine 'vllm' applies min_p before top_p, r1env after it; give one of them, or another engine"
            )

        limits = rooms(prompts, params, self.max_length)
        self._wake()
        wanted = [
            vllm.SamplingParams(
                n=params.n,
                max_tokens=limit,
                temperature=params.temperature,
                top_k=params.top_k,
                top_p=params.top_p,
                min_p=params.min_p,
                repetition_penalty=params.repetition_penalty,
                logit_bias=self._bias,
                stop=list(params.stop) or None,
                include_stop_str_in_output=True,
                detokenize=bool(params.stop),  # only stop texts need vLLM's own texts
                stop_token_ids=[] if params.ignore_eos else self._ends,
                ignore_eos=True,  # the end tokens are listed above instead
                logprobs=0,  # of the drawn token alone
                flat_logprobs=True,
                seed=(params.seed + place * params.n) % SEEDS,
            )
            for place, limit in enumerate(limits)
        ]
        try:
            outputs = self._llm.generate([{"prompt_token_ids": list(prompt)} for prompt in prompts], wanted, use_tqdm=False)
        except ValueError as error:
            raise EngineError(f"vLLM refuses a prompt: {error}") from error
        if self._sleep:
            self._llm.sleep(level=2)
        samples = as_samples(outputs, self._pad, self._device)
        if on_finished is not None:
            on_finished(range(len(samples.ids)), samples)
        return samples

    def close(self) -> None:
        """Drop vLLM; its memory is freed once nothing else refers to it."""
        self._llm = None

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return pad if isinstance(pad, int) else 0

    def _wake(self) -> None:
        """Copy the weights of the source, and drop the prefix cache, which was computed with the old ones."""
        if self._sleep:
            self._llm.wake_up(tags=["weights"])
        if self._source is not None:
            source = self._source
            self._llm.apply_model(lambda model: model.load_weights(merged_parameters(source)))
        if self._sleep:
            self._llm.wake_up(tags=["kv_cache"])
        if self._source is not None:
            self._llm.reset_prefix_cache()


def as_samples(outputs: Sequence[Any], pad: int, device: torch.device) -> Samples:
    """Return vLLM's `RequestOutput`s, one per prompt, as one batch in prompt-major order."""
    rows = [row for output in outputs for row in sorted(output.outputs, key=lambda row: row.index)]
    longest = max(len(row.token_ids) for row in rows)

    def padded(values: Sequence[Any], fill: float) -> list[Any]:
        return [*values, *[fill] * (longest - len(values))]

    return Samples(
        torch.tensor([padded(row.token_ids, pad) for row in rows]).to(device),
        torch.tensor([padded([1.0] * len(row.token_ids), 0.0) for row in rows]).to(device),
        torch.tensor([padded(_drawn_logprobs(row.logprobs), 0.0) for row in rows], dtype=torch.float32).to(device),
        torch.tensor([row.finish_reason == "stop" for row in rows]).to(device),
    )


def sampler_of_folder(model: str, options: VLLMOptions, seed: int) -> VLLMSampler:
    """Return a sampler for a model folder or hub name, whose weights vLLM reads itself."""
    llm = start_vllm(model, options, seed)
    tokenizer = llm.get_tokenizer()
    configured = llm.llm_engine.model_config.try_get_generation_config().get("eos_token_id")
    return VLLMSampler(llm, tokenizer, end_tokens(tokenizer, configured), torch.device("cpu"))


def sampler_beside(loaded: LoadedModel, options: VLLMOptions, seed: int) -> VLLMSampler:
    """Return a sampler that follows the weights of a model in this process."""
    with tempfile.TemporaryDirectory() as folder:  # configuration and tokenizer only: the weights are copied later
        loaded.model.config.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        llm = start_vllm(folder, options, seed, load_format="dummy")
    return VLLMSampler(llm, loaded.tokenizer, loaded.ends, loaded.device, loaded.model, sleep=options.sleep)


def check_installed() -> None:
    """Refuse where vLLM cannot be imported; imports nothing.

    Raises:
        UsageError: names the remedy.
    """
    if importlib.util.find_spec("vllm") is None:
        raise UsageError(f"the engine 'vllm' needs the package vllm: {INSTALL}")


def start_vllm(model: str, options: VLLMOptions, seed: int, **more: Any) -> Any:
    """Start a `vllm.LLM` whose engine runs in this process, so that its weights can be replaced.

    Raises:
        UsageError: vLLM is not installed.
        EngineError: it does not start, usually for lack of memory.
    """
    check_installed()
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # read when an LLM is made
    from vllm import LLM

    arguments: dict[str, Any] = {
        "dtype": str(compute_dtype(choose_device("auto"))).removeprefix("torch."),
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "max_num_seqs": options.max_num_seqs,
        "max_model_len": options.max_model_len,
        "enforce_eager": options.enforce_eager,
        "enable_sleep_mode": options.sleep,
        "logprobs_mode": "processed_logprobs",  # of the distribution sampled from: after temperature and top-p
        "seed": seed,
    }
    if not options.enforce_eager:  # by default vLLM makes graphs for up to 512 rows and runs larger batches without
        arguments["compilation_config"] = {"cudagraph_capture_sizes": graph_sizes(options.max_num_seqs)}
    try:
        return LLM(model, **arguments | more | options.further)
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"vLLM does not start: {error}") from error


def _drawn_logprobs(flat: Any) -> list[float]:
    """Return the log-prob of each drawn token from vLLM's `FlatLogprobs`, where it comes first at its position."""
    return [flat.logprobs[start] for start in flat.start_indices]
