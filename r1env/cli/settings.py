"""`r1env settings`, and the settings in `r1env train NAME --help`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any

import typer

from r1env.cli.console import print_json, printable, program, stdout_console
from r1env.cli.options import Json, names_of, plugins_of, presets_of
from r1env.config import Preset, Setting, list_groups, list_settings, value_at, with_new_names
from r1env.errors import UsageError
from r1env.plugins import Plugins
from r1env.recipes import config_class_of, load_recipe
from r1env.runs.files import to_json
from r1env.trainer import preset_of


def settings(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="TRAINER", autocompletion=names_of("trainers"), help="Trainer (see `r1env plugins`).")
    ],
    preset: Annotated[
        str | None, typer.Option("--preset", autocompletion=presets_of, help="Show the values of this preset.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the settings of a trainer: the value of each, where it is set, and where it was published.

    \b
    Example:
      r1env settings grpo
      r1env settings grpo --preset r1-zero
    """
    rows = list(resolve(plugins_of(ctx), name, preset))
    if as_json:
        print_json([row.as_json() for row in rows])
        return
    config_class = config_class_of(plugins_of(ctx), name)
    console = stdout_console()
    path_width = max(len(row.setting.path) for row in rows)
    value_width = min(30, max(len(row.value_text) for row in rows))
    for group, members in groupby(rows, key=lambda row: row.setting.group):
        console.print(f"\n{group or name}: {list_groups(config_class)[group]}", markup=False, style="bold")
        for row in members:
            line = f"  {row.setting.path:<{path_width}}  {row.value_text:<{value_width}}  {row.origin:<8}  {row.source}"
            console.print(printable(line.rstrip()), markup=False, soft_wrap=True)
    named = [row.setting for row in rows if row.setting.names]
    if named:
        console.print("\nnames, or module:attribute, or file.py:attribute", markup=False, style="bold")
    for setting in named:
        console.print(printable(f"  {setting.path:<{path_width}}  {', '.join(setting.names)}"), markup=False, soft_wrap=True)
    typer.echo(f"\nSet one with --set PATH=VALUE. Descriptions: {program()} train {name} --help")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A setting with its value before any override.

    Attributes:
        origin: `preset`, `default`, or `required` where it has neither.
        source: publication of the value, or a remark about it; empty for a choice of ours without one.
    """

    setting: Setting
    value: Any
    origin: str
    source: str

    @property
    def value_text(self) -> str:
        return "" if self.origin == "required" else to_json(self.value)

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.setting.path,
            "type": self.setting.type,
            "value": self.value,
            "default": self.setting.default,
            "from": self.origin,
            "source": self.source,
            "description": self.setting.description,
        }


def resolve(plugins: Plugins, trainer: str, preset_name: str | None = None) -> Iterator[Resolved]:
    """Yield the settings of a trainer, with the values of a preset where it has any.

    Raises:
        UsageError: the trainer or the preset is unknown, or the name is that of a recipe.
    """
    if trainer in plugins.provided("recipes") and trainer not in plugins.provided("trainers"):
        recipe = load_recipe(trainer, plugins)
        used = dict.fromkeys(stage.trainer for one in recipe.variants().values() for stage in one.stages)
        raise UsageError(
            f"{trainer} is a recipe of the trainers {', '.join(used)}: ask for the settings of one of them, "
            f"or see the recipe's with `{program()} train {trainer} --dry-run`"
        )
    config_class = config_class_of(plugins, trainer)
    preset = preset_of(trainer, config_class, preset_name) if preset_name is not None else Preset({})
    given = with_new_names(config_class, preset.settings)
    for setting in list_settings(config_class):
        if (value := value_at(given, setting.path)) is not None:
            yield Resolved(setting, value, "preset", preset.source_of(setting.path))
        else:
            yield Resolved(setting, setting.default, "required" if setting.required else "default", setting.source)


def help_lines(plugins: Plugins, name: str) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return heading → (setting, description) for the settings of `r1env train NAME --set`; for a recipe, its presets and stages.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in plugins.provided("trainers"):
        return {
            f"Recipe {name}, preset {variant}": [
                (f"{stage.name}.*", f"settings of the trainer {stage.trainer}: {program()} settings {stage.trainer}")
                for stage in one.stages
            ]
            for variant, one in load_recipe(name, plugins).variants().items()
        }
    config_class = config_class_of(plugins, name)
    groups = list_groups(config_class)
    sections: dict[str, list[tuple[str, str]]] = {}
    if config_class.presets:
        sections[f"Presets of {name}"] = [
            (preset, preset_of(name, config_class, preset).source) for preset in config_class.presets
        ]
    for setting in list_settings(config_class):
        heading = f"{setting.group}: {groups[setting.group]}" if setting.group else f"Settings of {name} (--set PATH=VALUE)"
        default = "required" if setting.required else f"default: {to_json(setting.default)}"
        sections.setdefault(heading.rstrip("."), []).append(
            (setting.path, f"{setting.description} [{setting.type}; {default}]")
        )
    return sections
