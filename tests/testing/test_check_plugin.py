"""`check_plugin`, and the checks of templates, rubrics, tool parsers and hooks: sound things pass, and each fault is named."""

from __future__ import annotations

import types

import pytest

import r1env
from r1env.envs.conversation import parse_tool_calls
from r1env.prompts import PromptTemplate
from r1env.testing import Example, check_plugin, check_rubric, check_template, check_tool_parser, plugin_checks
from r1env.testing.plugins import _check_hooks, _check_imports


@pytest.mark.parametrize("plugin", ["r1env.builtin", pytest.param("r1env_format.plugin", marks=pytest.mark.slow)])
def test_our_own_plugins_pass(plugin):
    check_plugin(plugin)


def test_there_is_a_check_for_everything_and_each_has_a_name():
    checks = plugin_checks("r1env_trainers.plugin")
    names = [str(check) for check in checks]
    assert {"imports", "hooks", "loss clipped", "KL estimator k3", "trainer grpo", "recipe r1"} <= set(names)
    for check in checks:
        if str(check).startswith(("loss", "policy", "KL", "recipe", "trainer", "report")):
            check()


def test_an_environment_that_needs_data_says_that_it_is_only_imported(tmp_path):
    (label,) = [str(check) for check in plugin_checks("r1env.builtin") if str(check).startswith("environment data")]
    assert "imports only (it needs" in label
    rows = "".join(f'{{"question": "{n} + 1?", "answer": "{n + 1}"}}\n' for n in range(6))
    (tmp_path / "rows.jsonl").write_text(rows)
    options = {"data": {"data": str(tmp_path / "rows.jsonl")}}
    (check,) = [one for one in plugin_checks("r1env.builtin", options=options) if str(one) == "environment data"]
    check()


def test_examples_for_a_reward_that_the_plugin_does_not_have_are_refused():
    with pytest.raises(AssertionError, match="provides no such-reward"):
        plugin_checks("r1env.builtin", examples={"such-reward": [Example("1", value=1.0)]})


def plugin(**hooks):
    """A plugin made of hook functions."""
    module = types.SimpleNamespace(__name__="a_plugin")
    for name, function in hooks.items():
        function.__name__ = name
        setattr(module, name, r1env.hookimpl(function))
    return module


def test_a_plugin_that_is_not_installed_is_told_to_be():
    made = plugin(r1env_templates=lambda: [r1env.TemplateSpec("mine", "{question}!", "an example")])
    (check,) = [check for check in plugin_checks(made) if str(check) == "prompt template mine"]
    with pytest.raises(AssertionError, match="not among the installed plugins"):
        check()


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ({"r1env_rewards": lambda: [1 / 0]}, "ZeroDivisionError"),
        ({"r1env_rewards": lambda: "short"}, "must return a list of RewardSpec"),
        ({"r1env_rewards": lambda: [r1env.RewardSpec("a:b", "m:f", "")]}, "a name has letters"),
        ({"r1env_reward": lambda: []}, "which is no hook of r1env"),
        ({"r1env_step_end": lambda metrics: print(metrics["reward"])}, "KeyError: 'reward'"),
        ({"r1env_scored": lambda scores: print(sum(score.value for score in scores))}, "TypeError"),
    ],
)
def test_a_bad_hook_is_named(hooks, message):
    with pytest.raises(AssertionError, match=message):
        _check_hooks(plugin(**hooks))


def test_a_plugin_module_that_imports_a_heavy_library_is_named(tmp_path, monkeypatch):
    (tmp_path / "heavy_plugin.py").write_text("import torch\n")
    (tmp_path / "broken_plugin.py").write_text("import no_such_library\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(AssertionError, match="heavy_plugin imports torch"):
        _check_imports("heavy_plugin")
    with pytest.raises(AssertionError, match=r"cannot import broken_plugin.*no_such_library"):
        _check_imports("broken_plugin")


@pytest.mark.parametrize("name", list(r1env.installed().provided("templates")))
def test_every_installed_template_passes(name):
    check_template(name)


COUNT = iter(range(1000))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (lambda task: task.question, "returned a str, not a list of messages"),
        (lambda task: [], "returned no message"),
        (lambda task: [{"role": "human", "content": task.question}], "its role is 'human'"),
        (lambda task: [{"role": "user"}], "its content is a NoneType"),
        (lambda task: [{"role": "user", "content": "Solve it."}], "does not show the question"),
        (lambda task: [{"role": "user", "content": f"{task.question} ({task.answer})"}], "shows the reference answer"),
        (lambda task: [{"role": "user", "content": f"{task.question} {next(COUNT)}"}], "another prompt the second time"),
        (lambda task: [{"role": "user", "content": task.question.format()}], "raised KeyError"),
        (lambda task: task.metadata["a"].append(1) or task.prompt, "changes the task"),
        (PromptTemplate("stops", lambda task: task.prompt, stop=("",)), "an empty text in `stop`"),
    ],
)
def test_a_bad_template_is_named(template, message):
    with pytest.raises(AssertionError, match=message):
        check_template(template)


def test_a_bad_rubric_is_named():
    check_rubric("zero")

    @r1env.reward
    def raising(completion):
        return 1 / len(completion)

    with pytest.raises(AssertionError, match=r"on '': .*ZeroDivisionError"):
        check_rubric(r1env.Rubric("mine", [r1env.WeightedReward(raising)]))
    with pytest.raises(AssertionError, match="every weight is 0"):
        check_rubric(r1env.Rubric("mine", [r1env.WeightedReward(raising, 0.0)]))


@pytest.mark.parametrize(
    ("parser", "message"),
    [
        (lambda text: [{"name": "add", "arguments": {}}] if "add" in text else [], "returned .*'name': 'add'"),
        (lambda text: [int(text)], "raised ValueError"),
        (lambda text: [{**call, "id": 1} for call in parse_tool_calls(text)], "see r1env.envs.conversation.parse_tool_calls"),
    ],
)
def test_a_bad_tool_parser_is_named(parser, message):
    check_tool_parser("hermes")
    with pytest.raises(AssertionError, match=message):
        check_tool_parser(parser)
