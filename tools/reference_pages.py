"""Write the generated pages, docs/settings.md and docs/cli.md: `python tools/reference_pages.py`. A test keeps them true."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from typer.testing import CliRunner

import r1env
from r1env.cli.main import COMMANDS, make_app
from r1env.config import Setting, list_groups, list_settings
from r1env.recipes import config_class_of
from r1env.trainer import preset_of

DOCS = Path(__file__).parents[1] / "docs"

SETTINGS_HEAD = """# Settings

This page lists every setting of every trainer with its type, its default and, if the default was published, the source.
`python tools/reference_pages.py` writes it. `r1env train NAME --help` prints the same list, and `r1env settings NAME --preset PRESET` prints
the values of a preset.

```bash
r1env train grpo --preset tiny-cpu --set optim.lr=3e-4 --set sampling.group_size=8
r1env train grpo --preset tiny-cpu --dry-run         # print the settings that differ from the defaults; --all prints every one
```

The output of a dry run is a recipe file: save it with `> plan.yaml`, and `r1env train plan.yaml` runs that plan. The `config.yaml` of a run is
a recipe file too: `r1env train runs/NAME/config.yaml --set optim.lr=1e-4`.

In a file, settings are nested (`optim: {lr: 3e-4}`) or dotted (`optim.lr: 3e-4`); in Python, write `GRPOConfig(model=…, optim={"lr": 3e-4})`.
The old flat names (`lr`, `group_size`, …) still work for one version, with a warning that gives the new name. The error for an unknown name
suggests the setting that was probably meant, even if the name comes from TRL, verl or OpenRLHF (`num_generations`,
`actor_rollout_ref.rollout.n`, `init_kl_coef`).
"""


CLI_HEAD = """# Command line

This page shows the help of every command of r1env, as the command prints it; `python tools/reference_pages.py` writes it. Plugins add
commands of their own: `r1env --help` lists all of them, and `r1env COMMAND --help` explains one.

Exit codes: 0 success, 1 a problem was found or the command failed, 2 wrong usage, 130 interrupted, 143 terminated.

## Shell completion

```text
r1env --install-completion        # for the shell you are in: bash, zsh, fish or PowerShell
r1env --show-completion bash      # print the script instead, to put it where you like
```

In a new shell, Tab then completes commands, options, and the names of rewards, rubrics, environments, suites, trainers, recipes and presets,
those of installed plugins included: `r1env score --reward ma`, `r1env train grpo --preset ti`.
"""


def cli_page() -> str:
    """Return the page of the command line as Markdown."""
    parts = [CLI_HEAD]
    runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"})
    for command in COMMANDS:
        result = runner.invoke(make_app(r1env.installed()), [command.name, "--help"], prog_name="r1env")
        if result.exit_code != 0:
            raise RuntimeError(f"r1env {command.name} --help failed: {result.output}")
        lines = [line.rstrip() for line in result.stdout.strip().splitlines()]
        parts.append(f"## r1env {command.name}\n\n```text\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def settings_page() -> str:
    """Return the page of settings as Markdown."""
    plugins = r1env.installed()
    parts = [SETTINGS_HEAD]
    for trainer, provided in sorted(plugins.provided("trainers").items()):
        if provided.provenance.distribution != "r1env-trainers":
            continue  # of another package
        config_class = config_class_of(plugins, trainer)
        groups = list_groups(config_class)
        parts.append(f"## {trainer}\n\n{_paragraph(config_class.__doc__ or '')}\n")
        if config_class.presets:
            sources = ((name, preset_of(trainer, config_class, name).source) for name in config_class.presets)
            parts.append(
                "Presets: " + ", ".join(f"`{name}`" + (f" ({source})" if source else "") for name, source in sources) + ".\n"
            )
        for group, settings in itertools.groupby(list_settings(config_class), key=lambda setting: setting.group):
            table = "\n".join(["| setting | type | default | |", "|---|---|---|---|", *map(_row, settings)])
            parts += [f"**{group}**: {groups[group]}", table] if group else [table]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _row(setting: Setting) -> str:
    default = "required" if setting.required else f"`{json.dumps(setting.default, ensure_ascii=False)}`"
    source = f" Source: {setting.source}." if setting.source else ""
    cells = (f"`{setting.path}`", setting.type, default, setting.description + source)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _paragraph(docstring: str) -> str:
    return "\n".join(line.strip() for line in docstring.strip().splitlines())


PAGES = {"settings.md": settings_page, "cli.md": cli_page}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), "utf-8")
