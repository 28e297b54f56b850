"""R1-Zero in one file: a base model learns to sort four digits from a rule reward alone, on one CPU core.

    python examples/grpo_minimal.py --steps 125

To be read beside DeepSeek-R1 (arXiv 2501.12948, section 2.2) and DeepSeekMath (arXiv 2402.03300, section 4.1): `train` below is the
inner loop of DeepSeekMath's algorithm 1. It takes tasks and rewards from r1env and everything else from torch and transformers. With
the same settings `r1env train grpo` arrives at the same numbers (tests/trainers/test_grpo_minimal.py compares them). What that adds is
listed in docs/grpo.md: checkpoints, dialogues, other advantages and losses, a KL term, engines that sample faster, reports.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

import r1env
from r1env.engines import derive_seed
from r1env.rubrics import RewardChoice, RubricSpec
from r1env_logic.demonstrators import shuffled_digits
from r1env_trainers.model.load import load_model

# Accuracy is the environment's own checker. `format` pays a tenth for the tags; the model has no room to think, so that may be empty.
REWARDS = RubricSpec(
    name="zero",
    rewards=(
        RewardChoice(reward="accuracy"),
        RewardChoice(reward="format", weight=0.1, options={"empty_thinking": True}),
    ),
)


@dataclass(frozen=True)
class Settings:
    """The defaults are those of `r1env train grpo --preset tiny-cpu`, with two optimizer steps for each batch of rollouts."""

    steps: int = 125
    prompts_per_step: int = 16
    group_size: int = 16
    mini_batches: int = 2  # optimizer steps per batch; in the second the policy is no longer the one that sampled
    max_new_tokens: int = 12
    clip: float = 0.2
    lr: float = 1e-4
    warmup_steps: int = 10  # optimizer steps over which the learning rate grows from 0
    grad_clip: float = 1.0
    seed: int = 0


def train(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Settings) -> Iterator[dict[str, float]]:
    """Train the model in place; yield the metrics of each step.

    Shapes: P prompts, n completions of each, B = P * n rows, L tokens of a prompt, T of a completion.
    """
    environment = r1env.make_environment("sort-4", style="compact", rubric=REWARDS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.0)
    count, n = settings.prompts_per_step, settings.group_size

    for step in range(settings.steps):
        # Sample a group of n completions for each task.
        tasks = [environment.task(step * count + i, settings.seed) for i in range(count)]
        prompts = encode(environment, tokenizer, tasks).repeat_interleave(n, dim=0)  # [B, L]
        completions, mask = sample(model, tokenizer, prompts, settings.max_new_tokens, seed=derive_seed(settings.seed, step, 0))

        # Score them. A reward without a value has a reason; a longer run would leave that completion out, this one stops.
        scores = r1env.score(rollouts(tasks, n, tokenizer, completions, mask), environment.rubric)
        if unscored := [score.reason for score in scores if score.value is None]:
            raise RuntimeError(f"step {step}: {len(unscored)} completions have no score; the first: {unscored[0]}")
        rewards = torch.tensor([score.value for score in scores]).view(count, n)

        # A_i = (r_i - mean(r)) / std(r) within each group, R1 eq. 3. A group that earned one and the same reward teaches nothing.
        spread = rewards.std(dim=1, keepdim=True)
        mixed = (spread > 1e-6).expand(count, n).flatten().nonzero().squeeze(1)  # [R] rows to learn from
        advantages = ((rewards - rewards.mean(dim=1, keepdim=True)) / spread).flatten()  # [B]

        # Maximise min(ρ A, clip(ρ, 1 ± ε) A) with ρ = π(token) / π_old(token), R1 eq. 1, in shuffled mini-batches.
        with torch.no_grad():
            old = logprobs_of(model, tokenizer, prompts, completions)  # [B, T] of the policy that sampled
        metrics = {"reward": rewards.mean().item(), "loss": 0.0, "grad_norm": 0.0}
        shuffle = torch.Generator().manual_seed(derive_seed(settings.seed, step) ^ 1)
        order = mixed[torch.randperm(len(mixed), generator=shuffle)]
        for number, rows in enumerate(order.chunk(settings.mini_batches) if len(order) else ()):
            ratio = (logprobs_of(model, tokenizer, prompts[rows], completions[rows]) - old[rows]).exp()
            advantage = advantages[rows, None]
            clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
            objective = torch.minimum(ratio * advantage, clipped * advantage)
            loss = -(objective * mask[rows]).sum() / mask[rows].sum()  # the mean over the mini-batch's tokens
            loss.backward()
            warmed = min(1.0, (step * settings.mini_batches + number + 1) / settings.warmup_steps)
            optimizer.param_groups[0]["lr"] = settings.lr * warmed
            grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
            optimizer.step()
            optimizer.zero_grad()
            metrics["loss"] += loss.item() / settings.mini_batches
            metrics["grad_norm"] += grad_norm.item() / settings.mini_batches
        yield metrics


def encode(environment: r1env.Environment, tokenizer: PreTrainedTokenizerBase, tasks: list[r1env.Task]) -> Tensor:
    """Return the prompts as token ids [P, L]. Those of `sort-4` are equally long, so none is padded."""
    texts = ["\n".join(message["content"] for message in environment.open(task).messages) for task in tasks]
    return torch.tensor([tokenizer(text)["input_ids"] for text in texts])


@torch.no_grad()
def sample(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Tensor, max_new_tokens: int, *, seed: int | None
) -> tuple[Tensor, Tensor]:
    """Draw a completion for each row of prompts [B, L], at temperature 1; greedily if `seed` is None.

    Returns:
        Token ids [B, T], the end-of-sequence token included where it was drawn, and a mask [B, T] that is 1 on sampled tokens.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    cache, tokens = DynamicCache(config=model.config), prompts
    drawn: list[tuple[Tensor, Tensor]] = []
    going = torch.ones(len(prompts), dtype=torch.bool)
    while going.any() and len(drawn) < max_new_tokens:
        logits = model(input_ids=tokens, past_key_values=cache).logits[:, -1]
        probabilities = log_softmax(logits, tokenizer)[going].exp()
        if generator is not None:  # argmax p / e with e ~ Exp(1) is a draw from p
            probabilities /= torch.empty_like(probabilities).exponential_(generator=generator)
        token = torch.full((len(prompts),), int(tokenizer.pad_token_id))
        token[going] = probabilities.argmax(dim=-1)
        drawn.append((token, going))
        going = going & (token != tokenizer.eos_token_id)
        tokens = token[:, None]
    ids, counting = (torch.stack(columns, dim=1) for columns in zip(*drawn, strict=True))
    return ids, counting.float()


def rollouts(
    tasks: list[r1env.Task], n: int, tokenizer: PreTrainedTokenizerBase, completions: Tensor, mask: Tensor
) -> list[r1env.Rollout]:
    """Return what the rewards are given: n completions of each task as text, without special tokens."""
    rows = [ids[counting > 0] for ids, counting in zip(completions, mask, strict=True)]
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return [r1env.Rollout(task=tasks[i // n], completion=text) for i, text in enumerate(texts)]


def log_softmax(logits: Tensor, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return log-probs of logits [..., V] without the pad token, which no completion contains."""
    return logits.float().index_fill(-1, torch.tensor(tokenizer.pad_token_id), -1e30).log_softmax(dim=-1)


def logprobs_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Tensor, completions: Tensor) -> Tensor:
    """Return log π(token) of each completion token [B, T]. Padding on the right is never attended to."""
    logits = model(input_ids=torch.cat([prompts, completions], dim=1)).logits[:, prompts.shape[1] - 1 : -1]
    return log_softmax(logits, tokenizer).gather(-1, completions[:, :, None]).squeeze(-1)


def pretrain(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, steps: int = 200, batch_size: int = 64) -> None:
    """Make the "base model": it knows the tags and copies the digits *in random order*, so it is right by chance only."""
    environment = r1env.make_environment("sort-4", style="compact")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    for step in range(steps):
        tasks = [environment.task(step * batch_size + i, seed=1) for i in range(batch_size)]
        texts = [shuffled_digits(task, np.random.default_rng(i)) for i, task in enumerate(tasks, start=step * batch_size)]
        demonstrations = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts])
        loss = -logprobs_of(model, tokenizer, encode(environment, tokenizer, tasks), demonstrations).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tasks: int = 256) -> float:
    """Return the share of held-out tasks that greedy decoding gets right."""
    environment = r1env.make_environment("sort-4", style="compact", split="test")
    held_out = [environment.task(i) for i in range(tasks)]
    completions, mask = sample(model, tokenizer, encode(environment, tokenizer, held_out), 12, seed=None)
    scores = r1env.score(rollouts(held_out, 1, tokenizer, completions, mask), environment.rubric)
    return sum(score.value == 1 for score in scores) / tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=Settings.steps, help="batches of rollouts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # more of them wait longer than they compute, for a model of 0.4 million parameters
    loaded = load_model("tiny", seed=arguments.seed)
    model, tokenizer = loaded.model, loaded.tokenizer
    pretrain(model, tokenizer)
    print(f"accuracy before: {accuracy(model, tokenizer):.1%}")
    for step, metrics in enumerate(train(model, tokenizer, Settings(steps=arguments.steps, seed=arguments.seed)), start=1):
        print(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(f"accuracy after: {accuracy(model, tokenizer):.1%}")


if __name__ == "__main__":
    main()
