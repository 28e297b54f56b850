"""The pages do what they say: Python blocks run and print what their comments promise, commands are taken as they stand.

A command that is cheap is run, a training is planned (`--dry-run`), and of the others the arguments are parsed.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from r1env.cli.main import COMMANDS, make_app
from r1env.config import list_settings
from r1env.importing import import_target
from r1env.plugins import installed
from r1env.rubrics import find_rubric
from r1env_sandbox.cli import app as sandbox_app

ROOT = Path(__file__).parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for pattern in (
        "*.md",
        "docs/*.md",
        "docs/tutorials/*.md",
        "plugins/*/README.md",
        "trainers/README.md",
        "sandbox/README.md",
        "examples/*/README.md",
    )
    for path in sorted(ROOT.glob(pattern))
]


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.strip().splitlines()[0][:60]}"


def blocks_of(page: str) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(page, language, text) for language, text in found]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
WITH_PYTHON = [page for page in PAGES if any(block.language == "python" for block in blocks_of(page))]

PRELUDES = {
    "docs/monitoring.md": """
import r1env
from pathlib import Path
from r1env.monitoring import RULES
from r1env.runs.run import Run
run, my_rule = Run.create(Path("RUN"), {}, seed=0), RULES[0]
run.start_stage("rl")
run.log_rollouts(1, [{"completion": "4", "reward": 1.0}])
run.finish_stage("rl")
""",
}
"""What a fragment takes for granted."""

NEED_AN_ENGINE = {"sandbox/README.md", "plugins/code/README.md"}
NEED_A_CLUSTER = 'backend="ray"'  # tests/sandbox/test_sandbox_ray.py runs it


def checked(source: str) -> str:
    """The block with its promises made assertions: `f(x)  # 3`, or the value in a comment below; "…" ends what is compared."""
    lines = source.splitlines()
    for statement in reversed(ast.parse(source).body):
        last = statement.end_lineno or 0
        after = lines[last - 1].encode()[statement.end_col_offset :].decode().strip() or (
            lines[last] if last < len(lines) else ""
        )
        if isinstance(statement, ast.Expr) and after.startswith("# ") and not ast.unparse(statement).startswith("print("):
            lines[statement.lineno - 1 : last] = [
                f"_value = {ast.unparse(statement)}",
                f"assert _promised({after[2:]!r}, repr(_value)), _value",
            ]
    return "\n".join(lines)


PROMISED = "def _promised(comment, value): return value.startswith(comment.partition('…')[0].partition('  ')[0].strip())"

SLOW = {
    "docs/adapters.md",
    "docs/losses.md",
    "docs/python.md",
    "docs/sft.md",
    "docs/tutorials/reward.md",
    "docs/what-did-not-work.md",
}
MARKS = dict.fromkeys(NEED_AN_ENGINE, pytest.mark.docker) | dict.fromkeys(SLOW, pytest.mark.slow)


@pytest.mark.parametrize("page", [pytest.param(page, marks=MARKS.get(page, ())) for page in WITH_PYTHON])
def test_the_python_blocks_of_a_page_run_and_print_what_their_comments_say(page, request, tmp_path):
    if page in NEED_AN_ENGINE:
        request.getfixturevalue("engine")
    parts, promises = [PROMISED, PRELUDES.get(page, "")], []
    for block in blocks_of(page):
        if block.language != "python" or NEED_A_CLUSTER in block.text:
            continue
        if block.text.startswith(">>>"):
            parts.append(f"import doctest; doctest.run_docstring_examples({block.text!r}, {{}}, name={str(block)!r})")
        else:
            parts.append(checked(block.text))
            promises += re.findall(r"print\(.*\)\s+# (.+)", block.text)
    files(tmp_path)
    done = run_python("\n".join(parts), tmp_path)
    assert done.returncode == 0, done.stderr
    for promise in promises:
        assert promise in done.stdout
    assert "Failed example" not in done.stdout, done.stdout


def files(folder: Path) -> None:
    """What the pages' commands read: data, a reward of the reader's own, models."""
    rows: dict[str, list[dict[str, Any]]] = {
        "in.jsonl": [{"id": 1, "answer": "4", "language": "en", "completion": "<think>2 + 2</think> \\boxed{4}"}],
        "gsm8k_test.jsonl": [{"question": "2 + 2?", "answer": "#### 4"}],
        "gsm8k_train.jsonl": [{"question": "1 + 2?", "answer": "#### 3"}],
        **{
            f"gsm8k/{split}.jsonl": [{"question": f"{n} + 2?", "answer": f"#### {n + 2}"} for n in range(9)]
            for split in ("train", "test")
        },
        "gpqa_diamond.jsonl": [
            {"Question": f"{n} + 2?", "Correct Answer": n + 2, **{f"Incorrect Answer {k}": n + 2 + k for k in (1, 2, 3)}}
            for n in range(9)
        ],
        "problems.jsonl": [{"q": f"{n} + 2?", "a": str(n + 2)} for n in range(2, 32)],
        "texts.jsonl": [{"title": f"Year {n}", "text": f"In the year {n} the bridge had {n + 2} arches."} for n in range(40)],
        "questions.jsonl": [{"question": f"How many arches in {n}?", "answer": str(n + 2)} for n in range(40)],
        "pairs.jsonl": [{"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}],
        "labels.jsonl": [{"prompt": f"{n} + 2?", "completion": str(n), "safe": n % 2 == 0} for n in range(8)],
        "demonstrations.jsonl": [{"prompt": "2 + 2?", "completion": "4"}],
        "runs/…/checkpoints/rejection/data.jsonl": [{"prompt": "2 + 2?", "completion": "4"}],
    }
    for name, lines in rows.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    (folder / "my_rewards.py").write_text(
        (ROOT / "docs/rewards.md").read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    )
    (folder / "my_env.py").write_text(definitions_of("docs/environments.md"), "utf-8")
    (folder / "shop.py").write_text(definitions_of("docs/tutorials/environment.md"), "utf-8")
    (folder / "rubric.yaml").write_text(
        (ROOT / "plugins/format/README.md").read_text("utf-8").partition("```yaml\n")[2].partition("```")[0]
    )


def definitions_of(page: str) -> str:
    """The functions, classes and constants of a page: what a reader would save as a module."""
    found = [statement for block in blocks_of(page) if block.language == "python" for statement in ast.parse(block.text).body]
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    return "\n".join(
        ast.unparse(one)
        for one in found
        if isinstance(one, kept)
        or (isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name) and one.targets[0].id.isupper())
    )


def run_python(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "blocks.py").write_text(source, "utf-8")
    return subprocess.run([sys.executable, "blocks.py"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=str)
def test_a_rubric_can_be_read(block, tmp_path):
    (tmp_path / "rubric.yaml").write_text(block.text, "utf-8")
    assert find_rubric(str(tmp_path / "rubric.yaml")).rewards


def commands_of(block: Block) -> list[str]:
    """Commands of ours in a block, whole: without the prompt, what feeds them, and the remark behind."""
    if block.language not in ("", "bash", "console"):
        return []
    return commands_in(block.text)


def commands_in(text: str) -> list[str]:
    lines = text.replace("\\\n", " ").splitlines()
    return [
        found[1] for line in lines if (found := re.search(r"^(?:\$ )?(?:[^#]*(?:\||&&) )?(r1env(?:-sandbox)? [^#|&]+)", line))
    ]


COMMAND_LINES = [pytest.param(line, id=f"{block.page}: {line.strip()}") for block in BLOCKS for line in commands_of(block)]

TRANSCRIPTS = [*(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/results/*.md"))), "docs/first-hour.md"]
"""Pages with commands that were run once, in blocks marked `text` or indented: they need a GPU, or what an earlier command made."""


def transcript_of(page: str) -> list[str]:
    indented = re.findall(r"(?:^ {4}\S.*\n)(?:^ {8}.*\n)*", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    texts = [block.text for block in blocks_of(page) if block.language == "text"] + [text.strip() for text in indented]
    lines = [
        line.replace("[", "").replace("]", "").replace("--seed N", "--seed 0") for text in texts for line in commands_in(text)
    ]
    return [line for line in lines if "…" not in line]


TRANSCRIBED = [pytest.param(line, id=f"{page}: {line.strip()}") for page in TRANSCRIPTS for line in transcript_of(page)]


@pytest.mark.parametrize("line", COMMAND_LINES + TRANSCRIBED)
def test_a_command_is_taken_as_it_stands(line):
    program, name, *arguments = shlex.split(line)
    if program == "r1env-sandbox":
        command: Any = typer.main.get_command(sandbox_app).commands[name]
    else:
        target: Any = import_target({spec.name: spec for spec in (*COMMANDS, *added())}[name].target)
        if not isinstance(target, typer.Typer):
            function, target = target, typer.Typer()
            target.command(name)(function)
        command = typer.main.get_command(target)
    command.make_context(name, arguments)  # raises where an option is unknown or has no such value


def added():
    return [provided.spec for provided in installed().provided("commands").values()]


INTERNAL = {"R1ENV_GROUPS", "R1ENV_WORK_MB", "R1ENV_OPENRLHF_DITHER", "R1ENV_OPENRLHF_JOB"}  # between processes of ours

RUN = {"envs", "export", "score", "show"}
NOT_HERE = ("--ray", "reward helpful", "reward judge", "--data gsm8k_test.jsonl --limit")


@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.values[0].split()[1] in RUN])
def test_a_cheap_command_runs(line, tmp_path, monkeypatch):
    if any(part in line for part in NOT_HERE):
        pytest.skip("takes a server or a cluster")
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(make_app(installed()), shlex.split(line)[1:], input=(tmp_path / "in.jsonl").read_bytes())
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "line", [line for line in COMMAND_LINES if line.values[0].startswith("r1env train") and "--resume" not in line.values[0]]
)
def test_a_training_can_be_planned(line, tmp_path, monkeypatch):
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = [*shlex.split(line.replace("MODEL", "tiny").replace("$python", sys.executable))[1:], "--dry-run"]
    if "gsm8k" in arguments and "env_options.data" not in line and "--data" not in line:
        arguments += ["--set", "env_options.data=gsm8k_train.jsonl"]  # instead of the hub's
    result = CliRunner().invoke(make_app(installed()), arguments)
    if "openrlhf" in line and "cannot run OpenRLHF" in result.output:
        return  # said after the settings were found good
    if "needs the library" in result.output:
        pytest.skip(result.output.strip())  # an extra; said after the files were read
    assert result.exit_code == 0, result.output


def test_the_files_that_a_page_links_to_exist():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text("utf-8")):
            assert ((ROOT / page).parent / target).exists(), (page, target)


@pytest.mark.parametrize("line", [line for line in TRANSCRIBED if line.values[0].startswith("r1env train")])
def test_the_settings_of_a_transcribed_training_still_exist(line):
    """What `--set` names in a command that was run once. A stage's settings, `rl.steps`, are those of its trainer."""
    arguments = shlex.split(line)
    names = [arguments[place + 1].partition("=")[0] for place, word in enumerate(arguments) if word == "--set"]
    known = [path for spec in trainers() for path in (setting.path for setting in list_settings(import_target(spec.config)))]
    for name in names:
        assert any(
            path in (name, name.partition(".")[2]) or name.startswith(f"{path}.") or f".{path}." in f"{name}." for path in known
        ), name


def trainers():
    return [provided.spec for provided in installed().provided("trainers").values()]


def test_every_environment_variable_of_ours_is_on_a_page():
    pages = "\n".join((ROOT / page).read_text("utf-8") for page in PAGES)
    folders = (ROOT / "r1env", ROOT / "trainers", ROOT / "sandbox", ROOT / "plugins")
    sources = "\n".join(path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py"))
    named = set(re.findall(r"[\"'](R1ENV_[A-Z_]+)[\"']", sources))
    assert named
    assert {name for name in named - INTERNAL if name not in pages} == set()


def test_a_paragraph_that_cites_the_measurements_quotes_their_figures():
    measured = (ROOT / "benchmarks/RESULTS.md").read_text("utf-8")
    pages = [*PAGES, *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/results/*.md")))]
    for page in pages:
        text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        for paragraph in re.split(r"\n\s*\n|\n(?=[-|*] )", text):
            if "RESULTS.md" in paragraph:
                prose = re.sub(r"\]\([^)]*\)|`[^`]*`", "", paragraph)
                for figure in re.findall(r"(?<![\w.,-])\d[\d,]*\.?\d+(?![\w-])", prose):
                    assert figure in measured, (page, figure)
