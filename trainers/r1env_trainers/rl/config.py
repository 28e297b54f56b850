"""Settings of the trainers that learn from their own rollouts: GRPO and its relatives, and PPO. Presets are in `presets.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from r1env.config import Preset, Settings
from r1env.envs.suite import EnvironmentShare
from r1env.hooks import AdvantageSpec, KLEstimatorSpec, LossAggregationSpec, LossSpec, PolicyRatioSpec
from r1env.preflight import Preflight
from r1env.rubrics import RubricSpec
from r1env.trainer import BackendConfig, registered
from r1env_trainers.generate.options import EngineName, VLLMOptions
from r1env_trainers.rl.presets import GRPO_PRESETS, PPO_PRESETS
from r1env_trainers.settings import Eval, LocalConfig, ModelName, Optim, Sampling, SuiteSettings

AdvantageEstimator = Annotated[str, registered(AdvantageSpec)]
PolicyLoss = Annotated[str, registered(LossSpec)]
PolicyRatio = Annotated[str, registered(PolicyRatioSpec)]
Aggregation = Annotated[str, registered(LossAggregationSpec)]
KLEstimator = Annotated[str, registered(KLEstimatorSpec)]
Correction = Literal["token", "sequence"]

CLIPPED = "clipped"
"""The loss of PPO and its relatives, `losses.policy_loss`."""
CISPO = "cispo"
"""The loss `losses.cispo_loss`, whose clip bounds weights."""

T = TypeVar("T")


# Groups.


class RLOptim(Optim):
    """Optimizer (AdamW) and learning rate."""

    mini_batches: int = Field(
        default=1, ge=1, description="Optimizer steps per pass over a batch of rollouts, which is split at random."
    )
    epochs: int = Field(default=1, ge=1, description="Passes over each batch of rollouts; one of one mini-batch is on-policy.")

    @property
    def updates_per_step(self) -> int:
        """Optimizer steps per batch of rollouts."""
        return self.epochs * self.mini_batches


class RLSampling(Sampling):
    """How rollouts are sampled: a step draws prompts_per_step * group_size episodes."""

    prompts_per_step: int = Field(default=8, ge=1, description="Prompts per step.")
    group_size: int = Field(default=8, ge=1, description="Completions per prompt.")
    length_schedule: Mapping[int, PositiveInt] = Field(
        default_factory=dict, description="Step → max_new_tokens from that step (counted from 0) on."
    )
    temperature_schedule: Mapping[int, PositiveFloat] = Field(
        default_factory=dict, description="Step → temperature from that step (counted from 0) on."
    )

    @property
    def rollouts(self) -> int:
        """Episodes per step."""
        return self.prompts_per_step * self.group_size

    def max_new_tokens_at(self, step: int) -> int:
        """Return the limit of a turn at a step."""
        return _scheduled(self.length_schedule, step, self.max_new_tokens)

    def temperature_at(self, step: int) -> float:
        """Return the temperature that the rollouts of a step are drawn with."""
        return _scheduled(self.temperature_schedule, step, self.temperature)


class PPOSampling(RLSampling):
    """How rollouts are sampled: a step draws prompts_per_step * group_size episodes."""

    prompts_per_step: int = Field(default=64, ge=1, description="Prompts per step.")
    group_size: int = Field(default=1, ge=1, description="Completions per prompt, which share its prefill.")


class EngineSettings(Settings):
    """The inference engine that draws completions."""

    name: EngineName = Field(default="transformers", description="Engine.")
    max_num_seqs: int | None = Field(
        default=None,
        ge=1,
        description="Completions decoded at once by transformers; null: all, or as many as fit a GPU's memory.",
    )
    vllm: VLLMOptions = VLLMOptions()
    options: dict[str, Any] = Field(default={}, description="Options of a plugin's engine; its model is the trainer's.")


class Filter(Settings):
    """Which tasks and groups are learned from."""

    pass_rates: str | None = Field(
        default=None, description="Measured pass rates: the file that r1env eval --n K --output FILE wrote."
    )
    min_pass_rate: float = Field(default=0.0, ge=0, le=1, description="Skip tasks with a lower pass rate.")
    max_pass_rate: float = Field(default=1.0, ge=0, le=1, description="Skip tasks with a higher pass rate.")
    max_prompt_length: int | None = Field(
        default=None,
        ge=1,
        description="Skip tasks with longer prompts, in tokens; null: a prompt beyond the context is refused.",
    )
    dynamic_sampling: bool = Field(
        default=False,
        description="Draw further prompts for groups whose rewards are all alike (DAPO, arXiv 2503.14476, section 3.2).",
    )
    dynamic_sampling_metric: Literal["reward", "accuracy"] = Field(
        default="reward",
        description="What must differ within a group: the summed reward, or the verdict of the environment's own checker (DAPO).",
    )
    max_extra_batches: int = Field(default=4, ge=0, description="Most further batches of dynamic sampling per step.")

    @model_validator(mode="after")
    def _selection_selects(self) -> Self:
        if self.min_pass_rate > self.max_pass_rate:
            raise ValueError(f"min_pass_rate={self.min_pass_rate} is above max_pass_rate={self.max_pass_rate}")
        if self.pass_rates is None and (self.min_pass_rate, self.max_pass_rate) != (0.0, 1.0):
            raise ValueError("min_pass_rate and max_pass_rate need pass_rates, the file with the measured ones")
        if self.dynamic_sampling and self.max_extra_batches == 0:
            raise ValueError("dynamic_sampling draws further prompts, and max_extra_batches=0 allows none")
        return self


class FinalPhase(Settings):
    """The last steps, with another rubric, another mixture, or both."""

    steps: int = Field(default=0, ge=0, description="How many of the last steps.")
    rubric: str | RubricSpec | None = Field(default=None, description="Rubric of these steps, for every environment.")
    mixture: tuple[EnvironmentShare, ...] = Field(default=(), description="Mixture of these steps.")

    @model_validator(mode="after")
    def _differs(self) -> Self:
        differs = self.rubric is not None or bool(self.mixture)
        if differs and not self.steps:
            raise ValueError("rubric and mixture of the final phase need final_phase.steps, the number of steps they are for")
        if self.steps and not differs:
            raise ValueError(f"final_phase.steps={self.steps} needs final_phase.rubric or final_phase.mixture")
        return self


class Log(Settings):
    """What is stored with the run."""

    samples_every: int = Field(default=1, ge=1, description="Store the rollouts of every n-th step; 1 stores all.")
    tokens_every: int = Field(
        default=10,
        ge=0,
        description="Store each token of the rollouts of every n-th step, with its advantage and log-probability; 0: never.",
    )


class Algo(Settings):
    """Advantages and loss."""

    advantage: AdvantageEstimator = Field(
        default="dr_grpo",
        description="Advantage estimator (docs/grpo.md has the formulas).",
        json_schema_extra={"source": "Dr. GRPO, arXiv 2503.20783"},
    )
    normalize_advantages: bool = Field(
        default=False, description="Normalize the advantages over the tokens of the batch; reinforce_pp always does."
    )
    loss: PolicyLoss = Field(
        default="clipped",
        description="Policy loss: clipped, which the next settings describe, CISPO's, or another.",
    )
    policy_ratio: PolicyRatio = Field(
        default="token",
        description="Probability ratio of the clipped loss: per token (PPO) or per sequence (GSPO).",
    )
    clip_ratio_low: float = Field(
        default=0.2,
        ge=0,
        description="The ratio is clipped below 1 - clip_ratio_low.",
        json_schema_extra={"source": "DAPO, arXiv 2503.14476"},
    )
    clip_ratio_high: float = Field(
        default=0.28,
        ge=0,
        description="The ratio is clipped above 1 + clip_ratio_high.",
        json_schema_extra={"source": "DAPO, arXiv 2503.14476"},
    )
    dual_clip: float | None = Field(
        default=None, gt=1, description="Bound of the loss of a negative advantage, times the advantage (arXiv 1912.09729)."
    )
    loss_aggregation: Aggregation = Field(
        default="token-mean",
        description="Mean over all tokens, over sequences of their token means, or over sequences of sum / max_new_tokens.",
        json_schema_extra={"source": "DAPO, arXiv 2503.14476"},
    )
    count_flat_groups: bool = Field(
        default=False,
        description="Groups whose rewards are all alike count in the loss's denominator, as in the papers; false: only the others.",
    )
    kl_coef: float = Field(
        default=0.0, ge=0, description="Weight of the KL divergence to the reference model; 0: no reference model is loaded."
    )
    kl_estimator: KLEstimator = Field(default="k3", description="Estimator of the KL divergence.")
    kl_in: Literal["loss", "reward"] = Field(
        default="loss", description="The KL is a term of the loss, or is subtracted from every token's reward."
    )
    ref_model_sync_steps: int = Field(
        default=0, ge=0, description="Steps after which the policy becomes the new reference; 0: never."
    )
    track_kl: bool = Field(default=False, description="Log the KL to the reference even if kl_coef is 0; costs a forward pass.")
    entropy_coef: float = Field(default=0.0, ge=0, description="Weight of the entropy bonus.")
    mask_truncated_completions: bool = Field(
        default=False, description="Leave truncated completions out of the loss, but not out of their group's statistics."
    )
    importance_sampling_correction: Correction | None = Field(
        default=None,
        description="Weight the loss by the ratio of trainer to sampler probabilities (truncated importance sampling).",
    )
    importance_sampling_cap: float = Field(default=2.0, gt=0, description="Upper bound of these weights.")
    gamma: float = Field(default=1.0, gt=0, le=1, description="Of advantage gae: discount factor.")
    gae_lambda: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Of advantage gae: lambda; 1 makes the advantage the return minus the value.",
        json_schema_extra={
            "source": "DeepSeek-R1, arXiv 2501.12948v2, A.3: close to GRPO with 1, considerably worse with 0.95"
        },
    )

    @model_validator(mode="after")
    def _terms_fit_together(self) -> Self:
        if self.kl_in == "reward" and self.kl_coef == 0 and self.advantage != "gae":  # of PPO it is where a KL would go
            raise ValueError("kl_in=reward takes the KL from the reward, and kl_coef=0 takes nothing; give kl_coef")
        if self.kl_in == "loss" and self.kl_coef > 0 and self.kl_estimator == "k1":
            raise ValueError(
                "kl_estimator=k1 in the loss regularises nothing: the gradient of log π - log π_ref is that of log π, whose mean over "
                "samples of the policy is 0; use k2, whose gradient is the KL's, or k3, or kl_in=reward"
            )
        if self.ref_model_sync_steps and not self.needs_reference:
            raise ValueError("ref_model_sync_steps replaces a reference model, and without kl_coef or track_kl there is none")
        if self.loss != CLIPPED and (self.policy_ratio != "token" or self.dual_clip is not None):
            raise ValueError(f"policy_ratio and dual_clip describe loss=clipped, and loss is {self.loss}; leave them out")
        return self

    @property
    def needs_reference(self) -> bool:
        return self.kl_coef > 0 or self.track_kl

    @property
    def penalizes_kl(self) -> bool:
        """Whether the KL is taken from the reward of every token."""
        return self.kl_in == "reward" and self.kl_coef > 0

    @property
    def normalizes(self) -> bool:
        return self.normalize_advantages or self.advantage == "reinforce_pp"

    @property
    def compares_groups(self) -> bool:
        """Whether an advantage is measured against the other completions of its prompt."""
        return self.advantage not in ("reinforce_pp", "gae")


class PPOAlgo(Algo):
    """Advantages and loss."""

    advantage: AdvantageEstimator = Field(
        default="gae",
        description="Advantage estimator (docs/grpo.md has the formulas).",
        json_schema_extra={"source": "PPO, arXiv 1707.06347"},
    )
    normalize_advantages: bool = Field(default=True, description="Normalize the advantages over the tokens of the batch.")
    clip_ratio_high: float = Field(
        default=0.2,
        ge=0,
        description="The ratio is clipped above 1 + clip_ratio_high.",
        json_schema_extra={"source": "PPO, arXiv 1707.06347"},
    )
    kl_estimator: KLEstimator = Field(default="k1", description="Estimator of the KL divergence.")
    kl_in: Literal["loss", "reward"] = Field(
        default="reward",
        description="The KL is a term of the loss, or is subtracted from every token's reward.",
        json_schema_extra={"source": "InstructGPT, arXiv 2203.02155"},
    )


class CriticSettings(Settings):
    """The value model of advantage gae (PPO)."""

    kind: Literal["separate", "shared"] = Field(
        default="separate", description="A model of its own with a scalar head, or a head on the policy's last hidden state."
    )
    model: ModelName | None = Field(
        default=None, description="Where a separate critic starts: a model or a reward model; null: the policy's start."
    )
    lr: float = Field(default=1e-5, gt=0, description="Peak learning rate of the critic; its schedule runs over all steps.")
    warmup_steps: int = Field(
        default=0,
        ge=0,
        description="First steps in which only the critic learns; the policy's warm-up and schedule begin after them.",
    )
    value_clip: float | None = Field(
        default=0.2,
        gt=0,
        description="Range in which a new value may differ from the old one (PPO's value clipping); null: any.",
    )
    value_coef: float = Field(default=0.1, gt=0, description="Weight of the value loss of a shared critic.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.kind == "shared" and self.model is not None:
            raise ValueError("critic.model is where a separate critic starts; critic.kind=shared has no model of its own")
        return self


# Trainers.


class RolloutConfig(SuiteSettings, LocalConfig):
    """Settings of every trainer that learns from its own rollouts."""

    model: ModelName = Field(description="Policy to start from: a name the trainer knows, a folder, a hub name, or stage:NAME.")
    rubric: str | RubricSpec = Field(
        default="zero", description="What is rewarded: a preset, a YAML file, or the rubric itself {name, rewards}."
    )
    steps: int = Field(default=100, ge=1, description="Training steps; each draws a batch of rollouts.")
    max_failed: float = Field(
        default=0.2, ge=0, le=1, description="Share of a step's rollouts whose scoring may fail before training stops."
    )
    max_unscored: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of a step's rollouts without a score, whatever the reason, from which training stops.",
    )
    sampling: RLSampling = RLSampling()
    engine: EngineSettings = EngineSettings()
    preflight: Preflight = Preflight()
    filter: Filter = Filter()
    final_phase: FinalPhase = FinalPhase()
    optim: RLOptim = RLOptim()
    eval: Eval = Eval()
    log: Log = Log()

    renamed: ClassVar[Mapping[str, str]] = {
        **LocalConfig.renamed,
        "prompts_per_step": "sampling.prompts_per_step",
        "group_size": "sampling.group_size",
        "max_new_tokens": "sampling.max_new_tokens",
        "temperature": "sampling.temperature",
        "top_p": "sampling.top_p",
        "length_schedule": "sampling.length_schedule",
        "temperature_schedule": "sampling.temperature_schedule",
        "engine": "engine.name",
        "max_rows": "engine.max_num_seqs",
        "vllm": "engine.vllm",
        "difficulty": "filter.pass_rates",
        "difficulty_low": "filter.min_pass_rate",
        "difficulty_high": "filter.max_pass_rate",
        "refill": "filter.dynamic_sampling",
        "max_refills": "filter.max_extra_batches",
        "late_steps": "final_phase.steps",
        "late_rubric": "final_phase.rubric",
        "late_mixture": "final_phase.mixture",
        "mini_batches": "optim.mini_batches",
        "eval_every": "eval.every",
        "eval_limit": "eval.limit",
        "eval_options": "eval.env_options",
        "eval_shown": "eval.samples",
        "samples_every": "log.samples_every",
    }

    @model_validator(mode="after")
    def _tasks_come_from_somewhere(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env or mixture: where the tasks come from")
        return self

    @model_validator(mode="after")
    def _samples_can_be_learned_from(self) -> Self:
        if self.sampling.repetition_penalty != 1:
            raise ValueError(
                f"sampling.repetition_penalty={self.sampling.repetition_penalty} draws each token from a distribution that depends on all "
                "tokens before it, and the trainer computes the model's own; leave it at 1, or punish repetition by the reward `repetition`"
            )
        return self

    @model_validator(mode="after")
    def _steps_and_batches_fit(self) -> Self:
        if self.final_phase.steps > self.steps:
            raise ValueError(f"final_phase.steps={self.final_phase.steps} are more than the {self.steps} steps in all")
        if self.filter.dynamic_sampling and self.sampling.group_size == 1:
            raise ValueError("dynamic_sampling looks for groups whose rewards differ, and sampling.group_size=1 has none")
        if self.sampling.rollouts % self.optim.mini_batches:
            raise ValueError(
                f"{self.sampling.prompts_per_step} prompts x {self.sampling.group_size} completions = {self.sampling.rollouts} "
                f"rollouts do not divide into {self.optim.mini_batches} mini-batches"
            )
        return self

    def is_late(self, step: int) -> bool:
        """Return whether `step` belongs to the final phase."""
        return step >= self.steps - self.final_phase.steps


def _scheduled(schedule: Mapping[int, T], step: int, otherwise: T) -> T:
    """Return the value of the latest entry at or before `step`."""
    begun = [start for start in schedule if start <= step]
    return schedule[max(begun)] if begun else otherwise


class GRPOConfig(RolloutConfig, BackendConfig):
    """Settings of the trainer `grpo`.

    Defaults follow the field of 2026: advantages without the deviation, token-mean loss, clip 0.2/0.28, no KL, one update per
    batch of rollouts; groups without variance are left out. With `algo.advantage=gae` it is PPO, and needs a critic.
    """

    algo: Algo = Algo()
    critic: CriticSettings = CriticSettings()

    @property
    def frozen_copies(self) -> int:
        return int(self.algo.needs_reference and not self.lora.rank)  # with adapters it is the policy with these off

    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = GRPO_PRESETS
    renamed_values: ClassVar[Mapping[str, Mapping[str, str | Mapping[str, str]]]] = {
        "algo.policy_ratio": {"cispo": {"algo.loss": CISPO}},
        "algo.advantage": {"group_mean": "dr_grpo", "group_std": "grpo", "loo": "rloo"},
        "algo.loss_aggregation": {
            "token": "token-mean",
            "sequence": "seq-mean-token-mean",
            "constant": "seq-mean-token-sum-norm",
        },
    }
    renamed: ClassVar[Mapping[str, str]] = {
        **RolloutConfig.renamed,
        "epochs": "optim.epochs",
        "advantage": "algo.advantage",
        "whiten": "algo.normalize_advantages",
        "ratio": "algo.policy_ratio",
        "clip_low": "algo.clip_ratio_low",
        "clip_high": "algo.clip_ratio_high",
        "dual_clip": "algo.dual_clip",
        "aggregation": "algo.loss_aggregation",
        "kl_coef": "algo.kl_coef",
        "kl_estimator": "algo.kl_estimator",
        "kl_in": "algo.kl_in",
        "reference_every": "algo.ref_model_sync_steps",
        "track_kl": "algo.track_kl",
        "entropy_coef": "algo.entropy_coef",
        "mask_truncated": "algo.mask_truncated_completions",
        "correction": "algo.importance_sampling_correction",
        "correction_cap": "algo.importance_sampling_cap",
        "gamma": "algo.gamma",
        "gae_lambda": "algo.gae_lambda",
        "critic": "critic.kind",
        "critic_model": "critic.model",
        "critic_lr": "critic.lr",
        "critic_warmup": "critic.warmup_steps",
        "value_clip": "critic.value_clip",
        "value_coef": "critic.value_coef",
    }

    @model_validator(mode="after")
    def _advantage_is_possible(self) -> Self:
        if self.sampling.group_size == 1 and self.algo.compares_groups:
            raise ValueError(
                f"advantage={self.algo.advantage} compares the completions of a prompt; sampling.group_size must be 2 or more"
            )
        return self

    @model_validator(mode="after")
    def _something_is_left_to_learn(self) -> Self:
        if self.sampling.ignore_eos and self.algo.mask_truncated_completions:
            raise ValueError(
                "sampling.ignore_eos lets every completion run to its limit, and algo.mask_truncated_completions learns from none of those"
            )
        return self

    @model_validator(mode="after")
    def _adapters_have_one_base(self) -> Self:
        if self.lora.rank and self.algo.ref_model_sync_steps:
            raise ValueError(
                "with lora the reference is the model under the adapters, which no step changes; leave out algo.ref_model_sync_steps"
            )
        return self

    @model_validator(mode="after")
    def _critic_fits(self) -> Self:
        if self.algo.advantage != "gae":
            given = [f"critic.{name}" for name in _changed(self.critic, CriticSettings.model_fields)]
            given += [f"algo.{name}" for name in _changed(self.algo, ("gamma", "gae_lambda"))]
            if given:
                raise ValueError(f"{', '.join(given)}: a critic belongs to advantage=gae, not to {self.algo.advantage}")
        if self.critic.warmup_steps >= self.steps:
            raise ValueError(
                f"critic.warmup_steps={self.critic.warmup_steps} leaves none of the {self.steps} steps to the policy"
            )
        return self


def _changed(group: Settings, names: Iterable[str]) -> list[str]:
    """Return those of the settings `names` that differ from their defaults."""
    return [name for name in names if getattr(group, name) != type(group).model_fields[name].default]


class PPOConfig(GRPOConfig):
    """Settings of the trainer `ppo`, which is `grpo` with `algo.advantage=gae` and PPO's usual defaults.

    Groups have no meaning here: `sampling.group_size` is how many completions share a prompt's prefill.
    """

    sampling: PPOSampling = PPOSampling()
    algo: PPOAlgo = PPOAlgo()

    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = PPO_PRESETS
