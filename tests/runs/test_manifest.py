"""What a manifest finds out about where it is."""

import subprocess
from pathlib import Path

from r1env.hooks import RewardSpec, hookimpl
from r1env.plugins import Plugins, Provenance
from r1env.runs.manifest import distribution_versions, git_revision, plugin_provenance


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_revision_says_when_files_differ_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    clean = git_revision(tmp_path)
    (tmp_path / "file").write_text("b")
    assert clean is not None
    assert len(clean) == 40
    assert git_revision(tmp_path) == clean + "+changes"


def test_there_is_no_revision_outside_a_checkout(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None


def test_versions_are_read_without_importing_anything() -> None:
    assert distribution_versions()["numpy"].count(".") >= 1


def test_every_plugin_that_gave_something_is_named_once() -> None:
    class Two:
        @staticmethod
        @hookimpl
        def r1env_rewards() -> list[RewardSpec]:
            return [RewardSpec("a", "m:a", ""), RewardSpec("b", "m:b", "")]

    found = plugin_provenance(Plugins({Provenance("two", "r1env-two", "1.2"): Two}))
    assert found == [{"plugin": "two", "distribution": "r1env-two", "version": "1.2"}]
