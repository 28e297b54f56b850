"""How plugins are found, checked and named. Built from module objects, as if each were an installed distribution."""

from __future__ import annotations

from types import ModuleType

import pytest

import r1env
from r1env.errors import PluginError, UnknownNameError
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


def test_two_plugins_with_one_name_are_an_error_that_names_both():
    found = dict(plugin(name, r1env_rewards=[reward_spec("short")]) for name in ("mine", "yours"))
    with pytest.raises(PluginError) as caught:
        Plugins(found)
    for part in ("'short'", "dist-of-mine 1.2 (mine)", "dist-of-yours 1.2 (yours)"):
        assert part in str(caught.value)


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
    distributions = {provided.provenance.distribution for provided in plugins.provided("rewards").values()}
    assert {"r1env-format", "r1env-math", "r1env-logic"} <= distributions


@pytest.mark.parametrize("name", sorted(r1env.installed().provided("rewards")))
def test_an_installed_reward_has_the_name_it_is_listed_under(name):
    assert r1env.get_reward(name).name == name
