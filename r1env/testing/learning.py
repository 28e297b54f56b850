"""Contracts of what trainers call on tensors: losses, advantages, policy ratios, loss aggregations, KL estimators. PyTorch is imported
when a check runs, not before.

The promises that matter most are those that a training run cannot show: that a micro-batch's rows do not depend on each other, that
padding does not count, and that unscored completions stay out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from r1env.hooks import AdvantageSpec, KLEstimatorSpec, LossAggregationSpec, LossSpec, PolicyRatioSpec, Spec
from r1env.importing import accepted
from r1env.plugins import installed

if TYPE_CHECKING:
    from torch import Tensor

Named = str | Callable[..., Any]
"""A function, or the name that an installed plugin gives it, or `module:attribute`, or `file.py:attribute`."""

CLIP = {"clip_low": 0.2, "clip_high": 0.28}


def check_advantage(advantage: Named) -> None:
    """Check that an advantage estimator keeps the contract.

    Its result has the shape of the rewards, [G, n], and is finite; unscored completions (NaN) get 0, and so does a group without any
    score. The order of the completions does not matter, and a higher reward never has the lower advantage in its group. The rewards are
    not changed.

    Example:
        >>> check_advantage("rloo")

    Raises:
        AssertionError: a promise is broken.
    """
    import torch

    function, what = _load(AdvantageSpec, advantage, "advantage")
    nan = torch.nan
    rewards = torch.tensor([[0.0, 1.0, 1.0, 0.3], [1.0, nan, 0.0, 0.5], [1.0, 1.0, 1.0, 1.0], [nan, nan, nan, nan]])
    found = _called(function, what, rewards)
    _require_shape(what, found, rewards)
    for values in (rewards, rewards * 1e6, rewards[:, :1], rewards[:1]):
        result = _called(function, what, values)
        _require(
            bool(result.isfinite().all()), f"{what}: returned {result.tolist()} for {values.tolist()}; values must be finite"
        )
    _require(bool((found[rewards.isnan()] == 0).all()), f"{what}: an unscored completion (NaN) got an advantage; it must get 0")
    order = torch.tensor([2, 0, 3, 1])
    again = _called(function, what, rewards[:, order])
    _require(_close(again, found[:, order]), f"{what}: the order of the completions changes their advantages")
    for values, advantages in zip(rewards.tolist(), found.tolist(), strict=True):
        ranked = sorted((value, given) for value, given in zip(values, advantages, strict=True) if value == value)
        fair = all(low[1] <= high[1] + 1e-6 for low, high in itertools.pairwise(ranked) if low[0] < high[0])
        _require(fair, f"{what}: of the rewards {values} a higher one got a lower advantage: {advantages}")


def check_loss(loss: Named) -> None:
    """Check that a policy loss keeps the contract.

    It returns a loss per token, [B, T], with a gradient to the log-probs, which raises the probability of tokens with a positive
    advantage and lowers that of tokens with a negative one. A row's loss does not depend on the other rows (they may be another micro-batch) nor
    on what stands in its padding. Loss and gradient are finite for policies that have grown far apart.

    Example:
        >>> check_loss("clipped")

    Raises:
        AssertionError: a promise is broken.
    """
    import torch

    function, what = _load(LossSpec, loss, "loss")
    logprobs, old, mask = _tensors()
    advantages = torch.tensor([1.0, -1.0, 2.0, -0.5])[:, None].expand_as(logprobs)

    def call(logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        return _called(function, what, logprobs, old, advantages, **accepted(function, mask=mask, **CLIP))

    per_token = call(logprobs, old, advantages, mask)
    _require_shape(what, per_token, logprobs)
    _check_rows(what, per_token, lambda rows: call(logprobs[rows], old[rows], advantages[rows], mask[rows]))
    _check_padding(what, mask, lambda filled: call(filled(logprobs), old, advantages, mask))
    on_policy = old.clone().requires_grad_()
    gradient = _gradient(what, (call(on_policy, old, advantages, mask) * mask).sum(), on_policy)
    for row, advantage in enumerate(advantages[:, 0].tolist()):
        slope = float((gradient[row] * mask[row]).sum())
        if advantage > 0:
            _require(slope < 0, f"{what}: its gradient does not raise the probability of tokens with the advantage {advantage}")
        else:
            _require(slope > -1e-6, f"{what}: its gradient raises the probability of tokens with the advantage {advantage}")
    _check_far_apart(what, lambda far, old, mask: call(far, old, advantages[:2, :3], mask))


def check_policy_ratio(ratio: Named) -> None:
    """Check that a policy ratio keeps the contract.

    It returns [B, T] or [B, 1], positive, 1 where both policies agree, with a gradient to the log-probs. Rows and padding as for a loss;
    ratio and gradient are finite for policies that have grown far apart.

    Example:
        >>> check_policy_ratio("sequence")

    Raises:
        AssertionError: a promise is broken.
    """
    import torch

    function, what = _load(PolicyRatioSpec, ratio, "policy ratio")
    logprobs, old, mask = _tensors()

    def call(logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
        return _called(function, what, logprobs, old, **accepted(function, mask=mask))

    found = call(logprobs, old, mask)
    _require_shape(what, found, logprobs, logprobs[:, :1])
    _require(bool((found > 0).all()), f"{what}: returned {float(found.min()):g}; a ratio of probabilities is positive")
    same = call(old, old, mask)
    _require(
        torch.allclose(same, torch.ones_like(same)), f"{what}: is {float(same.mean()):g}, not 1, where both policies agree"
    )
    _check_rows(what, found, lambda rows: call(logprobs[rows], old[rows], mask[rows]))
    _check_padding(what, mask, lambda filled: call(filled(logprobs), old, mask).expand_as(mask))
    _check_far_apart(what, lambda far, old, mask: call(far, old, mask).expand_as(mask))


def check_kl_estimator(estimator: Named) -> None:
    """Check that a KL estimator keeps the contract.

    It returns an estimate per token, [B, T], with a gradient to the policy's log-probs: 0 where policy and reference agree, and in the
    policy's mean positive where they differ and larger for a reference that is further away. Rows as for a loss; values and gradient
    are finite for policies that have grown far apart.

    Example:
        >>> check_kl_estimator("k3")

    Raises:
        AssertionError: a promise is broken.
    """
    import torch

    function, what = _load(KLEstimatorSpec, estimator, "KL estimator")
    logprobs, reference, _ = _tensors()
    found = _called(function, what, logprobs, reference)
    _require_shape(what, found, logprobs)
    same = _called(function, what, reference, reference)
    _require(torch.allclose(same, torch.zeros_like(same)), f"{what}: is {float(same.mean()):g}, not 0, where both agree")
    _check_rows(what, found, lambda rows: _called(function, what, logprobs[rows], reference[rows]))
    logits = torch.linspace(-1, 1, 20)
    policy = logits.log_softmax(0)[None]

    def mean(reference: Tensor) -> float:
        return float((policy.exp() * _called(function, what, policy, reference.log_softmax(-1)[None])).sum())

    near, far = mean(0.5 * logits), mean(-logits)
    _require(0 < near < far, f"{what}: its mean is {near:g} for a near reference and {far:g} for a far one; it must grow")
    _check_far_apart(what, lambda far, old, _: _called(function, what, far, old))


def check_loss_aggregation(aggregation: Named) -> None:
    """Check that a loss aggregation keeps the contract.

    It returns a total and a count, scalars. The totals and counts of micro-batches add up to those of the whole. Padding does not
    count. The total has a gradient and is linear in the losses; the count depends on the mask alone and is positive.

    Example:
        >>> check_loss_aggregation("token-mean")

    Raises:
        AssertionError: a promise is broken.
    """
    import torch

    function, what = _load(LossAggregationSpec, aggregation, "loss aggregation")
    per_token, other, mask = _tensors()

    def call(per_token: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        found = _returned(function, what, per_token, mask, **accepted(function, max_new_tokens=mask.shape[1] + 2))
        _require(
            isinstance(found, tuple) and len(found) == 2, f"{what}: returned {type(found).__name__}, not a total and a count"
        )
        total, count = (torch.as_tensor(value) for value in found)
        _require(total.dim() == count.dim() == 0, f"{what}: total and count must be scalars")
        return total, count

    total, count = call(per_token, mask)
    _require(float(count) > 0, f"{what}: the count is {float(count):g}; it must be positive")
    _require(
        float(call(other, mask)[1]) == float(count), f"{what}: the count depends on the losses; it may depend on the mask only"
    )
    cut = [call(per_token[rows], mask[rows]) for rows in (slice(0, 1), slice(1, 4))]
    for name, whole, place in (("totals", total, 0), ("counts", count, 1)):
        added = sum(float(part[place]) for part in cut)
        close = abs(added - float(whole)) <= 1e-4 * abs(float(whole))
        _require(
            close, f"{what}: the {name} of two micro-batches add up to {added:g}, not to that of the whole, {float(whole):g}"
        )
    padded = call(torch.where(mask > 0, per_token, 100.0), mask)[0]
    _require(_close(padded, total), f"{what}: what stands in the padding counts")
    _require(_close(call(3 * per_token, mask)[0], 3 * total), f"{what}: the total is not linear in the losses")
    losses = per_token.clone().requires_grad_()
    _gradient(what, call(losses, mask)[0], losses)


# What several of them promise.


def _tensors() -> tuple[Tensor, Tensor, Tensor]:
    """Log-probs of two policies, and a mask with padding: [4, 6] each."""
    import torch

    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(4, 6, generator=generator) - 0.1
    logprobs = old + 0.3 * torch.randn(4, 6, generator=generator)
    lengths = torch.tensor([6, 3, 1, 5])
    return logprobs, old, (torch.arange(6)[None] < lengths[:, None]).float()


def _load(spec_type: type[Spec], named: Named, kind: str) -> tuple[Callable[..., Any], str]:
    if isinstance(named, str):
        return installed().load(spec_type, named), f"{kind} {named!r}"
    return named, f"{kind} {getattr(named, '__name__', named)!r}"


def _returned(function: Callable[..., Any], what: str, *tensors: Tensor, **settings: Any) -> Any:
    """Call twice; the results must agree, and the arguments stay as they were."""
    import torch

    copies = [tensor.detach().clone() for tensor in tensors]
    try:
        first, second = function(*tensors, **settings), function(*tensors, **settings)
    except Exception as error:
        raise AssertionError(f"{what}: raised {type(error).__name__}: {error}") from error
    for tensor, copy in zip(tensors, copies, strict=True):
        _require(torch.equal(tensor.nan_to_num(7.0), copy.nan_to_num(7.0)), f"{what}: changes its arguments in place")
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = torch.equal(first.nan_to_num(7.0), second.nan_to_num(7.0))
        _require(same, f"{what}: two calls with the same arguments differ")
    return first


def _called(function: Callable[..., Any], what: str, *tensors: Tensor, **settings: Any) -> Tensor:
    import torch

    found = _returned(function, what, *tensors, **settings)
    _require(isinstance(found, torch.Tensor), f"{what}: returned {type(found).__name__}, not a tensor")
    return found  # type: ignore[no-any-return]


def _require_shape(what: str, found: Tensor, *like: Tensor) -> None:
    shapes = [list(one.shape) for one in like]
    _require(
        list(found.shape) in shapes,
        f"{what}: returned the shape {list(found.shape)}; it must be {' or '.join(map(str, shapes))}",
    )


def _close(found: Tensor, expected: Tensor) -> bool:
    import torch

    return torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


def _check_rows(what: str, whole: Tensor, of_rows: Callable[[slice], Tensor]) -> None:

    for row in range(len(whole)):
        alone = of_rows(slice(row, row + 1))
        _require(
            _close(alone, whole[row : row + 1]),
            f"{what}: row {row} alone gives other values than among others; rows are cut into micro-batches by memory",
        )


def _check_padding(what: str, mask: Tensor, call: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> None:
    import torch

    def filled(value: float) -> Callable[[Tensor], Tensor]:
        return lambda tensor: torch.where(mask > 0, tensor, value)

    first, second = call(filled(0.0)) * mask, call(filled(-1.5)) * mask
    _require(_close(first, second), f"{what}: what stands in the padding changes other tokens; use the mask")


def _check_far_apart(what: str, call: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    import torch

    far = torch.tensor([[-1e-4, -500.0, -1.0], [-500.0, -500.0, -500.0]], requires_grad=True)
    old, mask = torch.tensor([[-500.0, -1e-4, -1.0], [-1e-4, -1e-4, -1e-4]]), torch.ones(2, 3)
    found = call(far, old, mask)
    finite = bool(found.isfinite().all()) and bool(_gradient(what, found.sum(), far).isfinite().all())
    _require(finite, f"{what}: is not finite for policies that have grown far apart; bound the difference before exp")


def _gradient(what: str, total: Tensor, leaf: Tensor) -> Tensor:
    import torch

    _require(total.requires_grad, f"{what}: its result has no gradient; do not detach it or compute it under no_grad")
    (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
    _require(gradient is not None, f"{what}: its result has no gradient to the log-probs or losses it was given")
    return gradient


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
