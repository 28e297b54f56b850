"""What holds on this host: small programs that try what a submission must not be able to do, and report how far they got."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass

from r1env_sandbox.models import Limits, Submission, TestCase, Verdict
from r1env_sandbox.sandbox import Judge

HOLDS = "holds"
_LIMITS = Limits(cpu_s=1, wall_s=4, memory_mb=128, output_kb=64, file_mb=4, processes=16)
_LONGER = _LIMITS.model_copy(update={"cpu_s": 20.0, "wall_s": 30.0})


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to try.

    Attributes:
        name: what should hold.
        source: a Python program that prints `holds`, or what it could do.
        verdict: what judging it must end with.
        after: a program that is judged right after it, and must print `holds`.
        answer: what it must print.
        test: what judges it, where that is not what it prints.
    """

    name: str
    source: str
    verdict: Verdict = Verdict.ACCEPTED
    after: str | None = None
    limits: Limits = _LIMITS
    answer: str = HOLDS
    test: TestCase | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a probe. `detail` says what the program could do, or how it ended."""

    name: str
    holds: bool
    detail: str = ""


_DENIED_CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall({call})
name = errno.errorcode.get(ctypes.get_errno(), "?")
print("holds" if result == -1 and name in ("EPERM", "ENOSYS") else f"{{result}} {{name}}")
"""
_REFUSED = """
try:
    {statement}
    print("it works")
except OSError:
    print("holds")
"""
_IS_EMPTY = """
import os
left = os.listdir(".") + os.listdir("/tmp") + [pid for pid in os.listdir("/proc") if pid.isdecimal()][3:]
print("holds" if not left else f"left: {left[:5]}")
"""
_SIGNALLERS = """
import os, signal, time
for _ in range(8):
    if os.fork() == 0:
        while True:
            for pid in (1, 2):
                for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
                    try: os.kill(pid, number)
                    except OSError: pass
time.sleep(0.05)
print("holds")
"""
_SIBLINGS = """
import ctypes, os, signal
libc = ctypes.CDLL(None)
for number in range(4):
    if libc.syscall({clone}, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0) if number % 2 else signal.pause()
print("holds")
"""
_MARKS = """
import os
for path in (".", "/tmp", "/dev/null", "/judge", "/dev/shm"):
    for mark in (lambda: os.setxattr(path, "user.mark", b"1"), lambda: os.utime(path, (1, 2)), lambda: os.utime(path),
                 lambda: os.setxattr(path, "system.posix_acl_default", bytes.fromhex("02000000" "0100070fffffffff"))):
        try: mark()
        except OSError: pass
os.chmod(".", 0)
print("holds")
"""
_IS_UNMARKED = """
import os, time
marks = [name for path in (".", "/tmp", "/dev/null") for name in os.listxattr(path)]
marks += [path for path in (".", "/tmp", "/dev/null") if os.stat(path).st_mtime == 2]
if os.stat("/dev/null").st_mtime > time.time() - 5: marks.append("the time of /dev/null")
if os.stat(".").st_mode & 0o777 != 0o700: marks.append(oct(os.stat(".").st_mode))
open("mine", "w").write("x")
if open("mine").read() != "x": marks.append("its own file")
print("holds" if not marks else f"marks: {marks}")
"""
_UNBILLED = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
reader, writer = os.pipe()
for _ in range(8):
    if os.fork() == 0:
        while time.process_time() < 0.4: pass
        os.write(writer, b"x")
        os._exit(0)
    os.read(reader, 1)
print("nobody was billed")
"""
_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine(), -1)
_OUTLIVING = {"x86_64": ("29, 0, 4096, 0o1777", "68, 0, 0o1777", "248, b'user', b'x', b'x', 1, -4")}.get(
    platform.machine(), ("194, 0, 4096, 0o1777", "186, 0, 0o1777", "217, b'user', b'x', b'x', 1, -4")
)
"""shmget, msgget and add_key, by the numbers that aarch64 and x86-64 have for them."""

PROBES = (
    Probe(
        "no network but the loopback",
        "import socket\nother = {name for _, name in socket.if_nameindex()} - {'lo'}\nprint('holds' if not other else other)",
    ),
    Probe(
        "no internet sockets, whose connections the kernel remembers",
        _REFUSED.format(statement="import socket; socket.socket()"),
    ),
    Probe("no way out by a socket", _REFUSED.format(statement="import socket; socket.create_connection(('1.1.1.1', 53), 1)")),
    Probe(
        "the root file system is read-only",
        "import os\nopen_to_me = [d for d in ('/', '/etc', '/usr', '/var/tmp', '/root', '/home', '/opt', '/judge', '/judge/prog', '/dev/shm')"
        " if os.access(d, os.W_OK)]\nprint('holds' if not open_to_me else open_to_me)",
    ),
    Probe(
        "no capabilities, no new privileges",
        "status = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)\n"
        "import ctypes\nno_new_privileges = ctypes.CDLL(None).prctl(39, 0, 0, 0, 0)\n"
        "good = int(status['CapEff'], 16) == 0 and no_new_privileges == 1 and status['Seccomp'] == '2'\n"
        "print('holds' if good else {**{k: status[k] for k in ('CapEff', 'Seccomp')}, 'no_new_privileges': no_new_privileges})",
    ),
    Probe("not root", "import os\nprint('holds' if os.getuid() >= 10000 and 0 not in os.getgroups() else os.getresuid())"),
    Probe("io_uring is closed", _DENIED_CALL.format(call="425, 8, ctypes.create_string_buffer(256)")),
    Probe(
        "no user namespaces",
        _REFUSED.format(
            statement="import os; os.stat('/proc/self/ns/user'); import ctypes; l = ctypes.CDLL(None); l.unshare(0x10000000) and (_ for _ in ()).throw(OSError())"
        ),
    ),
    Probe("the runner's memory is closed", _REFUSED.format(statement="open('/proc/1/mem', 'rb')")),
    Probe("the runner's descriptors are closed", _REFUSED.format(statement="open('/proc/1/fd/0', 'rb')")),
    Probe("the runner cannot be signalled", _REFUSED.format(statement="import os; os.kill(1, 9)")),
    Probe("not even while it sweeps", _SIGNALLERS, after="print('holds')", limits=_LONGER),
    Probe("children given to the launcher are swept", _SIBLINGS.format(clone=_CLONE), after=_IS_EMPTY),
    Probe("no descriptor but the standard ones", _REFUSED.format(statement="import os; os.fstat(3)")),
    Probe("no attributes that outlive a program", _REFUSED.format(statement="import os; os.setxattr('.', 'user.x', b'x')")),
    Probe(
        "no segments, queues or keys that outlive it",
        "\n".join(_DENIED_CALL.format(call=call) for call in _OUTLIVING),
        answer="holds\n" * 3,
    ),
    Probe(
        "nothing of the host in the environment",
        "import os\nnames = set(os.environ) - {'PATH', 'HOME', 'LANG', 'LC_CTYPE', 'TMPDIR', 'OMP_NUM_THREADS'}\n"
        "names -= {'PYTHONHASHSEED', 'PYTHONINTMAXSTRDIGITS'}\nprint('holds' if not names else names)",
    ),
    Probe(
        "no set-id program lends its rights",
        "import os\npaths = [os.path.join(d, f) for d, _, fs in os.walk('/usr') for f in fs]\n"
        "found = [p for p in paths if os.lstat(p).st_mode & 0o6000 and not os.statvfs(p).f_flag & os.ST_NOSUID]\n"
        "print('holds' if not found else found[:5])",
        limits=_LONGER,
    ),
    Probe("CPU time is limited", "while True: pass", Verdict.TIME_LIMIT),
    Probe(
        "CPU time of children that nobody waits for is limited",
        _UNBILLED,
        Verdict.TIME_LIMIT,
        limits=_LIMITS.model_copy(update={"wall_s": 20.0}),
    ),
    Probe(
        "programs can start threads",
        "import threading\nthread = threading.Thread(target=print, args=('holds',))\nthread.start()\nthread.join()",
    ),
    Probe("wall time is limited", "import time\ntime.sleep(60)", Verdict.TIME_LIMIT),
    Probe("memory is limited", "a = []\nwhile True: a.append(b'x' * 1000000)", Verdict.MEMORY_LIMIT, limits=_LONGER),
    Probe("output is limited", "while True: print('x' * 1000)", Verdict.OUTPUT_LIMIT),
    Probe(
        "processes are limited",
        "import os, time\nmade = 0\ntry:\n    while made < 500:\n        if os.fork() == 0: time.sleep(30)\n        made += 1\n"
        "except OSError: pass\nprint('holds' if made <= 16 else f'{made} processes')",
    ),
    Probe("the length of a file is limited", _REFUSED.format(statement="open('f', 'wb').write(b'x' * (8 << 20))")),
    Probe(
        "disk is limited",
        "made = 0\ntry:\n    while made < 512:\n        open(str(made), 'wb').write(b'x' * (2 << 20))\n        made += 2\n"
        "except OSError: pass\nprint('holds' if made <= 100 else f'{made} MB')",
    ),
    Probe(
        "inodes are limited",
        "made = 0\ntry:\n    while made < 100000:\n        open(str(made), 'w').close()\n        made += 1\n"
        "except OSError: pass\nprint('holds' if made <= 20000 else f'{made} files')",
        limits=_LONGER,
    ),
    Probe(
        "nothing is left of a submission",
        "import os, time\nos.makedirs('a/b'); open('/tmp/x', 'w').write('x'); open('a/b/c', 'w').write('x')\n"
        "if os.fork() == 0:\n    os.setsid(); time.sleep(600)\nprint('holds')",
        after=_IS_EMPTY,
    ),
    Probe("nothing is left in the folders and devices themselves", _MARKS, after=_IS_UNMARKED),
    Probe(
        "a reply that cannot be rebuilt is refused",
        'import r1env_plain\nr1env_plain.dumps = lambda _: \'{"value": {"__ndarray__": ["<i8", [1000000000000, 0], []]}}\'\n'
        "def f(): return 1",
        Verdict.WRONG_ANSWER,
        after="print('holds')",
        test=TestCase.call("f", [], 1),
    ),
    Probe(
        "an object does not say what it is equal to",
        "class Evil:\n    pass\nfor name in ('eq', 'lt', 'gt', 'contains', 'bool', 'call'):\n"
        "    setattr(Evil, f'__{name}__', lambda *_: True)\nEvil.__hash__ = lambda _: 0\nf = Evil",
        Verdict.WRONG_ANSWER,
        test=TestCase.assertion("f", "def check(candidate):\n    assert candidate() == 7\n"),
    ),
    Probe(
        "what a test wants is not computed from what is left in an argument",
        "def f(xs):\n    xs.clear()\n    return []",
        Verdict.WRONG_ANSWER,
        test=TestCase.assertion("f", "def check(candidate):\n    xs = [2, 1]\n    assert candidate(xs) == sorted(xs)\n"),
    ),
    Probe(
        "nor read from an argument after a call that returns nothing",
        "def f(case): case['right'] = None",
        Verdict.WRONG_ANSWER,
        test=TestCase.assertion(
            "f", "def check(candidate):\n    case = {'right': 1}\n    assert candidate(case) == case['right']\n"
        ),
    ),
    Probe(
        "a program that speaks in place of its harness is stopped",
        "import r1env_served\n"
        "def serve(server, _):\n"
        "    for _ in range(100000): server.border.write({'op': 'attribute', 'target': [{'__yours__': 0}], 'args': [], 'kwargs': {}})\n"
        "    return {'value': 1}\n"
        "r1env_served.Server.serve = serve\ndef f(x): return x",
        Verdict.RUNTIME_ERROR,
        after="print('holds')",
        test=TestCase.assertion("f", "def check(candidate):\n    assert candidate(1) == 1\n"),
    ),
    Probe(
        "an output on which a checker fails is refused",
        "print('no number')",
        Verdict.WRONG_ANSWER,
        test=TestCase.stdio(
            "",
            "a number",
            "special",
            checker_program=Submission(
                language="python", source="import sys\nsys.exit(int(open(sys.argv[2]).read().split('=')[1]) != 7)\n"
            ),
        ),
    ),
)


def examine_host(sandbox: Judge) -> Iterator[Finding]:
    """Try every probe, one after the other."""
    for probe in PROBES:
        yield run_probe(sandbox, probe)


def run_probe(sandbox: Judge, probe: Probe) -> Finding:
    test = probe.test or TestCase.stdio("", probe.answer)
    result = sandbox.judge(Submission(language="python", source=probe.source), [test], probe.limits)
    if result.status is not probe.verdict:
        seen = result.tests[0].stdout_head.strip() or result.tests[0].note if result.tests else result.info.note
        return Finding(probe.name, holds=False, detail=f"{result.status}: {seen}"[:200])
    if probe.after is None:
        return Finding(probe.name, holds=True)
    after = sandbox.judge(Submission(language="python", source=probe.after), [TestCase.stdio("", HOLDS)], probe.limits)
    return Finding(
        probe.name, after.status is Verdict.ACCEPTED, "" if after.status is Verdict.ACCEPTED else after.tests[0].stdout_head
    )
