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

Every setting of every trainer, with its type, default and, where the default was published, its source. This page is written by
`python tools/reference_pages.py`; `r1env train NAME --help` shows the same, and `r1env settings NAME --preset PRESET` the values of a preset.

```bash
r1env train grpo --preset tiny-cpu --set optim.lr=3e-4 --set sampling.group_size=8
r1env train grpo --preset tiny-cpu --dry-run         # prints what differs from the defaults; with --all everything
```

The output of a dry run is a recipe: with `> plan.yaml` behind it, `r1env train plan.yaml` trains what was planned. A run's `config.yaml` is
one too: `r1env train runs/NAME/config.yaml --set optim.lr=1e-4`.

In a file, settings are nested (`optim: {lr: 3e-4}`) or dotted (`optim.lr: 3e-4`); in Python, `GRPOConfig(model=…, optim={"lr": 3e-4})`.
Old flat names (`lr`, `group_size`, …) work for one version, with a warning that gives the new one. An unknown name is answered with the
likely one, also if it is TRL's, verl's or OpenRLHF's (`num_generations`, `actor_rollout_ref.rollout.n`, `init_kl_coef`).
"""


CLI_HEAD = """# Command line

The help of every command of r1env itself, as it prints it. This page is written by `python tools/reference_pages.py`. Plugins add commands;
`r1env --help` lists them all, and `r1env COMMAND --help` explains each.

Exit codes: 0 done, 1 something was found or failed, 2 wrong usage, 130 interrupted, 143 terminated.
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
