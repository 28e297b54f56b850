"""`Judge`, the interface of all sandboxes, and `Sandbox`, the sandbox on this machine.

A `Sandbox` has a backend, a pool of workers that are kept running, a compile cache, and the handling of internal faults.
`r1env_sandbox.open` chooses between it and a sandbox on every node of a cluster.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Collection, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from r1env_sandbox.cache import DEFAULT_BYTES, CompileCache
from r1env_sandbox.errors import FilesDoNotFit, SandboxBusy, SandboxUnavailable, WorkerLost
from r1env_sandbox.judge import EXAMINER_MODULES, Job, judge_on, run_on
from r1env_sandbox.languages import LANGUAGES, LanguageSpec, find_language, packages_of
from r1env_sandbox.models import (
    Checker,
    CompileResult,
    JudgeResult,
    Limits,
    RunResult,
    SandboxInfo,
    Submission,
    TestCase,
    TestKind,
    Verdict,
)
from r1env_sandbox.pool import Slot, WarmPool
from r1env_sandbox.session import MAX_SECONDS, Session, SessionPool
from r1env_sandbox.transport import WORK_MB, Backend
from r1env_sandbox.worker import PRELOADED, Worker, run_command

log = logging.getLogger(__name__)

Mode = Literal["spawn", "fork"]
BACKENDS = ("docker", "bwrap")

ATTEMPTS = 2  # a fault of ours is tried once more, on another worker
MAX_DEFAULT_WORKERS = 8
QUEUE_SECONDS = 3600.0  # to wait for a worker: a long queue is no fault, a dead pool is found by its own time-outs
OUTAGE_SECONDS = 300.0  # to wait for an engine that answered before: it restarts for updates
STOPPING_SECONDS = 4.0  # that an engine takes from ending its containers to ending itself
LOOK_SECONDS = 0.25  # between looks whether it is back

Result = TypeVar("Result", JudgeResult, RunResult)

_ELSEWHERE: dict[str, Callable[..., Any]] = {}  # names of backends that are no `Backend`; `r1env_sandbox.open` puts them here


class Judge(Protocol):
    """The interface of all sandboxes. It can be used from any number of threads, and is a context manager.

    Attributes:
        workers: number of submissions judged at once.
        mode: how Python tests start.
    """

    workers: int
    mode: Mode

    def judge(
        self,
        submission: Submission,
        tests: Sequence[TestCase],
        limits: Limits | None = None,
        *,
        stop_at_first_failure: bool = False,
        queue_timeout_s: float = QUEUE_SECONDS,
    ) -> JudgeResult:
        """Compile a program once, run every test, and return the result.

        Args:
            submission: the program.
            tests: at least one; the order of `JudgeResult.tests` is theirs.
            limits: for the compiler and for each test alone; None for the defaults of `Limits`.
            stop_at_first_failure: leave out the tests after the first that is not accepted; they count as not passed.
            queue_timeout_s: how long to wait for a free worker.

        Raises:
            SandboxUnavailable: no program can be run any more.
            SandboxBusy: no worker became free in time, or this is closed.
        """

    def run(self, submission: Submission, stdin: str = "", limits: Limits | None = None) -> RunResult:
        """Compile a program, run it once, and return all that it printed. Nothing is compared.

        Raises:
            SandboxUnavailable, SandboxBusy: as in `judge`.
            ValueError: the language is not known.
        """

    async def judge_async(
        self,
        submission: Submission,
        tests: Sequence[TestCase],
        limits: Limits | None = None,
        *,
        stop_at_first_failure: bool = False,
    ) -> JudgeResult:
        """Call `judge` in a thread, for use on an event loop."""

    def describe(self) -> dict[str, str]:
        """Return a description of the backend that the workers run on."""

    def warm_up(self) -> None:
        """Start workers now instead of with the first submission."""

    def close(self) -> None:
        """End all workers. Closing twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Sandbox:
    """A `Judge` whose workers are on this machine, or on the one that DOCKER_HOST names. After a fork, the child has its own workers.
    Workers are started when they are needed and kept running. If the engine restarts, the sandbox waits for it.

    Args:
        workers: number of submissions judged at once; None means the number of processors this process may use, up to 8.
        min_workers: number of workers that keep running while nothing is judged.
        mode: how Python tests start. `spawn`: a fresh interpreter each. `fork`: a fork of one that has the usual modules loaded,
            several times faster for short tests.
        backend: `docker`; `bwrap`, bubblewrap on this host, which requires root; or a backend object.
        image: image for `docker`; None for the one that `r1env-sandbox build` creates.
        runtime: runtime for `docker`: `runsc` for gVisor, None for the engine's default.
        cache_bytes: maximum size of the compiled programs that are kept in memory.
        preload: further modules that the interpreter of `fork` loads.
        sessions: maximum number of session containers open at once; None for the number of `workers`.

    Raises:
        SandboxUnavailable: programs cannot be run on this machine.

    Example:
        >>> with Sandbox() as sandbox:  # doctest: +SKIP
        ...     sandbox.judge(Submission(language="python", source="print(int(input()) + 1)"), [TestCase.stdio("41", "42")]).status
        <Verdict.ACCEPTED: 'accepted'>
    """

    def __new__(cls, *args: Any, backend: str | Backend = "docker", **options: Any) -> Any:
        """Other backends were named here before `open_sandbox`; that works for one version more, with a warning."""
        elsewhere = _ELSEWHERE.get(backend.partition(":")[0]) if isinstance(backend, str) else None
        if cls is not Sandbox or elsewhere is None:
            return super().__new__(cls)
        warnings.warn(
            f"Sandbox(backend={backend!r}) is deprecated: call r1env_sandbox.open_sandbox({backend!r})", DeprecationWarning, 2
        )
        return elsewhere(backend, *args, **options)

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
        sessions: int | None = None,
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
        self._max_sessions = self.workers if sessions is None else sessions
        self._sessions: SessionPool | None = None
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
        """Compile a program once, run every test, and return the result. Nothing that the program does raises an exception. After a
        fault of the sandbox itself, the submission is judged once more; if it fails again, the result is `judge_error`, without a score.

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
        status, note = self._blame(result, job, info)
        if not status.scored:
            return JudgeResult.without_score(status, note, info=info)
        compiled = CompileResult(log=note) if status is Verdict.COMPILE_ERROR else CompileResult()
        return JudgeResult(status=status, score=0.0, compile=compiled, info=info.model_copy(update={"note": note}))

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
        status, note = self._blame(result, job, info)
        compiled = CompileResult(log=note) if status is Verdict.COMPILE_ERROR else CompileResult()
        return RunResult(status=status, compile=compiled, info=info.model_copy(update={"note": note}))

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

    def open_session(
        self,
        limits: Limits | None = None,
        *,
        disk_mb: int = WORK_MB,
        max_seconds: float = MAX_SECONDS,
        queue_timeout_s: float = QUEUE_SECONDS,
    ) -> Session:
        """Return a container for one episode, in which commands are run and files are kept. The caller must close it.

        Args:
            limits: memory, output, files and processes of each command; the times are given with the command.
            disk_mb: size of the workspace, which is kept in memory.
            max_seconds: time after which the session is closed.
            queue_timeout_s: how long to wait for another session to be closed if `sessions` are open.

        Raises:
            SandboxUnavailable: no container can be started.
            SandboxBusy: no session was closed in time, or this is closed.
        """
        backend, _ = self._ready()
        with self._lock:
            if self._sessions is None:
                start = partial(Worker, backend, loopback=True, session=True)
                self._sessions = SessionPool(lambda mb: start(disk_mb=mb), self._max_sessions)
            sessions = self._sessions
        return sessions.open(limits or Limits(), disk_mb=disk_mb, max_seconds=max_seconds, timeout_s=queue_timeout_s)

    def describe(self) -> dict[str, str]:
        """Return what the backend runs on, for a person."""
        return self._ready()[0].describe()

    def warm_up(self) -> None:
        """Start `min_workers` now instead of with the first submission."""
        self._ready()[1].warm_up()

    def close(self) -> None:
        """End all workers. Closing twice is fine; a forked child closes only its own."""
        with self._lock:
            self._closed = True
            started, self._started = self._started, None
            sessions, self._sessions = self._sessions, None
        if sessions is not None:
            sessions.close()
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

    def _on_a_slot(
        self, job: Job, timeout_s: float, work: Callable[[Slot], Result]
    ) -> tuple[Result | WorkerLost | FilesDoNotFit, SandboxInfo]:
        """Return what `work` returns on a slot, or the fault that kept all attempts from it. Waiting for an engine is no attempt."""
        attempt, deadline = 1, time.monotonic() + OUTAGE_SECONDS
        while True:
            backend, pool = self._ready()
            asked = time.monotonic()
            info = self._info(job, attempt)
            try:
                with pool.lease(timeout_s) as slot:
                    waited = {"worker": slot.worker.name, "queue_ms": round(1000 * (time.monotonic() - asked), 3)}
                    info = info.model_copy(update=waited)
                    return work(slot), info
            except FilesDoNotFit as error:
                return error, info
            except SandboxUnavailable as error:
                if not self._wait_for(backend, error, deadline):
                    raise
                continue
            except WorkerLost as error:
                if not backend.answers() and self._wait_for(backend, error, deadline):
                    continue
                log.warning("the sandbox failed at attempt %d of %d: %s", attempt, ATTEMPTS, error)
                pool.check_idle()  # what ended this worker may have ended others
                if error.out_of_memory and info.worker:  # gVisor ends the whole worker where runc ends one program
                    return error, info
                if attempt == ATTEMPTS:
                    # An engine that is stopping ends workers while it still answers.
                    if error.by_program or not self._goes_away(backend) or not self._wait_for(backend, error, deadline):
                        return error, info
                    continue
                attempt += 1

    def _goes_away(self, backend: Backend) -> bool:
        """Return whether an engine that has ended workers stops answering."""
        end = time.monotonic() + STOPPING_SECONDS
        while time.monotonic() < end and not self._closed:
            if not backend.answers():
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def _wait_for(self, backend: Backend, cause: Exception, deadline: float) -> bool:
        """Return whether an engine that has gone away answers again before the deadline. Its workers are gone."""
        said = False
        while time.monotonic() < deadline and not self._closed:
            if backend.answers():
                if said:
                    log.warning("the engine is back")
                    self._ready()[1].check_idle()
                time.sleep(LOOK_SECONDS)  # it may answer before it can start containers, or still while it is being stopped
                return True
            if not said:
                said_why = cause.cause if isinstance(cause, SandboxUnavailable) else cause
                log.warning("the engine has gone away (%s); waiting up to %.0f s for it", said_why, deadline - time.monotonic())
                said = True
            time.sleep(LOOK_SECONDS)
        return False

    def _blame(self, fault: WorkerLost | FilesDoNotFit, job: Job, info: SandboxInfo) -> tuple[Verdict, str]:
        """Whose a fault is that kept a submission from its verdict, and a line that says so."""
        note = " ".join(str(fault).split())
        if isinstance(fault, FilesDoNotFit):
            if fault.worker == info.worker:
                return Verdict.COMPILE_ERROR, f"the submission's files cannot be laid out: {note}"
            if any(test.checker is Checker.SPECIAL for test in job.tests):  # the checker is given the output
                return Verdict.OUTPUT_LIMIT, f"the output does not fit where it is checked: {note}"
            return Verdict.REJECTED_INPUT, f"the files of a test cannot be laid out: {note}"
        if fault.out_of_memory:
            return Verdict.MEMORY_LIMIT, note
        if fault.by_program and self._is_sound():
            log.warning("a submission stops the workers that run it, and only those; it is judged as failed: %s", note)
            return Verdict.RUNTIME_ERROR, f"stops its worker, again and again: {note}"
        return Verdict.JUDGE_ERROR, note

    def _is_sound(self) -> bool:
        """Return whether an honest program is run as it should be. If so, a program that ended several workers did it by itself."""
        command = run_command(LANGUAGES["python"], Limits())
        try:
            with self._ready()[1].lease(QUEUE_SECONDS) as slot:
                slot.worker.begin({"main.py": b"print(input())"})
                report = slot.worker.run(command, b"sound\n")
                slot.worker.end()
                return report.stdout == b"sound\n"
        except (WorkerLost, SandboxUnavailable, SandboxBusy, FilesDoNotFit) as error:
            log.warning("the sandbox itself fails: %s", error)
            return False

    def _start_slot(self, backend: Backend) -> Slot:
        return Slot(
            lambda: Worker(backend, preload=self._preload), lambda: Worker(backend, preload=EXAMINER_MODULES, loopback=True)
        )

    def _forget(self) -> None:
        """Start anew in a forked child: the workers, and whoever holds the lock, are its parent's."""
        self._lock = threading.Lock()
        self._started = None
        self._sessions = None

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
    """Call `Sandbox.judge` on the default sandbox of this process."""
    return default_sandbox().judge(submission, tests, limits, stop_at_first_failure=stop_at_first_failure)


def default_sandbox() -> Sandbox:
    """Return the default sandbox of this process, which is created by the first call.

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


def _backend_maker(backend: str | Backend, image: str | None, runtime: str | None) -> Callable[[], Backend]:
    """
    Raises:
        ValueError: there is no such backend, or it has neither images nor runtimes.
    """
    if not isinstance(backend, str):
        return lambda: backend
    if backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}; there are {', '.join((*BACKENDS, *_ELSEWHERE))}")
    if backend != "docker" and (image or runtime):
        raise ValueError(f"image and runtime are for the backend 'docker', not {backend!r}")
    return partial(make_backend, backend, image, runtime)


def make_backend(name: str, image: str | None = None, runtime: str | None = None) -> Backend:
    """Return a backend that can start workers here.

    Args:
        name: one of `BACKENDS`.
        image, runtime: for Docker.

    Raises:
        SandboxUnavailable: it cannot; the message says why.
    """
    if name == "bwrap":
        from r1env_sandbox.backends.bwrap import BwrapBackend

        return BwrapBackend()
    from r1env_sandbox.backends.docker import DockerBackend  # imports the Docker SDK

    return DockerBackend(image=image, runtime=runtime)


def _same_packages(spec: LanguageSpec, languages: Collection[str]) -> bool:
    """Return whether what the image holds for other languages is all that this one takes (`cpp20` beside `cpp`)."""
    return set(spec.packages) <= set(packages_of(languages))


def _after_fork(sandbox: Sandbox) -> None:
    reference = weakref.ref(sandbox)

    def forget() -> None:
        if (alive := reference()) is not None:
            alive._forget()

    os.register_at_fork(after_in_child=forget)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
