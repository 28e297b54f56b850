"""What holds on this host: small programs that try what a submission must not be able to do, and report how far they got."""

from __future__ import annotations

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
    """

    name: str
    source: str
    verdict: Verdict = Verdict.ACCEPTED
    after: str | None = None
    limits: Limits = _LIMITS


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

PROBES = (
    Probe(
        "no network but the loopback",
        "import socket\nother = {name for _, name in socket.if_nameindex()} - {'lo'}\nprint('holds' if not other else other)",
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
        "good = int(status['CapEff'], 16) == 0 and status['NoNewPrivs'] == '1' and status['Seccomp'] == '2'\n"
        "print('holds' if good else {k: status[k] for k in ('CapEff', 'NoNewPrivs', 'Seccomp')})",
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
    Probe(
        "nothing of the host in the environment",
        "import os\nnames = set(os.environ) - {'PATH', 'HOME', 'LANG', 'LC_CTYPE', 'TMPDIR', 'PYTHONHASHSEED'}\nprint('holds' if not names else names)",
    ),
    Probe(
        "no set-id program lends its rights",
        "import os\npaths = [os.path.join(d, f) for d, _, fs in os.walk('/usr') for f in fs]\n"
        "found = [p for p in paths if os.lstat(p).st_mode & 0o6000 and not os.statvfs(p).f_flag & os.ST_NOSUID]\n"
        "print('holds' if not found else found[:5])",
        limits=_LONGER,
    ),
    Probe("CPU time is limited", "while True: pass", Verdict.TIME_LIMIT),
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
)


def examine_host(sandbox: Judge) -> Iterator[Finding]:
    """Try every probe, one after the other."""
    for probe in PROBES:
        yield run_probe(sandbox, probe)


def run_probe(sandbox: Judge, probe: Probe) -> Finding:
    test = [TestCase.stdio("", HOLDS)]
    result = sandbox.judge(Submission(language="python", source=probe.source), test, probe.limits)
    if result.status is not probe.verdict:
        seen = result.tests[0].stdout_head.strip() or result.tests[0].note if result.tests else result.info.note
        return Finding(probe.name, holds=False, detail=f"{result.status}: {seen}"[:200])
    if probe.after is None:
        return Finding(probe.name, holds=True)
    after = sandbox.judge(Submission(language="python", source=probe.after), test, probe.limits)
    return Finding(
        probe.name, after.status is Verdict.ACCEPTED, "" if after.status is Verdict.ACCEPTED else after.tests[0].stdout_head
    )
