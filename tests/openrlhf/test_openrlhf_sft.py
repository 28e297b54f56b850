"""SFT through OpenRLHF: settings as arguments that the installed release takes, the data file, the metrics of its trainer."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1env.config import list_settings
from r1env.errors import UsageError
from r1env.recipes import plan_training
from r1env_openrlhf.config import options_of
from r1env_openrlhf.hooks import METRICS, MetricsFile
from r1env_openrlhf.installation import Installation
from r1env_openrlhf.probe import complaint_of, installed_parser
from r1env_openrlhf.rank import log_steps
from r1env_openrlhf.sft import MODULE, Files, arguments_of, check_settings, job_spec, write_rows
from r1env_trainers.model.tiny import build_tokenizer
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import FileDemonstrations, open_demonstrations
from r1env_trainers.sft.render import Demonstration, encode

needs_openrlhf = pytest.mark.skipif(importlib.util.find_spec("openrlhf") is None, reason="OpenRLHF is not installed")

TOKENIZER = build_tokenizer()
NEED = {
    **{"model": "tiny", "env": "sort-4", "env_options": {"style": "compact"}, "steps": 20, "optim.batch_size": 8},
    **{"demonstrator": "r1env_logic.demonstrators:shuffled_digits"},
}
FILES = Files(model="start", data=Path("job/data.jsonl"), checkpoints=Path("job/checkpoints"), result=Path("job/.result"))


def config_of(**settings) -> SFTConfig:
    options = settings.pop("backend_options", {})
    return SFTConfig(**{**NEED, "backend": "openrlhf", "backend_options": options, **settings})


def compiled(config: SFTConfig, *, resume: bool = False) -> list[str]:
    check_settings(config, options_of(config))
    return arguments_of(config, options_of(config), FILES, steps=config.steps, longest=40, resume=resume)


@needs_openrlhf
@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"device": "cpu", "optim.lr_schedule": "linear", "optim.min_lr_ratio": 0.0},
        {
            "optim.lr_schedule": "constant",
            "optim.batch_size": 64,
            "backend_options": {"gpus": 8, "zero_stage": 3, "adam_offload": True},
        },
        {"backend_options": {"attention": "flash_attention_2", "packing": True, "gradient_checkpointing": True}},
    ],
)
def test_the_installed_release_takes_the_arguments(settings, resume):
    assert complaint_of(installed_parser(MODULE), compiled(config_of(**settings), resume=resume)) is None


ELSEWHERE = {
    # the data file
    *(
        "env",
        "env_options",
        "hold_out",
        "template",
        "mixture",
        "demonstrator",
        "data",
        "train_on",
        "epochs",
        "max_length",
        "too_long",
        "columns",
        "preflight.mode",
        "preflight.max_faulty",
        "preflight.tasks",
        "model",
    ),
    # only with a setting that is refused
    *("eval.env", "eval.template", "eval.env_options", "eval.limit", "eval.temperature", "eval.max_new_tokens", "eval.samples"),
    # the job's environment, and the process that trains here, which there is none of
    *("device", "threads", "backend", "backend_options", "optim.dither", "optim.max_bad_steps"),
}
CHANGED = {
    "memory_gb": 3.0,
    "gradient_checkpointing": True,
    "optim.name": "adamw8bit",
    **{
        "seed": 3,
        "steps": 21,
        "optim.batch_size": 16,
        "optim.micro_batch_size": 2,
        "optim.micro_batch_tokens": 64,
        "optim.lr": 1e-3,
        "optim.min_lr_ratio": 0.5,
    },
    **{
        "optim.lr_schedule": "constant",
        "optim.warmup_steps": 3,
        "optim.betas": (0.8, 0.9),
        "optim.weight_decay": 0.1,
        "optim.max_grad_norm": 2.0,
        "optim.max_grad_ratio": 50.0,
    },
    **{
        "checkpoint.every": 7,
        "checkpoint.dtype": "float32",
        **{"lora.rank": 8, "lora.alpha": 8, "lora.target_modules": "q_proj", "lora.merge": False},
        "eval.every": 5,
        "eval.data": "held-out.jsonl",
        "eval.stop_accuracy": 0.5,
    },
}


@pytest.mark.parametrize("name", [one.path for one in list_settings(SFTConfig) if one.path not in ELSEWHERE])
def test_every_setting_reaches_openrlhf_or_is_refused(name):
    also = {"eval.data": {"eval.every": 5}, "eval.stop_accuracy": {"eval.every": 5}}
    try:
        after = compiled(config_of(**{**also.get(name, {}), name: CHANGED[name]}))
    except UsageError as error:
        assert name in str(error) or "eval.every" in str(error)  # noqa: PT017 - either is fine, silence is not
    else:
        assert after != compiled(config_of())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"backend_options": {"extra": ("--ds.lora.rank", "8")}}, "adapter without a model"),
        ({"backend_options": {"packing": True}}, "flash_attention_2"),
        ({"backend_options": {"nodes": 2}}, "one machine"),
        ({"backend_options": {"ray_address": "auto"}}, "one machine"),
        ({"backend_options": {"gpus": 3}}, "batch_size"),
        ({"optim.lr_schedule": "linear", "optim.min_lr_ratio": 0.1}, "min_lr_ratio=0"),
    ],
)
def test_what_openrlhf_cannot_do_is_refused_with_the_setting_to_change(settings, named):
    with pytest.raises(UsageError, match=named):
        compiled(config_of(**settings))


def test_gpus_are_processes_that_torch_starts():
    installation = Installation(interpreter="/opt/python", python="3.11.0", versions={"flash_attn": None})
    spec = job_spec(config_of(backend_options={"gpus": 4}), installation, ["--a"])
    assert (spec.module, spec.arguments, spec.ranks) == (MODULE, ("--a",), 4)


def test_the_data_file_holds_what_the_local_backend_learns_token_for_token(tmp_path):
    config = config_of()
    demonstrations = open_demonstrations(config)
    longest = write_rows(tmp_path / "data.jsonl", config, demonstrations, 3, TOKENIZER)
    rows = [json.loads(line) for line in (tmp_path / "data.jsonl").read_text().splitlines()]
    assert len(rows) == 3 * config.optim.batch_size
    lengths = []
    for position, row in enumerate(rows):
        expected = encode(demonstrations.at(position), TOKENIZER)
        assert TOKENIZER(row["prompt"], add_special_tokens=False)["input_ids"] == expected.prompt
        joined = TOKENIZER(row["prompt"] + row["response"], add_special_tokens=False)["input_ids"]
        assert joined == expected.prompt + expected.response
        lengths.append(len(expected))
    assert longest == max(lengths)


class PairTokenizer:
    """Takes two letters for one token, wherever they stand together."""

    bos_token, eos_token, eos_token_id, chat_template, unk_token_id, all_special_ids = None, "</s>", 0, None, None, (0,)

    def convert_tokens_to_ids(self, token):
        return None

    def __call__(self, text, **_):
        return {"input_ids": [hash(text[place : place + 2]) for place in range(0, len(text), 2)]}

    def decode(self, ids):
        return "abc"


def test_a_prompt_and_a_response_that_grow_together_are_refused(tmp_path):
    demonstrations = FileDemonstrations(
        [Demonstration(({"role": "user", "content": "abc"},), {"role": "assistant", "content": "def"}, chat=False)], seed=0
    )
    with pytest.raises(UsageError, match="where its prompt ends"):
        write_rows(tmp_path / "data.jsonl", config_of(optim={"batch_size": 1}), demonstrations, 1, PairTokenizer())
    assert not (tmp_path / "data.jsonl").exists()


@dataclass
class Trainer:
    """Has the method of OpenRLHF's SFT trainer that is called after every step."""

    saved: list

    def save_logs_and_checkpoints(self, args, global_step, step_bar, logs_dict=None, client_states=None):
        self.saved.append((global_step, (Path(args) / METRICS).read_text()))


def test_the_metrics_of_a_step_are_in_the_file_before_its_checkpoint(tmp_path):
    module = SimpleNamespace(SFTTrainer=type("Patched", (Trainer,), {}))
    log_steps(module, MetricsFile(tmp_path))
    trainer = module.SFTTrainer([])
    for step in (1, 2):
        trainer.save_logs_and_checkpoints(tmp_path, step, None, {"loss_mean": 0.5}, {})
    for step, text in trainer.saved:
        row = json.loads(text.splitlines()[step - 1])
        assert (row["step"], row["metrics"]["loss_mean"], len(text.splitlines())) == (step, 0.5, step)


def test_the_backend_of_a_recipe_is_the_rl_stages_and_sft_is_asked_by_name():
    common = {"backend": "openrlhf"}
    backends = {stage.name: stage.config.get("backend") for stage in plan_training("r1-zero", common=common).stages}
    assert backends == {"base": "local", "rl": "openrlhf"}
    named = plan_training("r1-zero", common=common, overrides={"base": {"backend": "openrlhf"}})
    assert {stage.config["backend"] for stage in named.stages} == {"openrlhf"}
    (alone,) = plan_training("sft", preset="tiny-cpu", common=common).stages
    assert alone.config["backend"] == "openrlhf"
