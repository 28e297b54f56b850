"""Contracts of templates, rubrics, tool parsers and hooks; and `check_plugin`, which checks all that a plugin provides."""

from __future__ import annotations

import copy
import importlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

from r1env.envs.suite import members_of, missing_for
from r1env.errors import PluginError, R1EnvError, UsageError
from r1env.hooks import HOOKS, SINGULAR, EnvironmentSpec, RubricPresetSpec, ToolParserSpec
from r1env.importing import import_target
from r1env.plugins import Plugins, Provenance, installed
from r1env.prompts import PromptTemplate, as_template
from r1env.rewards import reward as make_reward
from r1env.rubrics import Rubric, as_rubric, resolve_rubric, with_options
from r1env.runs.run import Run
from r1env.scoring import score
from r1env.testing.environments import check_environment, check_fixture
from r1env.testing.hostile import HOSTILE_TEXTS
from r1env.testing.learning import (
    check_advantage,
    check_kl_estimator,
    check_loss,
    check_loss_aggregation,
    check_policy_ratio,
)
from r1env.testing.rewards import Example, check_hostile_texts, check_reward
from r1env.types import Conversation, Rollout, Score, Status, Task, fault_of_messages

SECRET = "r1env-7391-answer"  # the reference answer of the tasks that a template is tried on
PARSER_SECONDS = 10.0  # of CPU, for one text
HEAVY = ("torch", "transformers", "sympy", "docker", "ray", "vllm", "gymnasium")
"""What a plugin's module must not import: it is imported whenever plugins are listed, and with `import gymnasium`."""


def check_plugin(
    plugin: str | ModuleType,
    *,
    examples: Mapping[str, Sequence[Example]] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Check everything that a plugin provides, and say all that is wrong with it.

    The plugin must be installed, so that its names are found. A pytest test for each thing is made by `plugin_checks`.

    Args:
        plugin: the module that its entry point names, or its import string.
        examples: name of a reward → completions and their values, see `check_reward`. A reward without examples is only given hostile texts.
        options: name of an environment → the options that it needs, such as data; name of a rubric → options of its rewards, by their names.
            An environment that needs something, as its spec's `requires` says, and has no options here is only imported.

    Example:
        >>> check_plugin("r1env.builtin")

    Raises:
        AssertionError: promises are broken; a line for each.
    """
    faults = []
    for check in plugin_checks(plugin, examples=examples, options=options):
        try:
            check()
        except AssertionError as error:
            faults.append(f"{check}: {error}")
    if faults:
        raise AssertionError("\n".join(faults))


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a plugin; call it. Its text says what it checks, for the ids of pytest."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        try:
            self.run()
        except R1EnvError as error:
            raise AssertionError(str(error)) from error

    def __str__(self) -> str:
        return self.name


def plugin_checks(
    plugin: str | ModuleType,
    *,
    examples: Mapping[str, Sequence[Example]] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Check]:
    """Return the checks of `check_plugin`, one for each thing that a plugin provides. Arguments as there.

    Example of a test file::

        import pytest
        from r1env.testing import plugin_checks

        @pytest.mark.parametrize("check", plugin_checks("my_package.plugin"), ids=str)
        def test_the_plugin_keeps_its_contracts(check):
            check()
    """
    module = importlib.import_module(plugin) if isinstance(plugin, str) else plugin
    plugins = Plugins({Provenance(module.__name__, "the plugin", "here"): module})
    given = _Given(examples or {}, options or {})
    checks = [Check("imports", partial(_check_imports, module.__name__)), Check("hooks", partial(_check_hooks, module))]
    checks += [
        Check(_label(kind, one.spec, given), partial(_check_spec, kind, one.spec, given))
        for kind in HOOKS
        for one in plugins.listed(kind)
    ]
    provided = {one.spec.name for kind in HOOKS for one in plugins.listed(kind)}
    unknown = [name for name in (*given.examples, *given.options) if name not in provided]
    if unknown:
        raise AssertionError(f"{module.__name__} provides no {', '.join(unknown)}, for which there are examples or options")
    return checks


@dataclass(frozen=True, slots=True)
class _Given:
    examples: Mapping[str, Sequence[Example]]
    options: Mapping[str, Mapping[str, Any]]


def _label(kind: str, spec: Any, given: _Given) -> str:
    label = f"{SINGULAR[kind]} {spec.name}"
    lacking = _lacking(kind, spec, given)
    return f"{label}, imports only (it needs {lacking})" if lacking else label


def _lacking(kind: str, spec: Any, given: _Given) -> str:
    """Return what an environment needs to be opened and scored, and does not have here; empty where it has everything."""
    if kind != "environments" or spec.name in given.options:
        return ""
    return str(spec.requires) if spec.fixture is None or missing_for(spec.fixture) else ""


def _check_spec(kind: str, spec: Any, given: _Given) -> None:
    """Check one thing by its name, which must lead to it."""
    what = f"{SINGULAR[kind]} {spec.name!r}"
    found = installed().provided(kind).get(spec.name)
    _require(found is not None, f"{what} is not among the installed plugins; install the package (pip install -e .)")
    assert found is not None
    clashes = [str(clash) for clash in installed().clashes if (clash.kind, clash.name) == (kind, spec.name)]
    _require(not clashes, "; ".join(clashes))
    _require(bool(spec.summary.strip()) if hasattr(spec, "summary") else True, f"{what} has no summary")
    for target in ("target", "source", "config", "other"):
        if (value := getattr(spec, target, None)) is not None:
            _imported(what, value)
    checks: Mapping[str, Callable[[str], None]] = {
        "rewards": lambda name: (
            check_reward(name, given.examples[name]) if given.examples.get(name) else check_hostile_texts(name)
        ),
        "environments": lambda name: _check_environment(spec, given.options.get(name)),
        "templates": check_template,
        "rubrics": lambda name: check_rubric(name, given.options.get(name)),
        "tool_parsers": check_tool_parser,
        "advantages": check_advantage,
        "losses": check_loss,
        "policy_ratios": check_policy_ratio,
        "loss_aggregations": check_loss_aggregation,
        "kl_estimators": check_kl_estimator,
        "suites": lambda name: _check_members(what, name),
        "recipes": lambda _: _check_resource(what, spec.resource),
    }
    if kind in checks and not _lacking(kind, spec, given):
        checks[kind](spec.name)


def check_template(template: PromptTemplate | Callable[[Task], Conversation] | str) -> None:
    """Check that a prompt template keeps the contract.

    It returns at least one message, each with a role and a text; it shows the question and not the reference answer, whatever characters are in the
    question; and it gives the same messages again, without changing the task.

    Args:
        template: a template, a function from a task to messages, or the name of an installed one.

    Example:
        >>> check_template("boxed")

    Raises:
        AssertionError: a promise is broken.
    """
    subject = installed().template(template) if isinstance(template, str) else as_template(template, "template")
    what = f"template {subject.name!r}"
    _require(all(subject.stop), f"{what}: an empty text in `stop` ends every completion")
    for name, question, earlier in _questions():
        task = Task(id=name, prompt=(*earlier, {"role": "user", "content": question}), answer=SECRET, metadata={"a": [1]})
        before = copy.deepcopy(task)
        try:
            messages, again = subject.render(task), subject.render(task)
        except Exception as error:
            raise AssertionError(f"{what}: raised {type(error).__name__}: {error}, on {name}") from error
        _require(not (fault := fault_of_messages(messages)), f"{what}: returned {fault}, on {name}")
        _require(list(messages) == list(again), f"{what}: shows another prompt the second time, on {name}")
        _require(task == before, f"{what}: changes the task, on {name}")
        shown = "\n".join(message["content"] for message in messages)
        _require(question in shown, f"{what}: does not show the question, on {name}")
        _require(SECRET not in shown, f"{what}: shows the reference answer, on {name}")


def _questions() -> Iterator[tuple[str, str, Conversation]]:
    """Name, question, and earlier messages."""
    yield "a plain question", "What is 6 * 7?", ()
    yield "a question with braces and percent signs", "What is {x} in \\boxed{x} or %s, %(answer)s, $answer?", ()
    yield "a question in several scripts", "Сколько будет 6 × 7? 六かける七は? 👩‍👩‍👧", ()
    shots: Conversation = (
        {"role": "system", "content": "Be exact."},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
    )
    yield "a question after a system message and an example", "What is 6 * 7?", shots


def check_rubric(rubric: Rubric | str, options: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Check that a rubric keeps the contract: its rewards are found, some weight is not 0, and it scores plain completions without failing.

    The environment's own checker (`accuracy`) is a stand-in here.

    Args:
        options: name of a reward → the options that it needs.

    Example:
        >>> check_rubric("zero")

    Raises:
        AssertionError: a promise is broken.
    """

    @make_reward(name="accuracy")
    def accuracy(completion: str) -> float:
        return float("4" in completion)

    name = rubric if isinstance(rubric, str) else rubric.name
    try:
        found = as_rubric(installed().load(RubricPresetSpec, name), name) if isinstance(rubric, str) else rubric
        resolved = resolve_rubric(with_options(found, options or {}), installed().reward, accuracy)
    except (PluginError, UsageError) as error:
        raise AssertionError(f"rubric {name!r}: {error}") from error
    _require(any(item.weight for item in resolved.rewards), f"rubric {name!r}: every weight is 0")
    task = Task(id="rubric", prompt="2 + 2?", answer="4")
    texts = ("4", "<think>two and two</think><answer>4</answer>", "", "no")
    rollouts = [Rollout(task=task, completion=text) for text in texts]
    for rollout, scored in zip(rollouts, score(rollouts, resolved), strict=True):
        _require(not scored.failed, f"rubric {name!r}, on {rollout.completion!r}: {scored.reason}")


def check_tool_parser(parser: Callable[[str], Sequence[Mapping[str, Any]]] | str) -> None:
    """Check that a parser of tool calls keeps the contract.

    Whatever text a model writes, the parser returns a list of calls within seconds and never raises. A call has an `id` and a `function` with
    a `name` and `arguments`, a mapping, or None where they cannot be read.

    Example:
        >>> check_tool_parser("hermes")

    Raises:
        AssertionError: a promise is broken.
    """
    function = installed().load(ToolParserSpec, parser) if isinstance(parser, str) else parser
    what = f"tool parser {parser if isinstance(parser, str) else getattr(parser, '__name__', parser)!r}"
    texts = {**HOSTILE_TEXTS, **{name: f"<tool_call>{text}</tool_call>" for name, text in HOSTILE_TEXTS.items()}}
    texts |= {
        "a call": '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>',
        "10,000 calls": "<tool_call>{}</tool_call>" * 10_000,
        "a call that never ends": '<tool_call>{"name": "add", "argu',
    }
    for name, text in texts.items():
        begun = time.process_time()
        try:
            calls = list(function(text))
        except Exception as error:
            raise AssertionError(
                f"{what}: raised {type(error).__name__} on {name}; a text is answered, never an error"
            ) from error
        took = time.process_time() - begun
        _require(took < PARSER_SECONDS, f"{what}: took {took:.0f} CPU seconds on {name}")
        for call in calls:
            of = call.get("function") if isinstance(call, Mapping) else None
            good = (
                isinstance(of, Mapping)
                and isinstance(call.get("id"), str)
                and isinstance(of.get("name"), str)
                and isinstance(of.get("arguments"), Mapping | None)
            )
            _require(good, f"{what}: returned {str(call)[:200]}, on {name}; see r1env.envs.conversation.parse_tool_calls")


# Hooks.


def _check_imports(module: str) -> None:
    """Importing a plugin's module must be cheap: listing plugins, and importing Gymnasium, does it."""
    code = f"import sys, json; import {module}; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    _require(done.returncode == 0, f"cannot import {module} in a new process: {done.stderr.strip().splitlines()[-1:]}")
    heavy = json.loads(done.stdout)
    _require(
        not heavy, f"{module} imports {', '.join(heavy)}; name targets by import strings, so that listing plugins stays cheap"
    )


def _check_hooks(module: ModuleType) -> None:
    """Hooks return their specs, raise nothing, and events take whatever a run has to say."""
    plugins = Plugins({Provenance(module.__name__, "the plugin", "here"): module})
    task = Task(id="event", prompt="2 + 2?", answer="4")
    rollouts = [Rollout(task=task, completion=text) for text in ("4", "")]
    scores = [Score(value=1.0, status=Status.OK), Score(value=None, status=Status.ERROR, reason="for the check")]
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", {}, seed=0)
        for metrics in ({"reward": 0.5, "loss": 0.1}, {"reward": math.nan}, {}):
            plugins.notify("r1env_step_end", run=run, stage="grpo", step=1, metrics=metrics)
        for some in (0, 2):
            plugins.notify("r1env_scored", rollouts=tuple(rollouts[:some]), scores=tuple(scores[:some]))
    _require(not plugins.failures, "; ".join(failure.reason for failure in plugins.failures))


def _imported(what: str, target: object) -> None:
    try:
        import_target(target)
    except PluginError as error:
        raise AssertionError(f"{what}: {error}") from error


def _check_environment(spec: EnvironmentSpec, options: Mapping[str, Any] | None) -> None:
    """Check an environment with the options that it was given, or with those of its fixture."""
    if spec.fixture is not None:
        check_fixture(spec.name)
        options = spec.fixture.options if options is None else options
    check_environment(f"r1env/{spec.name}", **(options or {}))


def _check_members(what: str, name: str) -> None:
    members = members_of(name, installed())
    _require(bool(members), f"{what} has no environments")
    for member in members:
        _require(
            math.isfinite(member.weight) and member.weight >= 0,
            f"{what}: the weight of {member.environment} is {member.weight}",
        )
        try:
            installed().environment(member.environment)
        except (PluginError, UsageError) as error:
            raise AssertionError(f"{what}: {error}") from error


def _check_resource(what: str, resource: str) -> None:
    package, _, path = resource.partition(":")
    _require(files(package).joinpath(path).is_file(), f"{what}: the package {package} ships no file {path}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
