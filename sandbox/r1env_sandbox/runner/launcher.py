"""The launcher: starts a child for every run, tells the runner how it ended, and kills what a run leaves.

Most of what a forked test costs is the copying of pages that the child or the launcher touches. So the loop is in C (`launcher.c`) where
the image holds it as a library. Elsewhere `serve_in_python` does the same, with whatever can be made before the fork.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import atexit
import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType, ModuleType
from typing import Any, NoReturn

from r1env_sandbox.runner.confinement import give_up_root
from r1env_sandbox.runner.processes import ANY_CHILD
from r1env_sandbox.runner.protocol import Program, unpack_program

REQUEST_BYTES = 1 << 16
LIBRARY = "/opt/r1env/launcher.so"  # made of launcher.c with the image, where that has a compiler
IN_CHILD, NEW_ENVIRONMENT = 1, 2  # what its `serve` returns
REPORT = struct.Struct("4d")
"""How a program ended: exit code or minus the signal, CPU milliseconds, peak RSS in KB; and the CPU milliseconds that the launcher itself
has ever used: nobody is billed for them."""
KILL_ALL, SIGPIPE, SIGXFSZ, DEFAULT = map(int, (signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ, signal.SIG_DFL))

_prctl = ctypes.CDLL(None).prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def launcher(requests: socket.socket, preload: list[str]) -> NoReturn:
    """Start a child for every request, a message with the program's descriptors, and answer with a `REPORT`. A message without descriptors
    is answered as well. The first report, without a request, says that the launcher is ready."""
    for name in preload:
        try:
            __import__(name)
        except ImportError:  # the image lacks it; a program that imports it will say so
            continue
    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.set_int_max_str_digits(0)  # as PYTHONINTMAXSTRDIGITS does for an interpreter that is started
    if os.path.exists(LIBRARY):
        serve_in_c(requests.fileno(), main)
    serve_in_python(requests, main)


def serve_in_c(requests: int, main: ModuleType) -> NoReturn:
    """Leave the loop to the library, which returns in the child of a fork, and for another environment of forked programs."""
    serve = ctypes.PyDLL(LIBRARY).serve
    texts = ctypes.POINTER(ctypes.c_char_p)()
    where = ctypes.byref(texts)
    gc.collect()
    gc.freeze()  # keeps the collector of forked interpreters off these pages
    while serve(requests, where) == NEW_ENVIRONMENT:
        set_environment(dict(text.split("=", 1) for text in _texts(texts)))
    run_in_this_interpreter(_texts(texts), main)


def _texts(pointer: Any) -> list[str]:
    """Return the texts of an array of C that ends with a null pointer."""
    texts: list[str] = []
    while (text := pointer[len(texts)]) is not None:
        texts.append(os.fsdecode(text))
    return texts


def set_environment(environment: Mapping[str, str]) -> None:
    """Set the variables of forked programs here, once, rather than in every child."""
    os.environ.clear()
    os.environ.update(environment)


# --- without the library --------------------------------------------------------------------------------------------------------


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


def serve_in_python(requests: socket.socket, main: ModuleType) -> NoReturn:
    environment: Mapping[str, str] | None = None
    children = Children()
    signal.signal(KILL_ALL, children.kill_all)
    gc.collect()
    gc.freeze()  # as above
    requests.send(REPORT.pack(0, 0, 0, 1000 * time.process_time()))
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 4)
        except OSError:  # the runner was killed this moment: not worth a word, which would be taken for its cause
            os._exit(0)
        if not data:
            os._exit(0)
        if not descriptors:  # every signal that was sent before has been handled, now that this is read
            requests.send(REPORT.pack(0, 0, 0, 1000 * time.process_time()))
            continue
        program = unpack_program(data)
        if program.fork and program.environment != environment:
            environment = program.environment
            set_environment(environment)
        children.ended.clear()  # what was swept after the last run
        prepared = prepare(program, descriptors)
        pid = os.fork()
        if pid == 0:
            become_program(program, prepared, main)
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(REPORT.pack(*children.wait_for(pid), 1000 * time.process_time()))


def prepare(program: Program, descriptors: list[int]) -> dict[str, Any]:
    """Work out what the child needs before the fork: it then calls little but functions of C."""
    name = program.argv[0]
    folders = [""] if "/" in name else program.environment.get("PATH", os.defpath).split(":")
    return {
        "paths": [os.path.join(folder, name) for folder in folders],
        "descriptors": list(enumerate(descriptors)),
        "highest": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "limits": [(limit.number, (limit.soft, limit.hard), limit.optional) for limit in program.limits],
    }


def become_program(program: Program, prepared: dict[str, Any], main: ModuleType) -> NoReturn:
    """In the child: limits, another uid, then the program. 127: it could not be started."""
    try:
        _signal.signal(KILL_ALL, DEFAULT)  # the function of C: that of Python makes enumerations of its arguments, at 40 pages
        os.setsid()
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")  # the kernel kills a program, never the runner
        os.close(score)
        for target, descriptor in prepared["descriptors"]:
            os.dup2(descriptor, target)
        os.closerange(len(prepared["descriptors"]), prepared["highest"])
        for limit, values, optional in prepared["limits"]:
            try:
                resource.setrlimit(limit, values)
            except ValueError:
                if not optional:
                    raise
        os.umask(0o022)
        give_up_root(program.uid, program.groups)
        os.chdir(program.folder)
        if program.fork:
            _prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, so that /proc/self, and with it /dev/stdin, is the program's own
            run_in_this_interpreter(program.argv, main)
        for ignored_by_python in (SIGPIPE, SIGXFSZ):
            _signal.signal(ignored_by_python, DEFAULT)
        execute(program, prepared["paths"])
    except BaseException as error:  # noqa: BLE001 - nothing may return into the launcher's loop
        os.write(2, f"cannot start: {error}\n".encode())
    os._exit(127)


def execute(program: Program, paths: list[str]) -> NoReturn:
    """Execute the program, looked for in the folders of its `PATH`, as `os.execvpe` does at many times its price.

    Raises:
        OSError: it is in none of them, or may not be executed.
    """
    fault: OSError | None = None
    for path in paths:
        try:
            os.execve(path, list(program.argv), program.environment)
        except (FileNotFoundError, NotADirectoryError) as error:
            fault = fault or error
        except OSError as error:  # it is there: this says more than that it is not in another folder
            fault = error
    raise fault or FileNotFoundError(program.argv[0])


# --- in a forked child ----------------------------------------------------------------------------------------------------------


def run_in_this_interpreter(argv: Sequence[str], main: ModuleType) -> NoReturn:
    """What `python3 argv[0] argv[1] …` would do, without starting an interpreter. sys.stdin and its like lead to the new descriptors."""
    sys.argv, sys.path[0] = list(argv), os.path.dirname(argv[0])
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
