"""From a name to a backend. A weaker one is never taken in silence: only `auto` falls back, only on one that proves what it promises."""

from __future__ import annotations

import logging

from r1env_sandbox.backends import Backend
from r1env_sandbox.errors import SandboxUnavailable

log = logging.getLogger(__name__)

NAMES = ("docker", "bwrap", "auto")


def make_backend(name: str, image: str | None = None, runtime: str | None = None) -> Backend:
    """A backend that can start workers here.

    Args:
        name: `docker`; `bwrap`; or `auto`, which is Docker, and where there is none bubblewrap, once every probe of
            `r1env-sandbox doctor` has held in it on this host.
        image, runtime: for Docker.

    Raises:
        SandboxUnavailable: it cannot; the message says why.
    """
    if name == "docker":
        return _docker(image, runtime)
    if name == "bwrap":
        return _bwrap()
    try:
        return _docker(image, runtime)
    except SandboxUnavailable as error:
        without_docker = error
    try:
        backend = _bwrap()
    except SandboxUnavailable as error:
        raise SandboxUnavailable(f"{without_docker.cause}; and {error.cause}") from error
    if open_ends := _what_does_not_hold(backend):
        raise SandboxUnavailable(
            f"{without_docker.cause}; and in bubblewrap does not hold on this host: {'; '.join(open_ends)}"
        )
    log.warning("no Docker (%s): programs run in bubblewrap, with the programs of this host", without_docker.cause)
    return backend


def _docker(image: str | None, runtime: str | None) -> Backend:
    from r1env_sandbox.backends.docker import DockerBackend  # imports the Docker SDK

    return DockerBackend(image=image, runtime=runtime)


def _bwrap() -> Backend:
    from r1env_sandbox.backends.bwrap import BwrapBackend

    return BwrapBackend()


def _what_does_not_hold(backend: Backend) -> list[str]:
    from r1env_sandbox.doctor import examine_host  # needs `Sandbox`, which needs this module
    from r1env_sandbox.sandbox import Sandbox

    with Sandbox(1, backend=backend) as sandbox:
        return [f"{finding.name} ({finding.detail})" for finding in examine_host(sandbox) if not finding.holds]
