"""The settings of the trainers that learn from their own rollouts: tasks, rewards, sampling, and the algorithm. Presets: `presets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, model_validator

from r1env.envs.suite import EnvironmentShare, Suite, make_mixture, make_suite
from r1env.rubrics import RubricSpec
from r1env.trainer import BackendConfig
from r1env_trainers.generate.options import EngineName, VLLMOptions
from r1env_trainers.model.session import LocalConfig
from r1env_trainers.rl.advantages import AdvantageEstimator
from r1env_trainers.rl.losses import Aggregation, Correction, KLEstimator, PolicyRatio
from r1env_trainers.rl.presets import PPO_PRESETS, PRESETS

# The settings that say where tasks come from, and the suite they name.


class SuiteSettings(BaseModel):
    """Settings of a trainer that draws tasks.

    Attributes:
        env: an environment or a suite, by name; or
        mixture: environments with weights, each with its own options, template and rubric.
        env_options: go to the task source of `env`.
        template: prompt template of `env`; None for the environment's own.
    """

    env: str | None = None
    mixture: tuple[EnvironmentShare, ...] = ()
    env_options: dict[str, Any] = Field(default_factory=dict)
    template: str | None = None

    @model_validator(mode="after")
    def _one_origin_of_tasks(self) -> Self:
        if self.env is not None and self.mixture:
            raise ValueError("give env or mixture, not both (env=null takes a preset's away)")
        if self.mixture and (self.env_options or self.template):
            raise ValueError("env_options and template belong to env; in a mixture each share has its own")
        return self


def open_suite(settings: SuiteSettings, rubric: str | RubricSpec, **options: Any) -> Suite:
    """The suite that the settings name.

    Args:
        rubric: of every environment; of a mixture, where a share names none.
        options: laid over those of every environment, e.g. `split="test"`.

    Raises:
        UsageError: unknown name, or options that the source refuses.
    """
    if settings.mixture:
        return make_mixture(settings.mixture, rubric=rubric, **options)
    assert settings.env is not None  # trainers whose tasks are optional ask first
    return make_suite(settings.env, rubric=rubric, template=settings.template, **{**settings.env_options, **options})


# The settings of every trainer that learns from its own rollouts: tasks, rewards, sampling, evaluation.


T = TypeVar("T")


class RolloutConfig(SuiteSettings, LocalConfig):
    """Where rollouts come from and what they earn, beside the settings of `SuiteSettings` and `LocalConfig`.

    Attributes:
        rubric: a preset's name, a YAML file, or the rubric itself (name, rewards); a share's own rubric goes before it.
        late_steps: the last so many steps have another rubric (`late_rubric`, for every environment), another mixture
            (`late_mixture`), or both.
        steps: batches of rollouts.
        prompts_per_step, group_size: a step draws prompts_per_step * group_size episodes.
        max_new_tokens, temperature, top_p: of sampling, each turn of an episode.
        engine, vllm: what draws the completions, see `engines`; options of vLLM where that is it.
        max_rows: completions decoded at once by the engine `transformers`; None for all, on a GPU for as many as memory allows.
        length_schedule, temperature_schedule: step → the limit or temperature from that step (counted from 0) on.
        difficulty: JSON lines of `r1env eval --n K --output FILE`; tasks whose pass rate there lies outside
            [difficulty_low, difficulty_high] are skipped, tasks that are not there are kept.
        refill: draw further prompts for groups whose rewards are all alike, until prompts_per_step groups differ or `max_refills`
            more batches were drawn (dynamic sampling, DAPO section 3.2).
        eval_every, eval_limit, eval_options: greedy evaluation every so many steps (0: never) on so many tasks of each
            environment under other options, e.g. {"split": "test"}; `eval_shown` of its completions go into the run each time.
        max_failed: the share of rollouts of a step whose scoring may fail before training stops.
        samples_every: how often rollouts are written to the run, in steps.
    """

    rubric: str | RubricSpec = "zero"
    late_steps: int = Field(default=0, ge=0)
    late_rubric: str | RubricSpec | None = None
    late_mixture: tuple[EnvironmentShare, ...] = ()

    prompts_per_step: int = Field(default=8, ge=1)
    group_size: int = Field(default=8, ge=1)
    max_new_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    engine: EngineName = "transformers"
    vllm: VLLMOptions = Field(default_factory=VLLMOptions)
    max_rows: int | None = Field(default=None, ge=1)
    length_schedule: Mapping[int, PositiveInt] = Field(default_factory=dict)
    temperature_schedule: Mapping[int, PositiveFloat] = Field(default_factory=dict)

    difficulty: str | None = None
    difficulty_low: float = Field(default=0.0, ge=0, le=1)
    difficulty_high: float = Field(default=1.0, ge=0, le=1)
    refill: bool = False
    max_refills: int = Field(default=4, ge=0)

    eval_every: int = Field(default=0, ge=0)
    eval_limit: int = Field(default=128, ge=1)
    eval_options: dict[str, Any] = Field(default_factory=dict)
    eval_shown: int = Field(default=4, ge=0)

    max_failed: float = Field(default=0.2, ge=0, le=1)
    samples_every: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _tasks_come_from_somewhere(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env or mixture: where the tasks come from")
        return self

    @model_validator(mode="after")
    def _late_steps_differ(self) -> Self:
        differs = self.late_rubric is not None or bool(self.late_mixture)
        if differs and not self.late_steps:
            raise ValueError("late_rubric and late_mixture need late_steps, the number of steps they are for")
        if self.late_steps and not differs:
            raise ValueError(f"late_steps={self.late_steps} needs a late_rubric or a late_mixture")
        if self.late_steps > self.steps:
            raise ValueError(f"late_steps={self.late_steps} are more than the {self.steps} steps in all")
        return self

    @model_validator(mode="after")
    def _selection_selects(self) -> Self:
        if self.difficulty_low > self.difficulty_high:
            raise ValueError(f"difficulty_low={self.difficulty_low} is above difficulty_high={self.difficulty_high}")
        if self.difficulty is None and (self.difficulty_low, self.difficulty_high) != (0.0, 1.0):
            raise ValueError("difficulty_low and difficulty_high need difficulty, the file with the pass rates")
        if self.refill and self.max_refills == 0:
            raise ValueError("refill draws further prompts, and max_refills=0 allows none; raise it or turn refill off")
        if self.refill and self.group_size == 1:
            raise ValueError("refill looks for groups whose rewards differ, and group_size=1 has none")
        return self

    def is_late(self, step: int) -> bool:
        """Whether `step` is among the last `late_steps`."""
        return step >= self.steps - self.late_steps

    def max_new_tokens_at(self, step: int) -> int:
        """The limit of a turn at a step."""
        return _scheduled(self.length_schedule, step, self.max_new_tokens)

    def temperature_at(self, step: int) -> float:
        """The temperature that the rollouts of a step are drawn with."""
        return _scheduled(self.temperature_schedule, step, self.temperature)


def _scheduled(schedule: Mapping[int, T], step: int, otherwise: T) -> T:
    """The value of the latest entry at or before `step`."""
    begun = [start for start in schedule if start <= step]
    return schedule[max(begun)] if begun else otherwise


_OF_THE_CRITIC = ("gamma", "gae_lambda", "value_clip", "critic", "critic_model", "critic_lr", "critic_warmup", "value_coef")


class GRPOConfig(RolloutConfig, BackendConfig):
    """Settings of the `grpo` trainer, beside those of `RolloutConfig` and `LocalConfig`.

    Defaults follow the field of 2026: advantages without the deviation, token-mean loss, clip 0.2/0.28, no KL, one update a
    rollout, groups without variance left out.

    Attributes:
        epochs, mini_batches: passes over a batch of rollouts, and optimizer steps in each; the rows are split at random. One of both
            is on-policy.
        advantage, whiten: see `advantages`; `whiten` normalises the advantages over the batch's tokens, as `reinforce_pp` always does.
            `gae` is PPO: it needs a critic, which the settings from `gamma` on describe.
        ratio, clip_low, clip_high, dual_clip, aggregation: see `losses`.
        kl_coef, kl_estimator: see `losses`; with 0 there is no reference model.
        kl_in: the KL as a term of the loss, or taken from every token's reward.
        reference_every: make the policy the new reference every so many steps; 0: never.
        track_kl: measure the KL to the reference even where kl_coef is 0; costs a forward pass.
        entropy_coef: weight of the policy's mean entropy a token, which the loss then raises.
        mask_truncated: leave rollouts that a token limit cut off out of the loss; they stay in their group's statistics.
        correction, correction_cap: see `losses.sampler_correction`; None: off. The gap is logged in any case.
        gamma, gae_lambda: see `advantages.gae`. The default 1.0 makes the advantage the return less the value; DeepSeek-R1's appendix
            (arXiv 2501.12948v2, A.3) finds PPO close to GRPO with it, and considerably worse with the usual 0.95.
        value_clip: how far a value may move from the old one before its loss stops falling; None: any distance.
        critic: `separate`, a model of its own under a scalar head; `shared`, a head on the policy's last hidden state.
        critic_model: where a separate critic starts: a model, or a reward model; None: the policy's start.
        critic_lr, critic_warmup: the critic's peak rate (its schedule is the policy's), and the steps in which it learns alone.
        value_coef: of `shared`: weight of the value loss beside the policy's.
    """

    epochs: int = Field(default=1, ge=1)
    mini_batches: int = Field(default=1, ge=1)

    advantage: AdvantageEstimator = "group_mean"
    whiten: bool = False
    ratio: PolicyRatio = "token"
    clip_low: float = Field(default=0.2, ge=0)
    clip_high: float = Field(default=0.28, ge=0)
    dual_clip: float | None = Field(default=None, gt=1)
    aggregation: Aggregation = "token"
    kl_coef: float = Field(default=0.0, ge=0)
    kl_estimator: KLEstimator = "k3"
    kl_in: Literal["loss", "reward"] = "loss"
    reference_every: int = Field(default=0, ge=0)
    track_kl: bool = False
    entropy_coef: float = Field(default=0.0, ge=0)
    mask_truncated: bool = False
    correction: Correction | None = None
    correction_cap: float = Field(default=2.0, gt=0)

    gamma: float = Field(default=1.0, gt=0, le=1)
    gae_lambda: float = Field(default=1.0, ge=0, le=1)
    value_clip: float | None = Field(default=0.2, gt=0)
    critic: Literal["separate", "shared"] = "separate"
    critic_model: str | None = None
    critic_lr: float = Field(default=1e-5, gt=0)
    critic_warmup: int = Field(default=0, ge=0)
    value_coef: float = Field(default=0.1, gt=0)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    @property
    def needs_reference(self) -> bool:
        return self.kl_coef > 0 or self.track_kl

    @property
    def penalises_kl(self) -> bool:
        """Whether the KL is taken from the reward of every token."""
        return self.kl_in == "reward" and self.kl_coef > 0

    @property
    def whitens(self) -> bool:
        return self.whiten or self.advantage == "reinforce_pp"

    @property
    def compares_groups(self) -> bool:
        """Whether an advantage is measured against the other completions of its prompt."""
        return self.advantage not in ("reinforce_pp", "gae")

    @property
    def updates_per_step(self) -> int:
        """Optimizer steps a batch of rollouts."""
        return self.epochs * self.mini_batches

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        rollouts = self.prompts_per_step * self.group_size
        if rollouts % self.mini_batches:
            raise ValueError(
                f"{self.prompts_per_step} prompts x {self.group_size} completions = {rollouts} rollouts "
                f"do not divide into {self.mini_batches} mini-batches"
            )
        return self

    @model_validator(mode="after")
    def _advantage_is_possible(self) -> Self:
        if self.group_size == 1 and self.compares_groups:
            raise ValueError(f"advantage={self.advantage} compares the completions of a prompt; group_size must be 2 or more")
        return self

    @model_validator(mode="after")
    def _terms_fit_together(self) -> Self:
        if self.kl_in == "reward" and self.kl_coef == 0 and self.advantage != "gae":  # of PPO it is where a KL would go
            raise ValueError("kl_in=reward takes the KL from the reward, and kl_coef=0 takes nothing; give kl_coef")
        if self.reference_every and not self.needs_reference:
            raise ValueError("reference_every replaces a reference model, and without kl_coef or track_kl there is none")
        if self.ratio == "cispo" and self.dual_clip is not None:
            raise ValueError("dual_clip bounds a ratio's loss, and ratio=cispo has none; leave one of them out")
        return self

    @model_validator(mode="after")
    def _critic_fits(self) -> Self:
        if self.advantage != "gae":
            fields = type(self).model_fields
            if given := [name for name in _OF_THE_CRITIC if getattr(self, name) != fields[name].default]:
                raise ValueError(f"{', '.join(given)}: a critic belongs to advantage=gae, not to {self.advantage}")
            return self
        if self.critic == "shared" and self.critic_model is not None:
            raise ValueError("critic_model is where a separate critic starts; critic=shared has no model of its own")
        if self.critic_warmup >= self.steps:
            raise ValueError(f"critic_warmup={self.critic_warmup} leaves none of the {self.steps} steps to the policy")
        return self


class PPOConfig(GRPOConfig):
    """Settings of the trainer `ppo`, which is `grpo` with `advantage=gae` and PPO's usual defaults.

    A group has no meaning here: `group_size` is how many completions share a prompt's prefill.
    """

    prompts_per_step: int = Field(default=64, ge=1)
    group_size: int = Field(default=1, ge=1)
    advantage: AdvantageEstimator = "gae"
    whiten: bool = True
    clip_high: float = Field(default=0.2, ge=0)
    kl_estimator: KLEstimator = "k1"
    kl_in: Literal["loss", "reward"] = "reward"

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PPO_PRESETS
