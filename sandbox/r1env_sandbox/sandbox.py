"""`Sandbox`: what users hold. A backend, a warm pool of its workers, a compile cache, and the rule for faults of our own."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, TypeVar

from r1env_sandbox.backends import Backend
from r1env_sandbox.backends.choose import NAMES, make_backend
from r1env_sandbox.cache import DEFAULT_BYTES, CompileCache
from r1env_sandbox.errors import SandboxBusy, SandboxUnavailable, WorkerLost
from r1env_sandbox.judge import EXAMINER_MODULES, Job, judge_on, run_on
from r1env_sandbox.languages import LanguageSpec, find_language, packages_of
from r1env_sandbox.models import JudgeResult, Limits, RunResult, SandboxInfo, Submission, TestCase, TestKind, Verdict
from r1env_sandbox.pool import Slot, WarmPool
from r1env_sandbox.worker import PRELOADED, Worker

log = logging.getLogger(__name__)

Mode = Literal["spawn", "fork"]

ATTEMPTS = 2  # a fault of ours is tried once more, on another worker
MAX_DEFAULT_WORKERS = 8
QUEUE_SECONDS = 3600.0  # to wait for a worker: a long queue is no fault, a dead pool is found by its own time-outs

Result = TypeVar("Result", JudgeResult, RunResult)


class Sandbox:
    """Judges submissions in isolated workers. A context manager; for any number of threads; survives a fork, in which the child gets
    workers of its own. Workers are started when they are needed and stay warm.

    Args:
        workers: submissions judged at once; None takes the processors this process may use, up to 8.
        min_workers: how many are kept however long nothing is judged.
        mode: how Python tests start. `spawn`: a fresh interpreter each. `fork`: a fork of one that has the usual modules loaded,
            several times faster for short tests.
        backend: `docker`; `bwrap`, bubblewrap on this host (root's alone); `auto`, Docker or else bubblewrap if all its probes hold;
            `ray`, which makes this a `r1env_sandbox.cluster.RaySandbox`; or one that is made already.
        image: for `docker`; None for the one that `r1env-sandbox build` makes.
        runtime: for `docker`: `runsc` for gVisor, None for the engine's default.
        cache_bytes: of compiled programs that are kept in memory.
        preload: modules that `fork` has loaded besides the usual ones.

    Raises:
        SandboxUnavailable: no program can be run on this machine.

    Example:
        >>> with Sandbox() as sandbox:  # doctest: +SKIP
        ...     sandbox.judge(Submission(language="python", source="print(int(input()) + 1)"), [TestCase.stdio("41", "42")]).status
        <Verdict.ACCEPTED: 'accepted'>
    """

    def __new__(cls, *_: Any, backend: str | Backend = "docker", **__: Any) -> Sandbox:
        """A `RaySandbox` for the backend `ray`, as `pathlib.Path` is a `PosixPath`: one name to construct, whatever is behind it."""
        if cls is Sandbox and isinstance(backend, str) and backend.partition(":")[0] == "ray":
            return object.__new__(_ray_sandbox())
        return object.__new__(cls)

    def __init__(
        self,
        workers: int | None = None,
        *,
        min_workers: int = 1,
        mode: Mode = "spawn",
        backend: str | Backend = "docker",
        image: str | None = None,
        runtime: str | None = None,
        cache_bytes: int = DEFAULT_BYTES,
        preload: Sequence[str] = (),
    ) -> None:
        self.workers = min(_processors(), MAX_DEFAULT_WORKERS) if workers is None else workers
        if self.workers < 1:
            raise ValueError(f"a sandbox needs at least one worker, not {workers}")
        if mode not in ("spawn", "fork"):
            raise ValueError(f"the mode is 'spawn' or 'fork', not {mode!r}")
        self.mode: Mode = mode
        self._min_workers = min(min_workers, self.workers)
        self._preload = (*PRELOADED, *preload) if mode == "fork" else ()
        self._make_backend = _backend_maker(backend, image, runtime)
        self.cache = CompileCache(cache_bytes)
        self._lock = threading.Lock()
        self._started: tuple[Backend, WarmPool] | None = None
        _after_fork(self)
        self._closed = False
        self._ready()
        atexit.register(self.close)

    def judge(
        self,
        submission: Submission,
        tests: Sequence[TestCase],
        limits: Limits | None = None,
        *,
        stop_at_first_failure: bool = False,
        queue_timeout_s: float = QUEUE_SECONDS,
    ) -> JudgeResult:
        """Compile once, run every test, and say what happened. Whatever the program does is in the result: nothing is raised on its
        account. A fault of the sandbox itself is tried once more, and is then `judge_error`, which has no score.

        Args:
            submission: the program.
            tests: at least one; the order of `JudgeResult.tests` is theirs.
            limits: for the compiler and for each test alone; None for the defaults of `Limits`.
            stop_at_first_failure: leave out the tests after the first that is not accepted; they count as not passed.
            queue_timeout_s: how long to wait for a free worker.

        Raises:
            SandboxUnavailable: no program can be run on this machine any more.
            SandboxBusy: no worker became free in time.
        """
        try:
            job = self._job(submission, tests, limits or Limits(), stop_at_first_failure)
        except ValueError as error:
            return JudgeResult.without_score(Verdict.REJECTED_INPUT, str(error))
        result, info = self._on_a_slot(job, queue_timeout_s, lambda slot: judge_on(slot, job, self.cache))
        if isinstance(result, JudgeResult):
            return result.model_copy(update={"info": info.model_copy(update={"note": result.info.note})})
        if result.out_of_memory:
            return JudgeResult(status=Verdict.MEMORY_LIMIT, score=0.0, info=info)
        return JudgeResult.without_score(Verdict.JUDGE_ERROR, str(result), info=info)

    def run(self, submission: Submission, stdin: str = "", limits: Limits | None = None) -> RunResult:
        """Compile a program, run it once, and return all that it printed. Nothing is compared.

        Raises:
            SandboxUnavailable, SandboxBusy: as in `judge`.
            ValueError: the language is not known.
        """
        job = self._job(submission, [TestCase.stdio(stdin, "")], limits or Limits(), stop_at_first_failure=False)
        result, info = self._on_a_slot(job, QUEUE_SECONDS, lambda slot: run_on(slot, job, stdin, self.cache))
        if isinstance(result, RunResult):
            return result.model_copy(update={"info": info})
        status = Verdict.MEMORY_LIMIT if result.out_of_memory else Verdict.JUDGE_ERROR
        return RunResult(status=status, info=info.model_copy(update={"note": " ".join(str(result).split())}))

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
        """What the backend runs on, for a person."""
        return self._ready()[0].describe()

    def warm_up(self) -> None:
        """Start `min_workers` now rather than with the first submission."""
        self._ready()[1].warm_up()

    def close(self) -> None:
        """End all workers. Closing twice is fine; a forked child closes only its own."""
        with self._lock:
            self._closed = True
            started, self._started = self._started, None
        if started is not None:
            backend, pool = started
            pool.close()
            backend.close()
        atexit.unregister(self.close)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ready(self) -> tuple[Backend, WarmPool]:
        with self._lock:
            if self._closed:
                raise SandboxBusy("the sandbox is closed")
            if self._started is None:
                backend = self._make_backend()
                pool = WarmPool(partial(self._start_slot, backend), min_slots=self._min_workers, max_slots=self.workers)
                self._started = backend, pool
            return self._started

    def _on_a_slot(self, job: Job, timeout_s: float, work: Callable[[Slot], Result]) -> tuple[Result | WorkerLost, SandboxInfo]:
        """What `work` returns on a slot, or the fault that kept all attempts from it."""
        for attempt in range(1, ATTEMPTS + 1):
            _, pool = self._ready()
            asked = time.monotonic()
            info = self._info(job, attempt)
            try:
                with pool.lease(timeout_s) as slot:
                    waited = {"worker": slot.worker.name, "queue_ms": round(1000 * (time.monotonic() - asked), 3)}
                    info = info.model_copy(update=waited)
                    return work(slot), info
            except WorkerLost as error:
                fault = error
                log.warning("the sandbox failed at attempt %d of %d: %s", attempt, ATTEMPTS, fault)
                if fault.out_of_memory and info.worker:  # gVisor ends the whole worker where runc ends one program
                    break
        return fault, info

    def _start_slot(self, backend: Backend) -> Slot:
        return Slot(lambda: Worker(backend, preload=self._preload), lambda: Worker(backend, preload=EXAMINER_MODULES))

    def _forget(self) -> None:
        """Start anew in a forked child: the workers, and whoever holds the lock, are its parent's."""
        self._lock = threading.Lock()
        self._started = None

    def _job(self, submission: Submission, tests: Sequence[TestCase], limits: Limits, stop_at_first_failure: bool) -> Job:
        """
        Raises:
            ValueError: this cannot be judged.
        """
        spec = find_language(submission.language)
        if not tests:
            raise ValueError("there is no test: nothing could prove the submission right")
        functions = [test for test in tests if test.kind is not TestKind.STDIO]
        if functions and spec.name != "python":
            raise ValueError(f"{functions[0].kind} tests are for Python, not {spec.name}")
        backend, _ = self._ready()
        if spec.name not in backend.languages and not _same_packages(spec, backend.languages):
            raise ValueError(f"the image has no {spec.name}; run `r1env-sandbox build` with --language {spec.name}")
        return Job(
            submission=submission,
            tests=tests,
            limits=limits,
            spec=spec,
            fork=self.mode == "fork" and spec.can_fork,
            stop_at_first_failure=stop_at_first_failure,
            image=backend.image,
        )

    def _info(self, job: Job, attempt: int) -> SandboxInfo:
        backend, _ = self._ready()
        mode = "fork" if job.fork else "spawn"
        return SandboxInfo(backend=backend.name, image=backend.image, runtime=backend.runtime, mode=mode, attempts=attempt)


def judge(
    submission: Submission, tests: Sequence[TestCase], limits: Limits | None = None, *, stop_at_first_failure: bool = False
) -> JudgeResult:
    """`Sandbox.judge` on a sandbox that this process keeps for all such calls."""
    return default_sandbox().judge(submission, tests, limits, stop_at_first_failure=stop_at_first_failure)


def default_sandbox() -> Sandbox:
    """The sandbox of this process, made on first need.

    Raises:
        SandboxUnavailable: no program can be run on this machine.
    """
    global _default
    with _default_lock:
        if _default is None:
            _default = Sandbox()
        return _default


def _new_default_lock() -> None:
    global _default_lock
    _default_lock = threading.Lock()


_default: Sandbox | None = None
_default_lock = threading.Lock()
os.register_at_fork(after_in_child=_new_default_lock)  # a thread that only the parent has may hold it


def _ray_sandbox() -> type[Sandbox]:
    """
    Raises:
        SandboxUnavailable: Ray is not installed.
    """
    try:
        from r1env_sandbox.cluster import RaySandbox  # imports Ray, and this module
    except ImportError as error:
        raise SandboxUnavailable("backend 'ray' needs Ray", "Install r1env-sandbox[ray]") from error
    return RaySandbox


def _backend_maker(backend: str | Backend, image: str | None, runtime: str | None) -> Callable[[], Backend]:
    """
    Raises:
        ValueError: there is no such backend, or it has neither images nor runtimes.
    """
    if not isinstance(backend, str):
        return lambda: backend
    if backend not in NAMES:
        raise ValueError(f"there is no backend {backend!r}; there are {', '.join(NAMES)}, ray, ray:bwrap and ray:auto")
    if backend != "docker" and (image or runtime):
        raise ValueError(f"image and runtime are for the backend 'docker', not {backend!r}")
    return partial(make_backend, backend, image, runtime)


def _same_packages(spec: LanguageSpec, languages: Collection[str]) -> bool:
    """Whether what the image holds for other languages is all that this one takes (`cpp20` beside `cpp`)."""
    return set(spec.packages) <= set(packages_of(languages))


def _after_fork(sandbox: Sandbox) -> None:
    reference = weakref.ref(sandbox)

    def forget() -> None:
        if (alive := reference()) is not None:
            alive._forget()

    os.register_at_fork(after_in_child=forget)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
