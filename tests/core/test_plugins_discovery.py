"""How plugins are found, checked and named. Built from module objects, as if each were an installed distribution."""

from __future__ import annotations

from types import ModuleType

import pytest
from typer.testing import CliRunner

import r1env
from r1env.cli.main import make_app
from r1env.envs.environment import make_environment
from r1env.errors import PluginError, UnknownNameError, UsageError
from r1env.plugins import Plugins, Provenance


def plugin(name: str, **hooks) -> tuple[Provenance, ModuleType]:
    """A plugin module with the given hooks, and where it is said to come from."""
    module = ModuleType(name)
    for hook, returned in hooks.items():

        def implementation(returned=returned):
            if isinstance(returned, Exception):
                raise returned
            return returned

        setattr(module, hook, r1env.hookimpl(implementation))
    return Provenance(name, f"dist-of-{name}", "1.2"), module


def reward_spec(name: str) -> r1env.RewardSpec:
    return r1env.RewardSpec(name, f"somewhere:{name}", "a reward")


def test_what_a_plugin_provides_is_found_by_name_with_its_provenance():
    plugins = Plugins(dict([plugin("mine", r1env_rewards=[reward_spec("short"), reward_spec("long")])]))
    assert list(plugins.provided("rewards")) == ["short", "long"]
    assert str(plugins.provided("rewards")["short"].provenance) == "dist-of-mine 1.2 (mine)"
    assert plugins.failures == []


def test_a_name_that_two_plugins_provide_is_recorded_and_refused_only_when_it_is_asked_for():
    found = dict(
        plugin(name, r1env_rewards=[r1env.RewardSpec("short", f"{name}:short", ""), reward_spec(name)])
        for name in ("mine", "yours")
    )
    plugins = Plugins(found)
    (clash,) = plugins.clashes
    assert (clash.kind, clash.name) == ("rewards", "short")
    assert plugins.find(r1env.RewardSpec, "yours").target == "somewhere:yours"
    assert [one.spec.name for one in plugins.listed("rewards")] == ["short", "short", "mine", "yours"]
    with pytest.raises(PluginError) as caught:
        plugins.reward("short")
    assert str(caught.value) == str(clash)
    for part in ("'short'", "dist-of-mine 1.2 (mine)", "dist-of-yours 1.2 (yours)"):
        assert part in str(clash)


def test_one_spec_that_two_plugins_hand_on_is_no_clash():
    plugins = Plugins(dict(plugin(name, r1env_rewards=[reward_spec("short")]) for name in ("mine", "yours")))
    assert plugins.clashes == []
    assert plugins.find(r1env.RewardSpec, "short") == reward_spec("short")


@pytest.mark.parametrize("name", ["", "two words", "my.py:f", "r1env/x", "\n", 5])
def test_a_name_that_gymnasium_or_the_command_line_could_not_take_is_a_failure(name):
    plugins = Plugins(dict([plugin("broken", r1env_rewards=[reward_spec(name)]), plugin("sound", r1env_rewards=[])]))
    (failure,) = plugins.failures
    assert "a name has letters" in failure.reason
    assert repr(name) in failure.reason
    assert dict(plugins.provided("rewards")) == {}


# One manager for all plugins: wrappers, order, events


def module_of(name: str, **hooks) -> tuple[Provenance, ModuleType]:
    """A plugin module with these marked functions."""
    module = ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, function)
    return Provenance(name, f"dist-of-{name}", "1.2"), module


def test_a_wrapper_of_one_plugin_changes_what_the_others_provide():
    @r1env.hookimpl(wrapper=True)
    def renaming():
        lists = yield
        return [[r1env.RewardSpec(spec.name, "elsewhere:better", spec.summary) for spec in specs] for specs in lists]

    found = dict([plugin("mine", r1env_rewards=[reward_spec("short")]), module_of("wrapping", r1env_rewards=renaming)])
    plugins = Plugins(found)
    assert plugins.failures == []
    assert plugins.find(r1env.RewardSpec, "short").target == "elsewhere:better"
    assert plugins.provided("rewards")["short"].provenance.plugin == "mine"


def test_a_wrapper_may_add_something_of_its_own():
    @r1env.hookimpl(wrapper=True)
    def adding():
        return [*(yield), [reward_spec("added")]]

    found = dict([plugin("mine", r1env_rewards=[reward_spec("short")]), module_of("wrapping", r1env_rewards=adding)])
    assert str(Plugins(found).provided("rewards")["added"].provenance) == "dist-of-wrapping 1.2 (wrapping)"


def raise_before():
    raise RuntimeError("before")
    yield


def raise_after():
    yield
    raise RuntimeError("after")


def return_nonsense():
    yield
    return 5


def return_what_is_no_spec():
    yield
    return [[object()]]


def yield_twice():
    yield
    yield


@pytest.mark.parametrize("wrapper", [raise_before, raise_after, return_nonsense, return_what_is_no_spec, yield_twice])
def test_a_wrapper_that_fails_is_recorded_and_changes_nothing(wrapper):
    broken = module_of("wrapping", r1env_rewards=r1env.hookimpl(wrapper=True)(wrapper))
    plugins = Plugins(dict([plugin("mine", r1env_rewards=[reward_spec("short")]), broken]))
    assert [failure.provenance.plugin for failure in plugins.failures] == ["wrapping"]
    assert list(plugins.provided("rewards")) == ["short"]


def test_a_plugin_that_wants_to_be_asked_first_is_listed_first():
    hook = r1env.hookimpl(tryfirst=True)(lambda: [reward_spec("urgent")])
    found = dict([plugin("mine", r1env_rewards=[reward_spec("short")]), module_of("urgent", r1env_rewards=hook)])
    assert list(Plugins(found).provided("rewards")) == ["urgent", "short"]


def test_the_target_of_a_spec_may_be_the_object_itself():
    def short(completion: str) -> float:
        return float(len(completion) < 3)

    spec = r1env.RewardSpec("short", r1env.reward(name="short")(short), "")
    reward = Plugins(dict([plugin("mine", r1env_rewards=[spec])])).reward("short")
    assert reward.score(r1env.Rollout(task=r1env.Task(id="1", prompt=""), completion="ab")).value == 1.0


def test_an_event_reaches_every_plugin_and_one_that_raises_is_reported_once(caplog):
    seen = []

    @r1env.hookimpl
    def failing(scores):
        raise SystemExit(f"no {len(scores)}")

    found = dict(
        [
            module_of("failing", r1env_scored=failing),
            module_of("sound", r1env_scored=r1env.hookimpl(lambda rollouts, scores: seen.append((rollouts, scores)))),
        ]
    )
    plugins = Plugins(found)
    assert plugins.listens("r1env_scored")
    assert not plugins.listens("r1env_step_end")
    for _ in range(3):
        plugins.notify("r1env_scored", rollouts=(1,), scores=(2,))
    assert seen == [((1,), (2,))] * 3
    assert [failure.reason for failure in plugins.failures] == ["r1env_scored: SystemExit: no 1"]
    assert caplog.text.count("dist-of-failing") == 1


def test_a_hook_that_asks_for_what_the_event_has_not_is_a_failure():
    plugins = Plugins(dict([module_of("curious", r1env_scored=r1env.hookimpl(lambda rollouts, model: None))]))
    assert "model" in plugins.failures[0].reason


def test_one_name_may_stand_for_things_of_different_kinds():
    spec = r1env.EnvironmentSpec("short", "somewhere:tasks", reward="short", summary="")
    plugins = Plugins(dict([plugin("mine", r1env_rewards=[reward_spec("short")], r1env_environments=[spec])]))
    assert plugins.environment("r1env/short") is spec


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (ImportError("no module named 'x'"), "no module named 'x'"),
        ([object()], "r1env_rewards returned a object; it must return a list of RewardSpec"),
        (5, "int"),
    ],
)
def test_a_broken_plugin_is_skipped_by_name_and_the_others_work(returned, reason):
    plugins = Plugins(dict([plugin("broken", r1env_rewards=returned), plugin("sound", r1env_rewards=[reward_spec("short")])]))
    (failure,) = plugins.failures
    assert failure.provenance.plugin == "broken"
    assert reason in failure.reason
    assert list(plugins.provided("rewards")) == ["short"]


def test_a_plugin_that_fails_halfway_provides_nothing():
    plugins = Plugins(dict([plugin("broken", r1env_rewards=[reward_spec("short")], r1env_engines=[object()])]))
    assert dict(plugins.provided("rewards")) == {}
    assert len(plugins.failures) == 1


def test_a_hook_that_does_not_exist_is_a_failure_and_not_silence():
    plugins = Plugins(dict([plugin("misspelt", r1env_reward=[reward_spec("short")])]))
    assert "r1env_reward" in plugins.failures[0].reason


def test_an_unknown_name_comes_with_the_nearest_and_with_the_plugins_that_failed():
    found = dict([plugin("mine", r1env_rewards=[reward_spec("short")]), plugin("broken", r1env_rewards=ValueError())])
    with pytest.raises(UnknownNameError, match=r"'shrot'; did you mean 'short'\? \(1 plugins failed to load"):
        Plugins(found).reward("shrot")


def test_a_reward_can_be_named_by_where_it_stands():
    assert Plugins({}).reward("r1env_format.reward:Format", template="r1").options == {"template": "r1"}


def test_the_distributions_of_this_repository_are_found_and_none_is_broken():
    plugins = r1env.installed()
    assert plugins.failures == []
    assert plugins.clashes == []
    distributions = {provided.provenance.distribution for provided in plugins.provided("rewards").values()}
    assert {"r1env-format", "r1env-math", "r1env-logic"} <= distributions


@pytest.mark.parametrize("name", sorted(r1env.installed().provided("rewards")))
def test_an_installed_reward_has_the_name_it_is_listed_under(name):
    assert r1env.get_reward(name).name == name


def needs_more(completion, foo):
    return 1.0


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("math:nope", "cannot import 'math:nope': module 'math' has no attribute 'nope'"),
        ("", "cannot import '': write module:attribute"),
        ("exits_when_imported:x", r"importing exits_when_imported raised SystemExit: 5 \(exits_when_imported.py, line 1\)"),
        ("raises_when_imported:x", "importing raises_when_imported raised RuntimeError: no driver"),
        ("math:tau", "'mine' is a float, not a reward"),
        (needs_more, "reward 'mine' asks for 'foo'"),
    ],
)
def test_a_reward_that_cannot_be_had_is_reported_with_its_plugin(tmp_path, monkeypatch, target, reason):
    (tmp_path / "exits_when_imported.py").write_text("raise SystemExit(5)")
    (tmp_path / "raises_when_imported.py").write_text("raise RuntimeError('no driver')")
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins(dict([plugin("theirs", r1env_rewards=[r1env.RewardSpec("mine", target, "")])]))
    with pytest.raises(PluginError, match=rf"^reward 'mine' of dist-of-theirs 1.2 \(theirs\): .*{reason}"):
        plugins.reward("mine")
    checked = CliRunner().invoke(make_app(plugins), ["plugins", "--check"])
    assert checked.exit_code == 1
    assert "broken: reward 'mine' of dist-of-theirs 1.2 (theirs): " in checked.stderr


def test_a_plain_function_has_the_name_under_which_its_plugin_provides_it():
    plugins = Plugins(dict([plugin("theirs", r1env_rewards=[r1env.RewardSpec("mine", lambda completion: 1.0, "")])]))
    assert plugins.reward("mine").name == "mine"


def leaves():
    raise SystemExit(7)


def untyped_prompt():
    return [r1env.Task(id="1", prompt=5)]


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (leaves, PluginError, "environment 'shop': its task source raised SystemExit: 7"),
        (untyped_prompt, UsageError, "environment 'shop': its task source raised ValidationError"),
        (list, PluginError, "environment 'shop': its source returned a list, which is no TaskSource"),
    ],
)
def test_what_a_task_source_does_wrong_is_said_with_the_environment(source, error, message):
    plugins = Plugins(dict([plugin("theirs", r1env_environments=[r1env.EnvironmentSpec("shop", source, "", "")])]))
    with pytest.raises(error, match=message):
        make_environment("shop", plugins=plugins)
