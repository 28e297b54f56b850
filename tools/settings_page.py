"""Write docs/settings.md from the settings classes: `python tools/settings_page.py`. A test keeps the page true."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import r1env
from r1env.config import Setting, list_groups, list_settings
from r1env.recipes import config_class_of
from r1env.trainer import preset_of

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

HEAD = """# Settings

Every setting of every trainer, with its type, default and, where the default was published, its source. This page is written by
`python tools/settings_page.py`; `r1env train NAME --help` shows the same, and `r1env settings NAME --preset PRESET` the values of a preset.

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


def page() -> str:
    """Return the page as Markdown."""
    plugins = r1env.installed()
    parts = [HEAD]
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


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
