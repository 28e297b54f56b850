"""Nothing that a run leaves can be found by the next one, in the same submission or in another.

A program that marks everything it can reach runs between two others that describe all that a program can see. The descriptions must be
equal. What cannot be put back without a new kernel is left out of them and named in `docs/security.md`: the numbers of processes and
inodes, times that say when something ran, and counters of the whole machine or container.
"""

from __future__ import annotations

import json

import pytest

from r1env_sandbox import Limits
from r1env_sandbox.languages import LANGUAGES
from r1env_sandbox.worker import run_command

pytestmark = pytest.mark.docker

SNAPSHOT = r"""
import ctypes, json, os, resource, stat

libc = ctypes.CDLL(None, use_errno=True)
seen = {}


def look(path):
    try:
        found = os.stat(path)
    except OSError as error:
        seen[path] = error.errno
        return
    # atime of the folder that this very program lists is its own doing; see below
    seen[path] = [found.st_mode, found.st_uid == os.getuid(), found.st_nlink, found.st_size, found.st_mtime_ns, found.st_atime_ns]
    flags = ctypes.c_int(0)
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return
    libc.ioctl(opened, 0x80086601, ctypes.byref(flags))
    os.close(opened)
    attributes = {}
    try:
        attributes = {name: os.getxattr(path, name).hex() for name in os.listxattr(path)}
    except OSError:
        pass
    seen[path] += [flags.value, attributes]


devices = sorted("/dev/" + name for name in os.listdir("/dev") if name not in ("fd", "stdin", "stdout", "stderr", "core"))
for path in ("/tmp", "/judge", "/judge/prog/main.py", "/judge/prog/data/extra.txt", "/judge/box/data/extra.txt",
             "/dev/shm", "/dev/mqueue", "/var/tmp", "/run", *devices):
    look(path)
for folder in (".", "/tmp", "/var/tmp", "/run", "/run/lock", "/dev/shm", "/dev/mqueue", "/dev/pts", "/judge/prog", "/judge/box"):
    try:
        seen["in " + folder] = sorted(os.listdir(folder))
    except OSError as error:
        seen["in " + folder] = error.errno
box = os.stat(".")
seen["box"] = [box.st_mode, box.st_nlink, box.st_size, os.listxattr(".")]
for name in ("net/tcp", "net/tcp6", "net/udp", "net/udp6", "net/raw", "net/dev", "net/snmp", "net/unix", "locks", "keys", "key-users",
             "sysvipc/shm", "sysvipc/msg", "sysvipc/sem"):
    try:
        text = open("/proc/" + name).read()
    except OSError as error:
        text = str(error.errno)
    if name == "net/unix":  # the runner's own, by their inodes
        text = str(text.count("\n"))
    if name in ("locks", "keys", "key-users"):  # of other containers as well; ours would name our processes or our uid
        text = "\n".join(line for line in text.splitlines() if str(os.getuid()) in line.split())
    seen[name] = text
seen["processes"] = sum(name.isdecimal() for name in os.listdir("/proc")) - 1
for pid in (1, 2):
    for name in ("oom_score_adj", "timerslack_ns", "coredump_filter"):
        try:
            seen[f"{pid} {name}"] = open(f"/proc/{pid}/{name}").read()
        except OSError as error:
            seen[f"{pid} {name}"] = error.errno
    try:
        seen[f"{pid} priority"] = [os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid), sorted(os.sched_getaffinity(pid))]
    except OSError as error:
        seen[f"{pid} priority"] = error.errno
seen["own"] = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), sorted(os.sched_getaffinity(0)), os.umask(0o22)]
seen["limits"] = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
seen["environment"] = dict(os.environ)
seen["keyring"] = [libc.syscall(250, 0, -number, 0) for number in (3, 4, 5)]
print(json.dumps(seen))
"""

MARK = r"""
import ctypes, fcntl, os, socket, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
done = []


def attempt(name, work):
    try:
        result = work()
    except Exception as error:
        return
    if result not in (-1, False):
        done.append(name)


acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, 0, 0xFFFFFFFF) for tag in (1, 4, 0x20))
writable = (".", "/tmp", "/dev/shm", "/dev/mqueue", "/var/tmp", "/judge", "/judge/prog", "/judge/prog/main.py", "/dev/null", "/dev/full", "/dev/zero", "/dev/random",
            "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev", "/dev/pts")
for path in writable:
    for name in ("system.posix_acl_default", "system.posix_acl_access"):
        attempt(f"{name} {path}", lambda: os.setxattr(path, name, acl))
    for name in ("user.left", "trusted.left", "security.left"):
        attempt(f"{name} {path}", lambda: os.setxattr(path, name, b"left"))
    attempt(f"times {path}", lambda: os.utime(path, (1, 2)))
    attempt(f"touch {path}", lambda: os.utime(path))
    attempt(f"lock {path}", lambda: fcntl.flock(os.open(path, os.O_RDONLY | os.O_NONBLOCK), fcntl.LOCK_SH))
    for flags in (0x40, 0x80, 0x20, 0x10):  # nodump, noatime, append, immutable
        attempt(f"flags {flags} {path}", lambda: libc.ioctl(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 0x40086602, ctypes.byref(ctypes.c_int(flags))))
    attempt(f"project {path}", lambda: libc.ioctl(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 0x401C5820, struct.pack("5I8x", 0, 0, 0, 7, 0)))
    attempt(f"read {path}", lambda: os.listdir(path) is not None)
for path in ("/judge/prog/data/extra.txt", "/judge/prog/main.py", "data/extra.txt"):
    attempt(f"atime {path}", lambda: open(path, "rb").read())
for kind in (socket.AF_INET, socket.AF_INET6):
    def talk():
        server = socket.socket(kind)
        server.bind(("localhost", 4711))
        server.listen()
        client = socket.create_connection(("localhost", 4711))
        client.send(b"left")
        return True
    attempt(f"connection {kind}", talk)
    attempt(f"datagram {kind}", lambda: socket.socket(kind, socket.SOCK_DGRAM).sendto(b"left", ("localhost", 4712)))
attempt("abstract socket", lambda: socket.socket(socket.AF_UNIX).bind("\0left") or True)
for number, arguments in ((29, (7, 4096, 0o1777)), (68, (7, 0o1777)), (64, (7, 1, 0o1777)), (240, (b"/left", 0o102, 0o777, 0)),
                          (248, (b"user", b"left", b"left", 4, -4)), (250, (1, b"left"))):
    attempt(f"call {number}", lambda: libc.syscall(number, *arguments))
attempt("semaphore", lambda: os.open("/dev/shm/left", os.O_CREAT | os.O_WRONLY))
os.makedirs("a/b/c", exist_ok=True)
for path in ("a/b/c/file", "/tmp/file", "\udcff\n", "/tmp/-rf", "/tmp/ \t"):
    attempt(f"file {path!r}", lambda: open(path, "w").write("left") and os.chmod(path, 0))
attempt("link", lambda: os.symlink("/etc/passwd", "/tmp/link") or True)
attempt("fifo", lambda: os.mkfifo("/tmp/fifo") or True)
attempt("socket file", lambda: socket.socket(socket.AF_UNIX).bind("/tmp/socket") or True)
attempt("sparse", lambda: open("sparse", "wb").truncate(1 << 24))
for pid in (1, 2):
    attempt(f"nice {pid}", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19) or True)
    attempt(f"affinity {pid}", lambda: os.sched_setaffinity(pid, {0}) or True)
    attempt(f"idle {pid}", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)) or True)
    attempt(f"score {pid}", lambda: open(f"/proc/{pid}/oom_score_adj", "w").write("1000"))
    attempt(f"signal {pid}", lambda: os.kill(pid, 0) or True)
attempt("priority of all", lambda: os.setpriority(os.PRIO_USER, 0, 19) or True)
for name in ("hostname", "domainname"):
    attempt(name, lambda: open(f"/proc/sys/kernel/{name}", "w").write("left"))
os.chmod(".", 0o777)
attempt("own folder", lambda: os.rename("a", "/judge/box/left") or True)
for number in range(3):
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
libc.syscall(56, 0x8000 | 17, 0, 0, 0, 0) or os._exit(0)  # a child of the launcher's
attempt("sealed file", lambda: os.memfd_create("left"))
attempt("pseudo terminal", lambda: os.openpty() and True)
print(done)
"""

FILES = {"data/extra.txt": b"extra"}


def runs(worker, *sources, fork=False, submissions=False):
    """What programs print that run one after the other: as tests of one submission, or each as a submission of its own."""
    limits = Limits(cpu_s=10, wall_s=20)
    command = run_command(LANGUAGES["python"], limits, fork=fork)
    printed = []
    for number in range(len(sources)):
        if submissions or number == 0:
            scripts = {f"part{number}.py": text.encode() for number, text in enumerate(sources)}
            main = b"import sys\nexec(compile(open('/judge/prog/part' + input() + '.py').read(), 'part', 'exec'))"
            worker.begin({**FILES, **scripts, "main.py": main}, box=list(FILES))
        report = worker.run(command, f"{number}\n".encode())
        assert (report.exit_code, report.stderr) == (0, b""), report
        printed.append(report.stdout)
        if submissions or number == len(sources) - 1:
            worker.end()
    return printed


@pytest.mark.parametrize("submissions", [False, True], ids=["from test to test", "from submission to submission"])
def test_nothing_that_a_program_can_see_has_changed(submissions, sandbox):
    with sandbox._ready()[1].lease(60) as slot:
        fork = sandbox.mode == "fork"
        _, before, marked, after = runs(slot.worker, SNAPSHOT, SNAPSHOT, MARK, SNAPSHOT, fork=fork, submissions=submissions)
    before, after = json.loads(before), json.loads(after)
    assert marked.count(b"', ") > 10, f"the marker reached too little: {marked}"
    assert before == after


def test_the_description_shows_what_a_marker_that_is_not_cleaned_up_has_done(spawning):
    """The test above is not blind: in the same run, the description changes."""
    marks = (
        "open('/tmp/x', 'w')",
        "__import__('os').utime('/dev/null')",
        "__import__('os').symlink('x', 'x')",
        "__import__('os').nice(3)",
    )
    with spawning._ready()[1].lease(60) as slot:
        (before,) = runs(slot.worker, SNAPSHOT)
        for mark in marks:
            (after,) = runs(slot.worker, f"{mark}\n{SNAPSHOT}")
            assert json.loads(before) != json.loads(after), mark
