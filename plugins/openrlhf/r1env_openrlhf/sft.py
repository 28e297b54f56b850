"""`check` and `train` of the trainer `sft` on the backend `openrlhf`, with the contracts of `r1env.trainer.Trainer`.

What a job reads and writes lies in the folder `openrlhf` among the stage's checkpoints:

    data.jsonl, start/              read by the job
    job.json, log.txt               the command, and its output
    metrics.jsonl, checkpoints/     written by the job; `follow` tells the run
    positions.json                  for resuming
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from r1env.errors import UsageError
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env_openrlhf.command import open_micro_batch, optimizer_flags, refuse_linear_floor, refuse_settings, words_of
from r1env_openrlhf.config import JobSpec, OpenRLHFOptions, options_of
from r1env_openrlhf.follow import TuningFollower, newest_checkpoint
from r1env_openrlhf.installation import Installation, look
from r1env_openrlhf.job import Job
from r1env_openrlhf.stage import check_installation, environment_of, follow, keep_model, rewind, start_model
from r1env_trainers.model.load import check_model_name
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import Demonstrations, encode_within, open_demonstrations, prepare, steps_of, waits_for_a_stage


def check(config: SFTConfig) -> None:
    """Find every fault that can be found without training. Asks OpenRLHF's own parser about the command line.

    Raises:
        UsageError: with what to change.
    """
    options = options_of(config)
    check_settings(config, options)
    if not is_stage(config.model):
        check_model_name(config.model)
    if not waits_for_a_stage(config):
        open_demonstrations(config).at(0)
    files = _files(Path("openrlhf"), config.model)
    arguments = arguments_of(config, options, files, steps=config.steps, longest=2, resume=False)
    check_installation(options, look(options.python, MODULE, arguments))


def train(config: SFTConfig, run: Run) -> None:
    """Run OpenRLHF, or go on from its newest checkpoint, and leave the model in `run.model_dir()`.

    Raises:
        UsageError: OpenRLHF is not there, or model or data cannot be used.
        TrainingStoppedError: the job ended before its last step; its newest checkpoint is whole.
    """
    options = options_of(config)
    installation = look(options.python)
    run.note(openrlhf={"python": installation.python, "versions": dict(installation.versions)})
    folder = (run.checkpoint_dir / "openrlhf").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    files = _files(folder, start_model(folder, config.model, config.seed))
    done = newest_checkpoint(files.checkpoints)
    first = rewind(run, folder, done)
    tokenizer = AutoTokenizer.from_pretrained(files.model)
    demonstrations = prepare(open_demonstrations(config), tokenizer, config)
    steps = steps_of(config, demonstrations)
    longest = write_rows(files.data, config, demonstrations, steps, tokenizer)
    arguments = arguments_of(config, options, files, steps=steps, longest=longest, resume=done > 0)
    follower = TuningFollower(run, config.checkpoint.every, folder, first, config.optim.max_bad_steps)
    with Job(installation.interpreter, job_spec(config, installation, arguments), folder) as job:
        follow(job, follower, options.start_seconds)
    keep_model(files.result, run.model_dir())


def job_spec(config: SFTConfig, installation: Installation, arguments: list[str]) -> JobSpec:
    """Return the command and the number of processes that it runs in."""
    return JobSpec(
        module=MODULE,
        arguments=tuple(arguments),
        environment=environment_of(installation, config),
        ranks=options_of(config).gpus,
    )


def _files(folder: Path, model: str) -> Files:
    return Files(model=model, data=folder / "data.jsonl", checkpoints=folder / "checkpoints", result=folder / ".result")


# An `SFTConfig` as the arguments of OpenRLHF's SFT trainer. Pure functions: settings in, words out.

MODULE = "openrlhf.cli.train_sft"

NO_COUNTERPART = frozenset(
    {
        *(
            "memory_gb",
            "gradient_checkpointing",
            "optim.name",
            "optim.micro_batch_tokens",
            "optim.max_grad_ratio",
            "checkpoint.dtype",
            "lora",
        ),
        *("eval.every", "eval.data", "eval.stop_accuracy"),
    }
)
"""Settings that OpenRLHF cannot follow, or would measure otherwise: refused unless they are left at their defaults."""

PROMPT, RESPONSE = "prompt", "response"
"""Fields of a row of the data file."""

SPARE_TOKENS = 3
"""OpenRLHF leaves a row out, and says nothing, when its prompt alone comes so close to the limit."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the job finds and leaves things.

    Attributes:
        model: the folder or hub name to start from.
        data: the file of demonstrations.
        checkpoints, result: folders that OpenRLHF writes.
    """

    model: str
    data: Path
    checkpoints: Path
    result: Path


def check_settings(config: SFTConfig, options: OpenRLHFOptions) -> None:
    """Raise UsageError for a setting that OpenRLHF has no counterpart for; leaving it out would train something else.

    Raises:
        UsageError: names the setting.
    """
    refuse_settings(config, NO_COUNTERPART)
    refuse_linear_floor(config)
    if any("lora" in word for word in options.extra):
        raise UsageError(
            "with LoRA OpenRLHF leaves an adapter without a model, from which no later stage can start: train all weights"
        )
    if options.packing and options.attention != "flash_attention_2":
        raise UsageError("openrlhf.packing needs openrlhf.attention=flash_attention_2, and flash-attn installed")
    if options.nodes > 1 or options.ray_address is not None:
        raise UsageError(
            "backend=openrlhf of sft runs on the GPUs of one machine: leave openrlhf.nodes and openrlhf.ray_address out"
        )
    if config.optim.batch_size % (micro_batch(config) * options.gpus):
        raise UsageError(
            f"batches of {config.optim.batch_size} do not divide into micro-batches of {micro_batch(config)} on {options.gpus} GPUs; "
            "change optim.batch_size or optim.micro_batch_size"
        )


def micro_batch(config: SFTConfig) -> int:
    """Return the number of sequences in a forward pass."""
    if config.optim.micro_batch_size is not None:
        return config.optim.micro_batch_size
    return open_micro_batch(config.optim.batch_size // options_of(config).gpus)


def arguments_of(
    config: SFTConfig, options: OpenRLHFOptions, files: Files, *, steps: int, longest: int, resume: bool
) -> list[str]:
    """Return the arguments of `python -m openrlhf.cli.train_sft`.

    Args:
        steps: optimizer steps; the data file has a batch for each.
        longest: of the demonstrations, in tokens.
        resume: go on from the newest checkpoint.
    """
    flags: dict[str, Any] = {
        "model.model_name_or_path": files.model,
        "model.gradient_checkpointing_enable": options.gradient_checkpointing,
        "data.dataset": files.data,
        "data.input_key": PROMPT,
        "data.output_key": RESPONSE,
        "data.input_template": "{}",
        "data.max_len": longest + SPARE_TOKENS,
        "data.max_samples": steps * config.optim.batch_size,
        "train.batch_size": config.optim.batch_size,
        "train.micro_batch_size": micro_batch(config),
        "train.max_epochs": 1,
        "train.seed": config.seed,
        **optimizer_flags(config, updates=steps),
        "ds.zero_stage": options.zero_stage,
        "ds.adam_offload": options.adam_offload,
        "ds.attn_implementation": options.attention,
        "ds.packing_samples": options.packing,
        "ckpt.path": files.checkpoints,
        "ckpt.output_dir": files.result,
        "ckpt.save_steps": config.checkpoint.every or -1,
        "ckpt.max_num": options.keep_checkpoints,
        "ckpt.load_enable": resume,
    }
    return [*words_of(flags), *options.extra]


# The data file of OpenRLHF's SFT trainer: a demonstration a line, a batch for every step.


def write_rows(
    path: Path, config: SFTConfig, demonstrations: Demonstrations, steps: int, tokenizer: PreTrainedTokenizerBase
) -> int:
    """Write the demonstrations that the backend `local` would learn in so many steps; returns the longest, in tokens.

    Raises:
        UsageError: OpenRLHF would learn other tokens than these: it joins prompt and response before it cuts them into tokens.
    """
    if tokenizer.eos_token is None:
        raise UsageError("backend=openrlhf needs a tokenizer with an end-of-sequence token, which ends every response")
    longest = 0
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        for position in range(steps * config.optim.batch_size):
            demonstration = demonstrations.at(position)
            encoded = encode_within(demonstration, tokenizer, config)
            if encoded.response[-1:] != [tokenizer.eos_token_id]:
                raise UsageError(
                    f"OpenRLHF ends every response with the tokenizer's {tokenizer.eos_token}, and {demonstration.where} ends with "
                    f"{tokenizer.decode(encoded.response[-1:])!r}: make that the tokenizer's eos_token, or use backend=local"
                )
            prompt, response = str(tokenizer.decode(encoded.prompt)), str(tokenizer.decode(encoded.response))
            joined = tokenizer(prompt + response, add_special_tokens=False)["input_ids"]
            if not encoded.prompt or joined != [*encoded.prompt, *encoded.response]:
                raise UsageError(
                    f"OpenRLHF would cut a demonstration into other tokens where its prompt ends ({prompt[-40:]!r}) and its response "
                    f"begins ({response[:40]!r}): end prompts with a line break, or use backend=local"
                )
            longest = max(longest, len(joined))
            file.write(json.dumps({PROMPT: prompt, RESPONSE: response}) + "\n")
    partial.replace(path)
    return longest
