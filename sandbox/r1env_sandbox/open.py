"""`open_sandbox`: from a name to a `Judge`, on this machine or on a cluster.

A weaker backend is never taken in silence: only `auto` falls back, and only on one that proves what it promises.
"""

from __future__ import annotations

import logging
from typing import Any

from r1env_sandbox import doctor
from r1env_sandbox.errors import SandboxUnavailable
from r1env_sandbox.sandbox import _ELSEWHERE, BACKENDS, Judge, Sandbox, make_backend
from r1env_sandbox.transport import Backend

log = logging.getLogger(__name__)

NAMES = (*BACKENDS, "auto", "ray", "ray:bwrap", "ray:auto")


def open_sandbox(backend: str | Backend = "docker", workers: int | None = None, **options: Any) -> Judge:
    """Return a sandbox; its caller closes it.

    Args:
        backend: `docker`; `bwrap`, bubblewrap on this host (root's alone); `auto`, Docker, and where there is none bubblewrap, once
            every probe of `r1env-sandbox doctor` has held in it on this host; `ray`, a sandbox on every node of a Ray cluster, whose
            own backend may be named after a colon (`ray:bwrap`); or a `Backend` that is made already.
        workers: submissions judged at once, on a cluster on each node; None for the processors of the machine, up to 8.
        options: as for `Sandbox`: `min_workers`, `mode`, `image`, `runtime`, `cache_bytes`, `preload`.

    Raises:
        SandboxUnavailable: no program can be run.
        ValueError: there is no such backend, or it does not take such options.

    Example:
        >>> with open_sandbox("auto", mode="fork") as sandbox:  # doctest: +SKIP
        ...     sandbox.judge(submission, tests).status
        <Verdict.ACCEPTED: 'accepted'>
    """
    if not isinstance(backend, str):
        return Sandbox(workers, backend=backend, **options)
    where, _, on_nodes = backend.partition(":")
    if where == "ray":
        return _open_ray(on_nodes or "docker", workers, options)
    if backend == "auto":
        if options.get("image") or options.get("runtime"):
            raise ValueError("image and runtime are for the backend 'docker', not 'auto'")
        return Sandbox(workers, backend=choose_backend(), **options)
    if backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}; there are {', '.join(NAMES)}")
    return Sandbox(workers, backend=backend, **options)


def choose_backend() -> str | Backend:
    """Return what `auto` takes: the name of Docker where that can be used, or bubblewrap once it is proven.

    Raises:
        SandboxUnavailable: neither can be used.
    """
    try:
        make_backend("docker").close()
        return "docker"
    except SandboxUnavailable as error:
        without_docker = error
    try:
        backend = make_backend("bwrap")
    except SandboxUnavailable as error:
        raise SandboxUnavailable(f"{without_docker.cause}; and {error.cause}") from error
    with Sandbox(1, backend=backend) as sandbox:
        open_ends = [f"{finding.name} ({finding.detail})" for finding in doctor.examine_host(sandbox) if not finding.holds]
    if open_ends:
        raise SandboxUnavailable(
            f"{without_docker.cause}; and in bubblewrap does not hold on this host: {'; '.join(open_ends)}"
        )
    log.warning("no Docker (%s): programs run in bubblewrap, with the programs of this host", without_docker.cause)
    return backend


def _open_ray(on_nodes: str, workers: int | None, options: dict[str, Any]) -> Judge:
    if on_nodes not in (*BACKENDS, "auto"):
        raise ValueError(f"there is no backend 'ray:{on_nodes}'; there are {', '.join(NAMES)}")
    try:
        from r1env_sandbox.cluster import RaySandbox  # imports Ray
    except ImportError as error:
        raise SandboxUnavailable("backend 'ray' needs Ray", "Install r1env-sandbox[ray]") from error
    return RaySandbox(workers, backend=on_nodes, open_node=open_sandbox, **options)


_ELSEWHERE.update(auto=open_sandbox, ray=open_sandbox)
