"""Options that several commands share, and how they are read."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from r1env.config import parse_overrides
from r1env.data.rows import ColumnMap
from r1env.engines import Engine, SamplingParams
from r1env.envs.environment import Environment, make_environment
from r1env.errors import UsageError
from r1env.importing import import_target
from r1env.plugins import Plugins


def names_of(*kinds: str) -> Callable[[typer.Context, str], list[tuple[str, str]]]:
    """Return a completer for the shell: the names, with their summaries, of what plugins provide.

    Example:
        >>> typer.Option("--env", autocompletion=names_of("environments"))  # doctest: +SKIP
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        provided = [one.spec for kind in kinds for one in plugins_of(ctx).provided(kind).values()]
        return [(spec.name, getattr(spec, "summary", "")) for spec in provided if spec.name.startswith(incomplete)]

    return complete


def presets_of(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the presets of the trainer or recipe that the command line names."""
    named = {ctx.params.get("name"), *ctx.args}  # the parser leaves it in `args` if the line ends with `--preset`
    provided = [one.spec for kind in ("trainers", "recipes") for one in plugins_of(ctx).provided(kind).values()]
    presets = [preset for spec in provided if spec.name in named for preset in spec.presets]
    return [preset for preset in presets if preset.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EnvName = Annotated[
    str | None,
    typer.Option(
        "--env", autocompletion=names_of("environments"), help="Environment (see `r1env envs`). Default: the rows of --data."
    ),
]
EnvOptions = Annotated[
    list[str] | None,
    typer.Option("-o", "--env-option", metavar="KEY=VALUE", help="Option of the environment's task source. Repeatable."),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="Source of the tasks: a file, a folder, a glob, several separated by commas, or hub:owner/name[:config][@split].",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Meaning of the columns of --data, such as question=problem,answer=reward_model.ground_truth. Repeatable.",
    ),
]
DropRepeated = Annotated[
    bool, typer.Option("--drop-repeated", help="Leave out rows of --data that repeat the question of an earlier row.")
]
Template = Annotated[
    str | None,
    typer.Option("--template", autocompletion=names_of("templates"), help="Prompt template instead of the environment's own."),
]
RUBRIC = typer.Option(
    "--rubric",
    metavar="NAME|FILE",
    autocompletion=names_of("rubrics", "rewards"),
    help="Rubric: a preset, a YAML file or a single reward (a name, module:attribute or file.py:attribute).",
)
RubricName = Annotated[str, RUBRIC]
RewardName = Annotated[
    str | None,
    typer.Option(
        "--reward",
        metavar="NAME",
        autocompletion=names_of("rewards"),
        help="Reward: a name, module:attribute or file.py:attribute.",
    ),
]
Model = Annotated[str, typer.Option("--model", help="Model: a name, a folder or a hub name.")]
EngineName = Annotated[
    str, typer.Option("--engine", autocompletion=names_of("engines"), help="Inference engine (see `r1env plugins`).")
]
EngineOptions = Annotated[
    list[str] | None, typer.Option("--engine-option", metavar="KEY=VALUE", help="Option of the engine. Repeatable.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Number of tasks. Default: all, or 100 if the source is endless.")
]
Samples = Annotated[int, typer.Option("--n", min=1, help="Completions per task.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="Sampling temperature; 0 is greedy.")]
TopP = Annotated[float, typer.Option("--top-p", help="Nucleus sampling; 1 keeps the whole distribution.")]
TopK = Annotated[int, typer.Option("--top-k", min=0, help="Sample only from the k most likely tokens; 0 keeps all.")]
MinP = Annotated[
    float,
    typer.Option(
        "--min-p", min=0.0, max=1.0, help="Sample only from tokens with at least this share of the highest probability."
    ),
]
RepetitionPenalty = Annotated[
    float, typer.Option("--repetition-penalty", help="Penalty for tokens that already occur; 1 means no penalty.")
]
Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", metavar="TEXT", help="Text that ends a completion, and is included in it. Repeatable."),
]
IgnoreEOS = Annotated[bool, typer.Option("--ignore-eos", help="Do not end completions at end-of-sequence tokens.")]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Maximum number of tokens per completion.")]
Seed = Annotated[int, typer.Option("--seed", help="Random seed for tasks and completions.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Tasks per engine call.")]


def plugins_of(ctx: typer.Context) -> Plugins:
    """Return the installed plugins."""
    plugins: Plugins = ctx.obj
    return plugins


def open_environment(
    plugins: Plugins,
    name: str | None,
    options: list[str] | Mapping[str, Any] | None,
    data: str | None = None,
    columns: list[str] | None = None,
    drop_repeated: bool = False,
    make: Callable[..., Environment] = make_environment,
    **settings: Any,
) -> Environment:
    """Return the environment with options from the command line.

    Raises:
        UsageError: unknown name, unreadable option, or an option that is a setting of its own.
    """
    given = source_options(options if isinstance(options, Mapping) else parse_overrides(options or []))
    given |= data_options(data, columns, drop_repeated=drop_repeated)
    return make(name_of_environment(name, data), plugins=plugins, **settings, **given)


def source_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a task source.

    Raises:
        UsageError: one of them is a setting of its own, or none that a user can give.
    """
    own = {"rubric": "--rubric", "template": "--template", "plugins": None, "reward_options": None, "max_turns": None}
    for key in given.keys() & own.keys():
        raise UsageError(f"{key!r} is no option of a task source" + (f"; use {own[key]}" if own[key] else ""))
    return dict(given)


def data_options(data: str | None, columns: list[str] | None, *, drop_repeated: bool = False) -> dict[str, Any]:
    """The options of a task source that --data, --map and --drop-repeated give it. What is read is logged to the terminal from here on.

    Raises:
        UsageError: --map is no column map, or there is no --data for it.
    """
    logged = logging.getLogger("r1env.data")
    if not logged.handlers:
        logged.addHandler(_ToStandardError())
        logged.setLevel(logging.INFO)
        logged.propagate = False
    if columns and data is None:
        raise UsageError("--map says what the columns of --data are; give --data too")
    found: dict[str, Any] = {} if data is None else {"data": data}
    if drop_repeated:
        found["drop_repeated"] = True
    if columns:
        found["map"] = str(ColumnMap.parse(columns))
    return found


def name_of_environment(name: str | None, data: str | None) -> str:
    """The environment that is named, or `data` for the rows of --data alone.

    Raises:
        UsageError: neither.
    """
    if name is None and data is None:
        raise UsageError("say which tasks: --env ENV (see `r1env envs`), or --data FILE (see --help)")
    return name or "data"


class _ToStandardError(logging.Handler):
    """Prints to what is the standard error when the record comes, not when the handler was made. A message comes once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()
        self._stream: object = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._stream is not sys.stderr:  # another call of the program in this process
            self._stream, self._said = sys.stderr, set()
        message = record.getMessage()
        if message not in self._said:  # a command may open its data several times
            self._said.add(message)
            typer.echo(message, err=True)


def open_engine(plugins: Plugins, name: str, model: str, options: list[str] | Mapping[str, Any] | None) -> Engine:
    """Return the engine with its model.

    Raises:
        UsageError: unknown name, or an option that the engine does not take.
    """
    make = import_target(plugins.engine(name).target)
    given = options if isinstance(options, Mapping) else parse_overrides(options or [])
    try:
        engine: Engine = make(model, **given)
    except TypeError as error:
        if given:
            raise UsageError(f"engine {name!r} does not take these options: {error}") from error
        raise
    return engine


def make_sampling(stop: list[str] | None, **given: Any) -> SamplingParams:
    """Return the sampling of the command line.

    Args:
        given: fields of `SamplingParams`.

    Raises:
        UsageError: top-p outside (0, 1], a penalty of 0 or less, or an empty stop text.
    """
    if not 0 < given["top_p"] <= 1:
        raise UsageError(f"--top-p must be above 0 and at most 1, got {given['top_p']}")
    if given["repetition_penalty"] <= 0:
        raise UsageError(f"--repetition-penalty must be above 0, got {given['repetition_penalty']}")
    if not all(stop or []):
        raise UsageError("--stop needs a text; an empty one would end every completion before its first token")
    return SamplingParams(stop=tuple(stop or ()), **given)


def options_by_reward(pairs: list[str] | None) -> dict[str, dict[str, Any]]:
    """Return `REWARD.KEY=VALUE` pairs as options by reward.

    Raises:
        UsageError: a pair names no reward.
    """
    options = parse_overrides(pairs or [])
    if not all(isinstance(value, dict) for value in options.values()):
        raise UsageError("with a rubric, say whose option it is: --option REWARD.KEY=VALUE")
    return options
