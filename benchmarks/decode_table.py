"""Tokens a second and milliseconds a step of generation, by model, length and rows.

    python benchmarks/decode_table.py [--shapes 135m,0.5b,1.5b] [--new-tokens 96,1024,4096] [--rows 64,256,1024] [--way vllm]

Random weights, groups of 8 completions, and a chance of 2 / NEW for each token to end its completion: the mean is 0.43 NEW tokens,
one row in seven reaches the limit. Kernels, graphs and cache are made by a first batch whose rows end at once. The last
column has what the cost model says of rows that do not end, for the same number of steps at the mean number of rows.
"""

from __future__ import annotations

import argparse

import torch
import transformers

from grpo_step import SHAPES, make_model, wait
from r1env.engines import SamplingParams
from r1env_trainers.cost import Rollouts, generation_seconds, hardware_of
from r1env_trainers.generate.engine import CompletionSampler, Sampler
from r1env_trainers.generate.options import VLLMOptions
from r1env_trainers.generate.vllm import sampler_beside
from r1env_trainers.model.load import LoadedModel, choose_device
from r1env_trainers.model.memory import ModelShape

GROUP = 8
ENDINGS = 2.0  # expected in the most tokens of a completion
WARM_UP_ENDING = 0.03  # chance of a token to end its completion: few enough a step that no number of rows is left out


def set_ending(loaded: LoadedModel, share: float) -> None:
    """Have so large a share of the vocabulary end a completion."""
    count = max(1, round(share * loaded.model.config.vocab_size))
    loaded.model.generation_config.eos_token_id = list(range(1, 1 + count))


def measure(sampler: CompletionSampler, loaded: LoadedModel, rows: int, prompt_tokens: int, new_tokens: int) -> str:
    """Generate one batch; a row of the table."""
    vocabulary = loaded.model.config.vocab_size
    draws = torch.randint(1, vocabulary, (max(1, rows // GROUP), prompt_tokens), generator=torch.Generator().manual_seed(0))
    params = SamplingParams(n=GROUP, max_new_tokens=new_tokens, temperature=1.0, top_p=1.0, seed=1)
    if isinstance(sampler, Sampler):
        ends, sampler._end_tokens = sampler._end_tokens, torch.arange(1, round(WARM_UP_ENDING * vocabulary))
        sampler.sample(draws.tolist(), params)
        sampler._end_tokens = ends
    start = wait(loaded.device)
    samples = sampler.sample(draws.tolist(), params)
    seconds = wait(loaded.device) - start
    tokens, steps = float(samples.mask.sum()), samples.mask.shape[1]
    return f"{tokens / seconds:,.0f} | {1000 * seconds / steps:.2f} | {seconds:.2f} | {predicted(loaded, prompt_tokens, tokens, steps, seconds)}"


def predicted(loaded: LoadedModel, prompt_tokens: int, tokens: float, steps: int, seconds: float) -> str:
    """Return what the cost model says over the time that was measured; a dash for a device that it does not know."""
    hardware = hardware_of(loaded.device, None)
    if hardware is None:
        return "-"
    live = tokens / steps  # rows of a mean step
    scaled = Rollouts(1, max(1, round(live)), prompt_tokens, steps)
    guess = generation_seconds(ModelShape.of(loaded.model.config), scaled, hardware)
    return f"{guess / seconds:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="135m,0.5b,1.5b", help=f"of {', '.join(SHAPES)}, by commas")
    parser.add_argument("--new-tokens", default="96,1024,4096")
    parser.add_argument("--rows", default="64,256,1024")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--way", choices=["local", "vllm"], default="local")
    parser.add_argument("--vllm-memory", type=float, default=0.8, help="the share of the GPU's memory that vLLM gets")
    arguments = parser.parse_args()
    device = choose_device("auto")
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}, transformers {transformers.__version__}, {arguments.way}\n")
    print("| model | new tokens | rows | tokens/s | ms a step | s | predicted / measured |")
    print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
    lengths = [int(length) for length in arguments.new_tokens.split(",")]
    for shape in arguments.shapes.split(","):
        loaded = make_model(shape, arguments.prompt_tokens + max(lengths), device, 0.0)
        for new_tokens in lengths:
            set_ending(loaded, ENDINGS / new_tokens)
            for rows in map(int, arguments.rows.split(",")):
                options = VLLMOptions(gpu_memory_utilization=arguments.vllm_memory, max_num_seqs=rows)
                sampler = Sampler(loaded) if arguments.way == "local" else sampler_beside(loaded, options, 0)
                row = measure(sampler, loaded, rows, arguments.prompt_tokens, new_tokens)
                print(f"| {shape} | {new_tokens:,} | {rows:,} | {row} |", flush=True)
                sampler.close()
                del sampler
        del loaded


if __name__ == "__main__":
    main()
