"""The image is named after what went into it, is found or said to be missing, and is built from any Debian base."""

from __future__ import annotations

import pytest
from docker.errors import ImageNotFound

from r1env_sandbox import Sandbox, SandboxUnavailable, Submission, TestCase, Verdict, images
from r1env_sandbox.backends.docker import connect
from r1env_sandbox.languages import UnknownLanguageError


class Client:
    """An engine with the images it is given: name → labels."""

    def __init__(self, **labels):
        self.images = self
        self._labels = labels

    def get(self, name):
        if name not in self._labels:
            raise ImageNotFound("no such image")
        return type("Image", (), {"id": f"sha256:{name}", "labels": self._labels[name]})()


def test_the_name_changes_with_what_goes_in(monkeypatch):
    before = images.image_name()
    assert before == images.image_name()
    monkeypatch.setattr(images, "CXX_FLAGS", ("-O3",))
    assert images.image_name() != before


def test_a_missing_image_is_said_to_be_missing_with_the_command_that_makes_it():
    with pytest.raises(SandboxUnavailable, match=r"the image r1env-sandbox:\w+ is missing. Make it with `r1env-sandbox build`"):
        images.require_image(Client())


def test_another_image_may_be_named_and_is_taken_as_it_is(monkeypatch):
    monkeypatch.setenv("R1ENV_SANDBOX_IMAGE", "mine")
    assert images.require_image(Client(mine={}), ["python", "cpp"]) == "sha256:mine"


def test_an_image_without_a_language_is_refused_with_the_command_that_adds_it(monkeypatch):
    monkeypatch.setenv("R1ENV_SANDBOX_IMAGE", "mine")
    client = Client(mine={images.LANGUAGES_LABEL: "c,python"})
    with pytest.raises(
        SandboxUnavailable, match=r"has no rust. Run `r1env-sandbox build --language c --language python --language rust`"
    ):
        images.require_image(client, ["rs"])


def test_a_build_says_early_what_it_cannot_do():
    with pytest.raises(UnknownLanguageError):
        images.build_image(Client(), languages=["cobol"])
    with pytest.raises(images.ImageBuildError, match="not both"):
        images.build_image(Client(), base="debian", bootstrap=True)


def test_a_base_is_made_by_root_only(monkeypatch):
    monkeypatch.setattr(images.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(images, "_cache_folder", lambda: images.Path("/nowhere"))
    with pytest.raises(images.ImageBuildError, match="needs root"):
        images.bootstrap_base(Client(), ["python3"], lambda _: None)


@pytest.fixture
def client(engine, monkeypatch):
    """The engine, under whose images those of a test are removed again."""
    client = connect()
    monkeypatch.setattr(images, "REPOSITORY", "r1env-sandbox-test")
    yield client
    for image in client.images.list("r1env-sandbox-test"):
        client.images.remove(image.id, force=True)
    client.close()


@pytest.mark.docker
@pytest.mark.slow
def test_an_image_is_built_from_a_base_found_again_and_works(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(images, "REPOSITORY", "r1env-sandbox")
        base = images.image_name()
    monkeypatch.setattr(images, "packages_of", lambda _: ("python3",))  # the base has them; others would take a network
    told = []
    image = images.build_image(client, base=base, languages=["bash"], offline=True, report=told.append)
    assert images.require_image(client, ["bash", "python"]) == image
    assert any(line.startswith("Step ") for line in told)
    with Sandbox(1, image=image) as sandbox:
        result = sandbox.judge(Submission(language="bash", source="echo $((6 * 7))"), [TestCase.stdio("", "42\n")])
    assert result.status is Verdict.ACCEPTED, result


@pytest.mark.docker
def test_a_build_that_fails_says_what_the_failing_step_said(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(images, "REPOSITORY", "r1env-sandbox")
        base = images.image_name()
    monkeypatch.setattr(images, "packages_of", lambda _: ("python3",))
    monkeypatch.setattr(images, "CXX_FLAGS", ("--no-such-flag",))
    with pytest.raises(images.ImageBuildError, match="no-such-flag"):
        images.build_image(client, base=base, languages=["cpp"], offline=True)
