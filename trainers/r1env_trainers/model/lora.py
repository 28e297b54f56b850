"""Low-rank adapters (LoRA, arXiv 2106.09685) by PEFT: added to a model, written, read again, and switched off. `load` merges them.

PEFT puts its layers into the model itself, so everything that calls the model computes with the adapters too. The light forward pass
(`llama`), which reads weights and calls no layers, gets the adapters from here as matrices.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from r1env.errors import UsageError
from r1env_trainers.model.load import LoadedModel, check_peft, fill_adapters, forget_forward_pass, tied_target
from r1env_trainers.settings import LoRA

WEIGHTS = "adapter_model.safetensors"


def with_adapters(loaded: LoadedModel, settings: LoRA, base: str, seed: int) -> LoadedModel:
    """Add untrained adapters to a model, whose own weights are frozen: it computes what it did. A reward model's head is trained too.

    Args:
        base: the model's name, which an adapter folder refers to.
        seed: of the adapters' weights; torch's global generator is unchanged.

    Raises:
        UsageError: PEFT is not installed, the model has none of the target modules, or one of them shares its weights with another layer.
    """
    check_peft()
    from peft import LoraConfig, get_peft_model

    targets = settings.target_modules if isinstance(settings.target_modules, str) else list(settings.target_modules)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=targets,
        task_type="SEQ_CLS" if hasattr(loaded.model, "score") else "CAUSAL_LM",  # PEFT trains the head of a classifier as it is
        base_model_name_or_path=base,
    )
    loaded.model.name_or_path = base  # PEFT takes the name from here
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            adapter = get_peft_model(loaded.model, config)
    except ValueError as error:  # PEFT says so where no module has the name
        raise UsageError(f"lora.target_modules={settings.target_modules!r}: {str(error).splitlines()[0]}") from error
    if (tied := tied_target(loaded.model)) is not None:
        raise UsageError(f"lora.target_modules={settings.target_modules!r}: {tied}")
    adapter.eval()
    forget_forward_pass(loaded.model)
    return replace(loaded, adapter=adapter)


def read_adapters(loaded: LoadedModel, folder: Path) -> None:
    """Give the adapters of a model the weights that `write_adapters` left in a folder; see `fill_adapters`."""
    fill_adapters(loaded, load_file(folder / WEIGHTS), str(folder))


def write_adapters(loaded: LoadedModel, folder: Path) -> None:
    """Write the adapters alone, as PEFT does, with the name of the model that they belong to."""
    loaded.adapter.save_pretrained(folder)


def without_adapters(loaded: LoadedModel) -> contextlib.AbstractContextManager[Any]:
    """Switch the adapters off where `loaded` stands for the model they were added to (the reference of RL); else change nothing."""
    return loaded.adapter.disable_adapter() if loaded.base_only else nullcontext()


# Adapters as matrices.


class LowRank(NamedTuple):
    """What adapters add to the weights of a projection: the product `outward @ inward`. R is the sum of their ranks.

    Attributes:
        inward: [R, inputs].
        outward: [outputs, R], with the scaling in it.
    """

    inward: Tensor
    outward: Tensor


def plain_layer(layer: Any) -> Any:
    """Return the layer that adapters were put around; a layer without adapters as it is."""
    return getattr(layer, "base_layer", layer)


def adapted_layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a model that have adapters, without these."""
    return [plain_layer(module) for module in model.modules() if plain_layer(module) is not module]


def low_rank(layer: Any) -> LowRank | None:
    """Return what the active adapters of a linear layer add to its weights, with gradients to them; None where nothing is added."""
    if plain_layer(layer) is layer or layer.disable_adapters or layer.merged:
        return None
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if not active:
        return None
    inward = torch.cat([layer.lora_A[name].weight for name in active])
    return LowRank(inward, torch.cat([layer.scaling[name] * layer.lora_B[name].weight for name in active], dim=1))


def stacked_low_rank(layers: Sequence[Any]) -> LowRank | None:
    """Return `low_rank` of several layers with the same inputs, as if they were one layer whose outputs stand one below the other."""
    found = [low_rank(layer) for layer in layers]
    if all(one is None for one in found):
        return None
    inward = torch.cat([one.inward for one in found if one is not None])
    outward = [
        inward.new_zeros((layer.weight.shape[0], 0)) if one is None else one.outward
        for layer, one in zip(layers, found, strict=True)
    ]
    return LowRank(inward, torch.block_diag(*outward))


def merged_weight(layer: Any) -> Tensor:
    """Return the weights of a linear layer with those of its active adapters added, in float32; without adapters its own."""
    added = low_rank(layer)
    weight: Tensor = plain_layer(layer).weight
    return weight if added is None else torch.addmm(weight.float(), added.outward.float(), added.inward.float())


def merged_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters of a model as it would be after merging its linear adapters, under the names that they would have then."""
    adapted = {name: module for name, module in model.named_modules() if plain_layer(module) is not module}
    for name, parameter in model.named_parameters():
        owner = next((prefix for prefix in adapted if name.startswith(f"{prefix}.")), None)
        if owner is None:
            yield name, parameter.data
        elif name == f"{owner}.base_layer.weight":
            yield f"{owner}.weight", merged_weight(adapted[owner]).data
        elif name.startswith(f"{owner}.base_layer."):
            yield f"{owner}.{name.removeprefix(f'{owner}.base_layer.')}", parameter.data


def adapter_obstacle(layer: Any) -> str | None:
    """Return why what the adapters of a layer compute is more than `low_rank`; None where it is that, or there are no adapters."""
    if plain_layer(layer) is layer:
        return None
    from peft.tuners.lora import Linear

    if type(layer) is not Linear:
        return f"an adapter is a {type(layer).__module__}.{type(layer).__qualname__}, not PEFT's plain LoRA of a linear layer"
    for name in layer.lora_A:
        if name in layer.lora_variant:
            return f"the adapter {name!r} is a variant of LoRA ({type(layer.lora_variant[name]).__name__})"
        if layer.lora_bias[name]:
            return f"the adapter {name!r} has a bias"
        if getattr(layer.lora_dropout[name], "p", 0) > 0:
            return f"the adapter {name!r} has dropout"
    if layer.fan_in_fan_out:
        return "an adapter's layer has its weights transposed"
    return "adapters are merged into the weights and could not be switched off" if layer.merged else None


@contextlib.contextmanager
def shaken_adapters(model: nn.Module) -> Iterator[None]:
    """Give all adapters random weights for a while. Untrained ones add nothing, so nobody would see whether a forward pass has them."""
    adapted: list[Any] = [one for one in model.modules() if plain_layer(one) is not one and hasattr(one, "lora_B")]
    pairs = [(layer, name) for layer in adapted for name in layer.lora_B]
    kept = [layer.lora_B[name].weight.detach().clone() for layer, name in pairs]
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for layer, name in pairs:
                inward, outward = layer.lora_A[name].weight, layer.lora_B[name].weight
                outward.copy_(torch.randn(outward.shape, generator=generator))
                added = layer.scaling[name] * (outward @ inward).norm()
                outward.mul_(SHAKEN * plain_layer(layer).weight.norm() / added.clamp(min=1e-12))
        yield
    finally:
        with torch.no_grad():
            for (layer, name), old in zip(pairs, kept, strict=True):
                layer.lora_B[name].weight.copy_(old)


SHAKEN = 0.3
"""Norm of what shaken adapters add, relative to the weights."""
