"""TRL's GRPOTrainer beside ours on one CPU thread: CPU seconds of a step, both trainers whole and as shipped.

    python benchmarks/grpo_vs_trl.py [--models tiny,10m] [--rounds 3] [--steps 4] [--micro-batch 8]

Both start from one folder with random weights, see the same prompts (two-digit sums, 64 tokens) under the same reward, draw exactly
`--new-tokens` tokens a completion (no token can end one), and take one AdamW step a batch: token-mean loss clipped at 0.2/0.28,
advantages without the deviation, no KL, float32, sequences a forward pass alike. A step is all between two steps' ends: tasks, generation,
rewards, update, logging. Trainers take turns, a round of steps each, so that both meet the machine's other work; the first step of
each turn is not counted. The ratio is that of the rounds' medians.

What stays unlike:

    TRL     also takes the entropy of every token, for its log; its head goes over prompt tokens too where there is no Triton; it runs
            every prompt once for each completion; it draws with `generate`
    r1env   runs a prompt once for all its completions in a forward pass; with its defaults, the entropy is estimated from the sampled
            log-probs, and the distance between sampler and trainer is logged; `with entropies` takes them exactly too, and their
            gradients, which TRL does not
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig as TRLConfig
from trl.trainer.grpo_trainer import GRPOTrainer as TRLTrainer

from r1env.adapters.trl import reward_function
from r1env.envs.suite import make_suite
from r1env.rewards import reward
from r1env.rubrics import RubricSpec
from r1env.runs.run import Run, StepEvent
from r1env_trainers.model.tiny import CHARACTERS, CONTEXT, build_tokenizer
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import draw_tasks
from r1env_trainers.rl.trainer import GRPOTrainer

SHAPES = {  # hidden, feed-forward, layers, heads, the least vocabulary
    "tiny": (128, 352, 2, 4, 0),
    "10m": (320, 864, 6, 5, 8192),
}
ENV, TEMPLATE = "add-2digit", "plain"
RATE = 1e-6


@dataclass(frozen=True, slots=True)
class Turn:
    """What one round of one trainer took.

    Attributes:
        cpu_seconds, wall_seconds: of each step but the first.
        generating: the share of the wall time that generation took.
        tokens: drawn in each of these steps.
    """

    cpu_seconds: Sequence[float]
    wall_seconds: Sequence[float]
    generating: float
    tokens: Sequence[int]


Trainer = Callable[[Path, argparse.Namespace], Turn]
"""Takes the model's folder; makes `--steps` steps after one that is not counted."""


@reward(name="parity")
def parity(completion: str) -> float:
    """Something that differs within every group, so that every row has a gradient."""
    return float(sum(map(ord, completion)) % 17)


RUBRIC = RubricSpec.model_validate({"name": "parity", "rewards": [{"reward": f"{__name__}:parity"}]})


class Stopwatch:
    """The clocks at the end of each step, and the generation in it."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []
        self.generation: list[float] = []
        self.tokens: list[int] = []

    def step_ended(self, generation: float, tokens: int) -> None:
        self.cpu.append(time.process_time())
        self.wall.append(time.perf_counter())
        self.generation.append(generation)
        self.tokens.append(tokens)

    def turn(self) -> Turn:
        wall = _differences(self.wall)
        return Turn(_differences(self.cpu), wall, sum(self.generation[1:]) / sum(wall), self.tokens[1:])


def save_model(shape: str, folder: Path) -> LlamaForCausalLM:
    """Random weights and their tokenizer, whose end-of-sequence token the model cannot draw."""
    hidden, feed_forward, layers, heads, vocabulary = SHAPES[shape]
    further = vocabulary - len(build_tokenizer())
    tokenizer = build_tokenizer(CHARACTERS + "".join(chr(0x4E00 + i) for i in range(further)))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=None,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    tokenizer.add_special_tokens({"eos_token": "<never>"})  # its id is one past the model's vocabulary
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def ours(folder: Path, arguments: argparse.Namespace, **settings: Any) -> Turn:
    watch = Stopwatch()

    def listen(event: StepEvent) -> None:
        watch.step_ended(event.metrics["seconds/generate"], int(event.metrics["tokens/sampled"]))

    config = GRPOConfig.model_validate(
        {
            "model": str(folder),
            "env": ENV,
            "template": TEMPLATE,
            "rubric": RUBRIC,
            "steps": 1 + arguments.steps,
            "sampling.prompts_per_step": arguments.prompts,
            "sampling.group_size": arguments.group,
            "sampling.max_new_tokens": arguments.new_tokens,
            "optim": {"micro_batch_size": arguments.micro_batch, "lr": RATE},
            "device": "cpu",
            "threads": 1,
            **settings,
        }
    )
    with tempfile.TemporaryDirectory() as output:
        run = Run.create(Path(output) / "run", {}, seed=0)
        run.subscribe(listen)
        run.start_stage("grpo")
        GRPOTrainer().train(config, run)
    return watch.turn()


def ours_with_entropies(folder: Path, arguments: argparse.Namespace) -> Turn:
    return ours(folder, arguments, **{"algo.entropy_coef": 1e-9})


def theirs(folder: Path, arguments: argparse.Namespace) -> Turn:
    watch = Stopwatch()
    steps, rows = 1 + arguments.steps, arguments.prompts * arguments.group
    tasks = draw_tasks(make_suite(ENV, rubric=RUBRIC, template=TEMPLATE), 0, steps * arguments.prompts, seed=0).tasks
    prompts = [{"prompt": environment.open(task).messages[-1]["content"]} for environment, task in tasks]
    with tempfile.TemporaryDirectory() as output, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = TRLTrainer(
            model=str(folder),
            reward_funcs=reward_function(RUBRIC),
            train_dataset=Dataset.from_list(prompts),
            args=TRLConfig(
                output_dir=output,
                max_steps=steps,
                per_device_train_batch_size=arguments.micro_batch,
                gradient_accumulation_steps=rows // arguments.micro_batch,
                num_generations=arguments.group,
                max_completion_length=arguments.new_tokens,
                scale_rewards="none",
                epsilon_high=0.28,
                learning_rate=RATE,
                adam_beta2=0.95,
                model_init_kwargs={"dtype": "float32"},
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                dataloader_pin_memory=False,
                shuffle_dataset=False,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            ),
        )
        trainer.remove_callback(PrinterCallback)
        _watch(trainer, watch)
        trainer.train()
    return watch.turn()


def _watch(trainer: Any, watch: Stopwatch) -> None:
    """Note the end of each of TRL's steps, and the generation in it."""
    generate = trainer._generate_single_turn
    last: dict[str, Any] = {}

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        drawn = generate(*args, **kwargs)
        last.update(seconds=time.perf_counter() - start, tokens=sum(map(len, drawn[0])))
        return drawn

    class StepEnds(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            watch.step_ended(last["seconds"], last["tokens"])

    trainer._generate_single_turn = timed
    trainer.add_callback(StepEnds())


TRAINERS: dict[str, Trainer] = {"TRL": theirs, "r1env": ours, "r1env, with entropies": ours_with_entropies}


def _differences(values: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(values)]


def compare(shape: str, arguments: argparse.Namespace) -> str:
    """The table of one model."""
    expected = arguments.prompts * arguments.group * arguments.new_tokens
    turns: dict[str, list[Turn]] = {name: [] for name in TRAINERS}
    with tempfile.TemporaryDirectory() as name:
        model = save_model(shape, Path(name))
        for _ in range(arguments.rounds):
            for trainer, train in TRAINERS.items():
                turn = train(Path(name), arguments)
                if set(turn.tokens) != {expected}:
                    sys.exit(f"{trainer} drew {turn.tokens} tokens in its steps, not {expected}: the steps cannot be compared")
                turns[trainer].append(turn)
    medians = {trainer: [statistics.median(turn.cpu_seconds) for turn in done] for trainer, done in turns.items()}
    lines = [
        f"{shape}: {model.num_parameters():,} parameters, vocabulary {model.config.vocab_size:,}\n",
        "| | CPU s a step, median | of rounds | wall s | generation | TRL / this | of rounds |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for trainer, done in turns.items():
        mine = medians[trainer]
        ratios = [theirs / here for theirs, here in zip(medians["TRL"], mine, strict=True)]
        wall = statistics.median(seconds for turn in done for seconds in turn.wall_seconds)
        share = statistics.median(turn.generating for turn in done)
        lines.append(
            f"| {trainer} | {statistics.median(mine):.3f} | {min(mine):.3f} to {max(mine):.3f} | {wall:.2f} | {share:.0%} "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="tiny,10m", help="by commas (default: tiny,10m)")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group", type=int, default=8, help="completions a prompt")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument(
        "--micro-batch", type=int, default=8, help="sequences a forward pass of the update; the default of both"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="of each trainer in a round, after one that is not counted")
    arguments = parser.parse_args()
    models = arguments.models.split(",")
    if unknown := set(models) - set(SHAPES):
        parser.error(f"--models: {', '.join(sorted(unknown))} is none of {', '.join(SHAPES)}")
    if arguments.prompts * arguments.group % arguments.micro_batch:
        parser.error(f"--micro-batch {arguments.micro_batch} does not divide {arguments.prompts * arguments.group} completions")
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(
        f"{platform.machine()} CPU, one thread, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"TRL {trl.__version__}\n{arguments.prompts} prompts x {arguments.group} completions of {arguments.new_tokens} tokens, "
        f"{arguments.micro_batch} sequences a forward pass; {arguments.rounds} rounds of {arguments.steps} steps"
    )
    for model in models:
        print("\n" + compare(model, arguments), flush=True)


if __name__ == "__main__":
    main()
