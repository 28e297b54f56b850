"""`RaySandbox`: a `Judge` with a sandbox on every node of a Ray cluster. A lost node costs time, never a verdict.

On each node an actor holds a `Sandbox` with a warm pool of its own; programs, tests and verdicts travel, containers do not. Judging
changes nothing outside a worker, so what was on a node that is lost is judged again on another, and the caller, who gets one answer to
one call, sees one verdict.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayError, RaySystemError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from r1env_sandbox.cache import DEFAULT_BYTES
from r1env_sandbox.errors import SandboxBusy, SandboxUnavailable
from r1env_sandbox.models import JudgeResult, Limits, RunResult, SandboxInfo, Submission, TestCase, Verdict
from r1env_sandbox.sandbox import MAX_DEFAULT_WORKERS, QUEUE_SECONDS, Judge, Mode, Sandbox

log = logging.getLogger(__name__)

START_SECONDS = 120.0  # for an actor and its sandbox on a node, where a cluster may still be unpacking its environment
LOOK_SECONDS = 10.0  # between looks for nodes that have joined
ATTEMPTS = 3  # a submission that loses this many nodes may be what loses them
CLOSE_SECONDS = 20.0

_LOST = (
    RayActorError,
    RaySystemError,
    ObjectLostError,
)  # the last: a verdict with long outputs stays on its node until it is fetched

Result = TypeVar("Result", JudgeResult, RunResult)


class NodeSandbox:
    """The actor: a sandbox on one node. Faults of the node come back as a line of text, as they are for the caller to route around."""

    def __init__(self, open_node: Callable[..., Judge], options: dict[str, Any]) -> None:
        self._open = open_node
        self._options = options
        self._sandbox: Judge | None = None

    def start(self) -> tuple[int, dict[str, str]] | str:
        """Its workers, and what it runs on; or why this node has no sandbox."""
        try:
            self._sandbox = self._open(**self._options)
            return self._sandbox.workers, self._sandbox.describe()
        except SandboxUnavailable as error:
            return error.cause

    def judge(
        self, submission: Submission, tests: Sequence[TestCase], limits: Limits | None, stop_at_first_failure: bool
    ) -> JudgeResult | str:
        return self._here(lambda sandbox: sandbox.judge(submission, tests, limits, stop_at_first_failure=stop_at_first_failure))

    def run(self, submission: Submission, stdin: str, limits: Limits | None) -> RunResult | str:
        return self._here(lambda sandbox: sandbox.run(submission, stdin, limits))

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()

    def _here(self, work: Callable[[Judge], Result]) -> Result | str:
        if self._sandbox is None:
            return "not started"
        try:
            return work(self._sandbox)
        except (SandboxUnavailable, SandboxBusy) as error:
            return str(error)
        except ValueError as error:  # of the request; its own class may not survive being pickled
            raise ValueError(str(error)) from None


@dataclass(slots=True, eq=False)
class _Node:
    """One node as seen from here.

    Attributes:
        started: the reference to what `NodeSandbox.start` returns, until it has.
        workers: submissions that it judges at once; 0 until it has started.
        judging: how many it judges now.
    """

    node_id: str
    name: str
    actor: Any
    started: Any
    workers: int = 0
    judging: int = 0
    about: dict[str, str] | None = None


class RaySandbox:
    """What `open_sandbox("ray")` makes: a `Judge` on all nodes of the Ray cluster that this process is connected to, or that `ray.init`
    finds at "auto". Nodes that join are taken in; those without a sandbox are left out with a warning. For the threads of one process.

    Args:
        workers: submissions judged at once *on each node*; None takes the node's processors, up to 8.
        backend: where the nodes' own sandboxes take their workers from.
        open_node: makes the sandbox of a node, from these options.
        min_workers, mode, image, runtime, cache_bytes, preload: as for `Sandbox`, for each node.

    Attributes:
        workers: of all nodes together that could judge when it was made.

    Raises:
        SandboxUnavailable: there is no cluster, or no node of it can judge.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        min_workers: int = 1,
        mode: Mode = "spawn",
        backend: str = "docker",
        open_node: Callable[..., Judge] = Sandbox,
        image: str | None = None,
        runtime: str | None = None,
        cache_bytes: int = DEFAULT_BYTES,
        preload: Sequence[str] = (),
    ) -> None:
        self.mode: Mode = mode
        self._threads = (workers or MAX_DEFAULT_WORKERS) + 2  # one a worker, and room for `close`
        self._options: dict[str, Any] = {
            **{"workers": workers, "min_workers": min_workers, "mode": mode, "backend": backend, "image": image},
            **{"runtime": runtime, "cache_bytes": cache_bytes, "preload": tuple(preload)},
        }
        self._open_node = open_node
        self._changed = threading.Condition()
        self._queue: list[object] = []
        self._nodes: dict[str, _Node] = {}
        self._refused: dict[str, str] = {}  # nodes that said why they cannot judge: they are not asked again
        self._looked = 0.0
        self._closed = False
        self._connected_here = _connect()
        self._wait_for_all()
        self.workers = sum(node.workers for node in self._nodes.values())

    def judge(
        self,
        submission: Submission,
        tests: Sequence[TestCase],
        limits: Limits | None = None,
        *,
        stop_at_first_failure: bool = False,
        queue_timeout_s: float = QUEUE_SECONDS,
    ) -> JudgeResult:
        """As `Sandbox.judge`. `info.backend` is `ray:` and the node's, `info.worker` starts with the node, and `info.attempts` also counts
        the nodes that were lost meanwhile. With `ATTEMPTS` nodes lost it is `judge_error`, which has no score.
        """
        answer, lost = self._on_a_node(
            queue_timeout_s, lambda node: node.actor.judge.remote(submission, tests, limits, stop_at_first_failure), JudgeResult
        )
        if isinstance(answer, str):
            return JudgeResult.without_score(Verdict.JUDGE_ERROR, answer, info=SandboxInfo(backend="ray", attempts=lost))
        return _with_attempts(answer, lost)

    def run(self, submission: Submission, stdin: str = "", limits: Limits | None = None) -> RunResult:
        """As `Sandbox.run`."""
        answer, lost = self._on_a_node(QUEUE_SECONDS, lambda node: node.actor.run.remote(submission, stdin, limits), RunResult)
        if isinstance(answer, str):
            return RunResult(status=Verdict.JUDGE_ERROR, info=SandboxInfo(backend="ray", attempts=lost, note=answer))
        return _with_attempts(answer, lost)

    async def judge_async(
        self,
        submission: Submission,
        tests: Sequence[TestCase],
        limits: Limits | None = None,
        *,
        stop_at_first_failure: bool = False,
    ) -> JudgeResult:
        """`judge`, in a thread, for use on an event loop."""
        return await asyncio.to_thread(self.judge, submission, tests, limits, stop_at_first_failure=stop_at_first_failure)

    def describe(self) -> dict[str, str]:
        """Return what each node runs on."""
        with self._changed:
            nodes = [node for node in self._nodes.values() if node.about is not None]
        return {
            "cluster": f"Ray {ray.__version__}, {len(nodes)} nodes",
            **{f"{node.name}, {key}": value for node in nodes for key, value in (node.about or {}).items()},
            **{f"node {node_id[:8]}": f"cannot judge: {cause}" for node_id, cause in self._refused.items()},
        }

    def warm_up(self) -> None:
        """Nothing to do: each node's sandbox starts its workers with the first submissions."""

    def close(self) -> None:
        """End the actors, and with them all workers. Closing twice is fine."""
        with self._changed:
            self._closed = True
            nodes, self._nodes = list(self._nodes.values()), {}
            self._changed.notify_all()
        with contextlib.suppress(RayError):  # the cluster may be gone, and the nodes' workers with it
            if nodes:
                ray.wait([node.actor.close.remote() for node in nodes], num_returns=len(nodes), timeout=CLOSE_SECONDS)
            for node in nodes:
                ray.kill(node.actor)
        if self._connected_here:
            self._connected_here = False
            ray.shutdown()

    def __enter__(self) -> RaySandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _on_a_node(self, timeout_s: float, ask: Callable[[_Node], Any], kind: type[Result]) -> tuple[Result | str, int]:
        """Return what a node answers, or a line that says why none does; and how many attempts were lost before."""
        deadline = time.monotonic() + timeout_s
        cause = ""
        for lost in range(ATTEMPTS):
            node = self._take(deadline, timeout_s)
            try:
                answer = ray.get(ask(node))
                if isinstance(answer, kind):
                    return self._signed(answer, node), lost
                cause = str(answer)
            except _LOST as error:
                cause = " ".join(str(error).split())[:300]
            except ValueError as error:  # of the request; Ray's message holds a traceback, its cause the sentence
                raise ValueError(str(getattr(error, "cause", error))) from error
            finally:
                with self._changed:
                    node.judging -= 1
                    self._changed.notify_all()
            self._drop(node, cause)
        return f"{ATTEMPTS} nodes were lost one after the other; the last: {cause}", ATTEMPTS

    def _signed(self, answer: Result, node: _Node) -> Result:
        info = answer.info
        signed = {"backend": f"ray:{info.backend or self._options['backend']}", "worker": f"{node.name}/{info.worker}"}
        return answer.model_copy(update={"info": info.model_copy(update=signed)})

    def _take(self, deadline: float, timeout_s: float) -> _Node:
        """Return a node with a free worker: the one with the largest share of them free.

        Raises:
            SandboxBusy: none became free in time, or this is closed.
            SandboxUnavailable: there is no node left that can judge.
        """
        ticket = object()
        with self._changed:
            # First come, first served: a thread that comes back for more would always be faster than one that waits.
            self._queue.append(ticket)
            try:
                while True:
                    if self._closed:
                        raise SandboxBusy("the sandbox is closed")
                    self._look()
                    free = [node for node in self._nodes.values() if node.judging < node.workers]
                    if free and self._queue[0] is ticket:
                        node = min(free, key=lambda node: node.judging / node.workers)
                        node.judging += 1
                        return node
                    if not self._nodes:
                        raise SandboxUnavailable(*self._nobody())
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise SandboxBusy(f"no worker of the cluster became free in {timeout_s:g} s")
                    starting = any(not node.workers for node in self._nodes.values())
                    self._changed.wait(min(left, 0.2 if starting else LOOK_SECONDS))
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _look(self) -> None:
        """Start on nodes that have joined, and hear from those that were starting. With the lock held."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS or not self._nodes:
            self._looked = now
            for node in _alive():
                if node["NodeID"] not in self._nodes and node["NodeID"] not in self._refused:
                    self._nodes[node["NodeID"]] = self._start(node)
        for starting in [node for node in self._nodes.values() if not node.workers]:
            if ray.wait([starting.started], timeout=0)[0]:
                self._hear(starting)

    def _start(self, node: dict[str, Any]) -> _Node:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        make: Any = ray.remote(NodeSandbox)
        # No processor is reserved: judging is what a node does besides its other work.
        actor = make.options(num_cpus=0, max_concurrency=self._threads, scheduling_strategy=there).remote(
            self._open_node, self._options
        )
        name = f"{node['NodeManagerHostname']}-{node['NodeID'][:8]}"
        return _Node(node["NodeID"], name, actor, actor.start.remote())

    def _hear(self, node: _Node) -> None:
        """Take what a node that was starting has said. With the lock held."""
        try:
            said = ray.get(node.started, timeout=START_SECONDS)
        except (*_LOST, GetTimeoutError) as error:
            said = " ".join(str(error).split())[:300]
        if isinstance(said, str):
            log.warning("node %s cannot judge: %s", node.name, said)
            self._refused[node.node_id] = said
            self._nodes.pop(node.node_id, None)
        else:
            node.workers, node.about = said

    def _wait_for_all(self) -> None:
        with self._changed:
            self._look()
            for node in list(self._nodes.values()):
                if not node.workers:
                    self._hear(node)
            if not self._nodes:
                cause, remedy = self._nobody()
                self._closed = True
                raise SandboxUnavailable(cause, remedy)

    def _drop(self, node: _Node, cause: str) -> None:
        """Give no more work to a node that failed; the next look finds it again if it lives."""
        log.warning("node %s is lost: %s", node.name, cause)
        with self._changed:
            if self._nodes.get(node.node_id) is node:
                del self._nodes[node.node_id]
            self._changed.notify_all()
        with contextlib.suppress(RayError):
            ray.kill(node.actor)

    def _nobody(self) -> tuple[str, str]:
        causes = "; ".join(sorted(set(self._refused.values()))) or "the cluster has no node"
        return (
            f"no node of the Ray cluster can judge ({causes})",
            "Each node needs what a sandbox needs on one machine: a Docker engine with the image, or root for 'ray:bwrap'",
        )


def _connect() -> bool:
    """Connect to a cluster unless this process is connected. Whether that was done here."""
    if ray.is_initialized():
        return False
    try:
        ray.init(address="auto", log_to_driver=False)
    except (ConnectionError, RuntimeError) as error:
        raise SandboxUnavailable(
            f"no Ray cluster is running ({error})", "Start one (`ray start --head`), or call `ray.init` before"
        ) from error
    return True


def _alive() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def _with_attempts(answer: Result, lost: int) -> Result:
    return answer.model_copy(update={"info": answer.info.model_copy(update={"attempts": answer.info.attempts + lost})})
