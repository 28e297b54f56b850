"""The launcher: starts a child for every run, tells the runner how it ended, and kills what a run leaves.

Most of what a forked test costs is the copying of pages that the child touches. So whatever can be is made before the fork.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import atexit
import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from types import FrameType, ModuleType
from typing import Any, NoReturn

from r1env_sandbox.runner.confinement import give_up_root
from r1env_sandbox.runner.processes import ANY_CHILD

REQUEST_BYTES = 1 << 16
START = "/opt/r1env/start"  # made of start.c with the image, where that has a compiler
CAN_START = os.access(START, os.X_OK)
KILL_ALL, SIGPIPE, SIGXFSZ, DEFAULT = map(int, (signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ, signal.SIG_DFL))
REFUSED_BY_GVISOR = ("RLIMIT_MSGQUEUE",)  # the filter of system calls denies the queues themselves

_prctl = ctypes.CDLL(None).prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


class Children:
    """The launcher's children: the program of the present run, and what it gave the launcher with CLONE_PARENT.

    Attributes:
        ended: what became of those that have ended, by pid: status, CPU milliseconds, peak RSS in KB.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.ended: dict[int, tuple[int, float, int]] = {}

    def kill_all(self, number: int, frame: FrameType | None) -> None:
        """Kill every process but the runner and this one, and collect those that are this one's. A handler for the runner's signal."""
        if os.getpid() != self.pid:  # a child that has not reset it yet
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        while self.collect(os.WNOHANG):
            pass

    def collect(self, options: int = 0) -> bool:
        """Note what became of one child. False when none is there, or none has ended."""
        try:
            pid, status, used = os.wait4(-1, options | ANY_CHILD)
        except ChildProcessError:
            return False
        if pid:
            self.ended[pid] = status, 1000 * (used.ru_utime + used.ru_stime), used.ru_maxrss
        return bool(pid)

    def wait_for(self, pid: int) -> tuple[int, float, int]:
        """Return how a program ended: its exit code or minus its signal, and what it used, with all others that have ended meanwhile."""
        while pid not in self.ended:
            self.collect()
        status = self.ended[pid][0]
        cpu_ms = sum(cpu_ms for _, cpu_ms, _ in self.ended.values())
        rss_kb = max(rss_kb for *_, rss_kb in self.ended.values())
        self.ended.clear()
        return os.waitstatus_to_exitcode(status), cpu_ms, rss_kb


def launcher(requests: socket.socket, preload: list[str]) -> NoReturn:
    """Start a child for every request, and answer with how it ended. The first message, without a request, says that it is ready.

    Every message ends with the CPU milliseconds that the launcher itself has used: nobody is billed for them.
    """
    for name in preload:
        try:
            __import__(name)
        except ImportError:  # the image lacks it; a program that imports it will say so
            continue
    environment: dict[str, str] | None = None
    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.set_int_max_str_digits(0)  # as PYTHONINTMAXSTRDIGITS does for an interpreter that is started
    children = Children()
    signal.signal(KILL_ALL, children.kill_all)
    gc.collect()
    gc.freeze()  # keeps the collector of forked interpreters off these pages
    requests.send(json.dumps([0, 0.0, 0, 1000 * time.process_time()]).encode())
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 4)
        except OSError:  # the runner was killed this moment: not worth a word, which would be taken for its cause
            os._exit(0)
        if not data:
            os._exit(0)
        request = json.loads(data)
        if "sync" in request:  # every signal that was sent before has been handled, now that this is read
            requests.send(json.dumps([0, 0.0, 0, 1000 * time.process_time()]).encode())
            continue
        if request["fork"] and request["environment"] != environment:  # set here, once, rather than by every child
            environment = request["environment"]
            os.environ.clear()
            os.environ.update(environment)
        children.ended.clear()  # what was swept after the last run
        pid = start(request, descriptors, main)
        for descriptor in descriptors:
            os.close(descriptor)
        ended = children.wait_for(pid)
        requests.send(json.dumps([*ended, 1000 * time.process_time()]).encode())


def start(request: dict[str, Any], descriptors: list[int], main: ModuleType) -> int:
    """Start the program of a request. Return its pid."""
    request["limits"] = [
        # SIGXCPU at the soft limit says why a program ended; the hard one is for programs that ignore it.
        (getattr(resource, name), (value, value + 1 if name == "RLIMIT_CPU" else value), name in REFUSED_BY_GVISOR)
        for name, value in request["rlimits"].items()
    ]
    if CAN_START and not request["fork"]:
        with contextlib.suppress(OSError):  # arguments that are too long: the child below will say so, and not this process
            return start_program(request, descriptors)
    prepare(request, descriptors)
    pid = os.fork()
    if pid == 0:
        become_program(request, main)
    return pid


def start_program(request: dict[str, Any], descriptors: list[int]) -> int:
    """Start a program by `start.c`, whose process shares the memory of this one until then: nothing is copied. Return its pid.

    Raises:
        OSError: the kernel did not start a process, or the arguments are too long.
    """
    limits = ",".join(f"{'?' * optional}{limit}:{soft}:{hard}" for limit, (soft, hard), optional in request["limits"])
    groups = ",".join(map(str, request["groups"]))
    who = [str(len(descriptors)), str(request["uid"]), groups, request["folder"], limits]
    return os.posix_spawn(
        START,
        [START, *who, *request["argv"]],
        request["environment"],
        # These and the launcher's own are all above those that they become.
        file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, target) for target, descriptor in enumerate(descriptors)],
        setsid=True,
        setsigdef=(SIGPIPE, SIGXFSZ),  # ignored by Python
    )


def prepare(request: dict[str, Any], descriptors: list[int]) -> None:
    """Work out what the child needs before the fork, and add it to the request: the child then calls little but functions of C."""
    program = request["argv"][0]
    folders = [""] if "/" in program else request["environment"].get("PATH", os.defpath).split(":")
    request["paths"] = [os.path.join(folder, program) for folder in folders]
    request["descriptors"] = list(enumerate(descriptors))
    request["highest"] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def become_program(request: dict[str, Any], main: ModuleType) -> NoReturn:
    """In the child: limits, another uid, then the program. 127: it could not be started."""
    try:
        _signal.signal(KILL_ALL, DEFAULT)  # the function of C: that of Python makes enumerations of its arguments, at 40 pages
        os.setsid()
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")  # the kernel kills a program, never the runner
        os.close(score)
        for target, descriptor in request["descriptors"]:
            os.dup2(descriptor, target)
        os.closerange(len(request["descriptors"]), request["highest"])
        for limit, values, refused_by_gvisor in request["limits"]:
            try:
                resource.setrlimit(limit, values)
            except ValueError:
                if not refused_by_gvisor:
                    raise
        os.umask(0o022)
        give_up_root(request["uid"], request["groups"])
        os.chdir(request["folder"])
        if request["fork"]:
            run_in_this_interpreter(request["argv"], main)
        for ignored_by_python in (SIGPIPE, SIGXFSZ):
            _signal.signal(ignored_by_python, DEFAULT)
        execute(request)
    except BaseException as error:  # noqa: BLE001 - nothing may return into the launcher's loop
        os.write(2, f"cannot start: {error}\n".encode())
    os._exit(127)


def execute(request: dict[str, Any]) -> NoReturn:
    """Execute the program, looked for in the folders of its `PATH`, as `os.execvpe` does at many times its price.

    Raises:
        OSError: it is in none of them, or may not be executed.
    """
    fault: OSError | None = None
    for path in request["paths"]:
        try:
            os.execve(path, request["argv"], request["environment"])
        except (FileNotFoundError, NotADirectoryError) as error:
            fault = fault or error
        except OSError as error:  # it is there: this says more than that it is not in another folder
            fault = error
    raise fault or FileNotFoundError(request["argv"][0])


def run_in_this_interpreter(argv: list[str], main: ModuleType) -> NoReturn:
    """What `python3 argv[0] argv[1] …` would do, without starting an interpreter. sys.stdin and its like lead to the new descriptors."""
    _prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, so that /proc/self, and with it /dev/stdin, is the program's own
    sys.argv, sys.path[0] = argv, os.path.dirname(argv[0])
    main.__dict__["__file__"] = argv[0]
    sys.modules["__main__"] = main
    code = 0
    try:
        exec(compile(_read(argv[0]), argv[0], "exec", dont_inherit=True), main.__dict__)
    except SystemExit as stop:
        code = _exit_code(stop)
    except BaseException as error:  # noqa: BLE001 - a program's own exception, reported as the interpreter would
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, trace)
        code = 1
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - as above
        traceback.print_exc()
        code = code or 120  # what the interpreter returns when it cannot write its output
    os._exit(code)


def _read(path: str) -> bytes:
    """Return all of a file; a file object would touch twice the pages."""
    descriptor = os.open(path, os.O_RDONLY)
    source = os.read(descriptor, os.fstat(descriptor).st_size)
    os.close(descriptor)
    return source


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    print(stop.code, file=sys.stderr)
    return 1
