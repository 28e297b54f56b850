"""The program `r1env-sandbox`. Exit codes: 0 done, 1 something was not judged or does not hold, 2 wrong usage, 3 no sandbox here."""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import queue
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, Any, BinaryIO, Literal, cast

import typer

from r1env_sandbox import __version__
from r1env_sandbox.errors import SandboxUnavailable
from r1env_sandbox.harness import plain
from r1env_sandbox.languages import DEFAULT_LANGUAGES, LANGUAGES, UnknownLanguageError, find_language
from r1env_sandbox.models import Limits, Submission, Verdict
from r1env_sandbox.open import open_sandbox
from r1env_sandbox.rows import judge_line
from r1env_sandbox.sandbox import Judge, Mode

NO_SANDBOX, INTERRUPTED = 3, 130
MIN_TOKEN = 16  # characters
LOOK_SECONDS = 0.2  # how often a reader that waits for a line looks whether there is any use in it
READ_BYTES = 1 << 16
LINES_AHEAD = 4  # that are read for each worker: enough to keep it busy, and no more in memory

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModeOption = Annotated[
    str, typer.Option("--mode", metavar="spawn|fork", help="How Python tests start; fork is several times faster.")
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="docker|bwrap|auto|ray",
        help="What runs programs; auto takes bwrap where there is no Docker and all its probes hold.",
    ),
]
RuntimeOption = Annotated[str | None, typer.Option("--runtime", help="A runtime of the engine, e.g. runsc for gVisor.")]


def main() -> None:
    """The entry point of the console script."""
    try:
        app(prog_name="r1env-sandbox", standalone_mode=True)
    except SandboxUnavailable as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(NO_SANDBOX)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"r1env-sandbox {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Judge programs that a model wrote, in containers."""


@app.command()
def judge(
    input_: Annotated[str, typer.Option("--input", metavar="FILE", help="JSON lines to judge; - is stdin.")] = "-",
    output: Annotated[str, typer.Option("--output", metavar="FILE", help="Where the verdicts go; - is stdout.")] = "-",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Submissions at once; default: the processors.")
    ] = None,
    mode: ModeOption = "spawn",
    backend: BackendOption = "docker",
    runtime: RuntimeOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on behind the answers that the output file has already. Takes two files.")
    ] = False,
) -> None:
    """Judge submissions, one JSON line each.

    A line has `language`, `source`, `tests`, and where wanted `id`, `files`, `collect`, `limits`, `stop_at_first_failure`. Each
    gets one line, in the same order, as soon as it and those before it are judged: with `-` a program can hold a conversation, and
    the workers stay warm. A malformed line gets the status `rejected_input` and the rest are judged. The exit code is 1 when a line
    has no score. An engine that restarts is waited for; a command that was ended goes on with `--resume`, and each line is
    answered exactly once.

    \b
    Example:
      echo '{"language": "python", "source": "print(input())", "tests": [{"kind": "stdio", "stdin": "a", "expected": "a"}]}' \\
        | r1env-sandbox judge
    """
    with ExitStack() as stack:
        source = _open_input(stack, input_)
        unscored = 0
        if resume:
            sink, unscored = _open_answered(stack, output, input_, source)
        else:
            sink = _open_output(stack, output, input_)
        sandbox = stack.enter_context(_sandbox(workers, mode, backend, runtime))
        unscored += _judge_lines(sandbox, source, sink)
    if unscored:
        typer.echo(f"{unscored} without a score; `info.note` says why", err=True)
        raise typer.Exit(1)


@app.command()
def run(
    file: Annotated[
        Path, typer.Argument(help="A program; its language is that of its suffix unless --language says otherwise.")
    ],
    language: Annotated[str | None, typer.Option("--language", help="One of the sandbox's languages.")] = None,
    cpu_s: Annotated[float, typer.Option("--cpu-s", help="CPU seconds.")] = 10.0,
    memory_mb: Annotated[int, typer.Option("--memory-mb", help="Memory.")] = 512,
    backend: BackendOption = "docker",
) -> None:
    """Run one program with this program's stdin, and show what it prints.

    \b
    Example:
      echo 41 | r1env-sandbox run plus_one.py
    """
    suffixes = {Path(spec.source_file).suffix: name for name, spec in reversed(list(LANGUAGES.items()))}
    name = language or suffixes.get(file.suffix)
    if name is None:
        raise typer.BadParameter(f"the language of {file} is not known; give --language")
    name = _language(name)
    try:
        source = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}") from error
    stdin = "" if sys.stdin.isatty() else sys.stdin.read()
    submission = Submission(language=name, source=source)
    limits = Limits(cpu_s=cpu_s, wall_s=3 * cpu_s, memory_mb=memory_mb)
    with _sandbox(1, "spawn", backend, None) as sandbox:
        result = sandbox.run(submission, stdin, limits)
    typer.echo(result.stdout, nl=False)
    typer.echo(result.stderr, nl=False, err=True)
    if result.test is None:
        typer.echo(f"{result.status}: {result.compile.log or result.info.note}", err=True)
    else:
        used = f"{result.test.cpu_ms:.0f} ms CPU, {result.test.max_rss_kb / 1024:.0f} MB"
        typer.echo(f"{result.test.note or 'ended'}; {used}", err=True)
    raise typer.Exit(0 if result.status is Verdict.ACCEPTED else 1)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    backend: BackendOption = "docker",
    runtime: RuntimeOption = None,
) -> None:
    """Try what a submission must not be able to do, and say what holds on this host.

    \b
    Example:
      r1env-sandbox doctor
    """
    from rich.console import Console
    from rich.table import Table

    from r1env_sandbox.doctor import examine_host

    with _sandbox(1, "spawn", backend, runtime) as sandbox:
        host = sandbox.describe()
        findings = list(examine_host(sandbox))
    if as_json:
        rows = [{"name": finding.name, "holds": finding.holds, "detail": finding.detail} for finding in findings]
        typer.echo(json.dumps({"host": host, "findings": rows}, indent=2))
    else:
        table = Table("what", "holds", "detail", title="sandbox")
        for key, value in host.items():
            table.add_row(key, "", str(value))
        for finding in findings:
            table.add_row(finding.name, "yes" if finding.holds else "NO", finding.detail)
        Console().print(table)
    if not all(finding.holds for finding in findings):
        raise typer.Exit(1)


@app.command()
def build(
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Make the base with debootstrap (root on Debian); no registry.")
    ] = False,
    base: Annotated[
        str | None, typer.Option("--base", metavar="IMAGE", help="Another base image, with Debian's packages.")
    ] = None,
    language: Annotated[list[str] | None, typer.Option("--language", help="A language to hold; repeatable.")] = None,
) -> None:
    """Build the image that submissions run in.

    \b
    Example:
      r1env-sandbox build
      r1env-sandbox build --bootstrap --language python --language cpp
    """
    import docker

    from r1env_sandbox.backends.docker import connect
    from r1env_sandbox.images import BUILD_SECONDS, ImageBuildError, build_image

    if base is not None and bootstrap:
        raise typer.BadParameter("give --base or --bootstrap, not both")
    names = tuple(map(_language, language or DEFAULT_LANGUAGES))
    connect().close()  # says plainly what is wrong with the engine
    client = docker.from_env(timeout=BUILD_SECONDS)
    try:
        build_image(client, base=base, bootstrap=bootstrap, languages=names, report=lambda line: typer.echo(line, err=True))
    except ImageBuildError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        client.close()


@app.command()
def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at. Off the loopback interface a token is required.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen at.")] = 8080,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Submissions at once; default: the processors.")
    ] = None,
    mode: ModeOption = "spawn",
    backend: BackendOption = "docker",
    runtime: RuntimeOption = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="A file with the token that requests must bring; or set R1ENV_SANDBOX_TOKEN."),
    ] = None,
    max_requests: Annotated[
        int, typer.Option("--max-requests", min=1, help="At work and waiting; more are answered with 429.")
    ] = 1024,
    drain_s: Annotated[
        int, typer.Option("--drain-s", min=0, help="Seconds that requests may take to end after SIGTERM.")
    ] = 300,
) -> None:
    """Serve /judge, SandboxFusion's /run_code and /submit, Piston's /api/v2/execute and open-r1's /execute_batch over HTTP.

    On SIGTERM no more requests are taken, and those at work are answered. Takes the extra `r1env-sandbox[server]`.

    \b
    Example:
      r1env-sandbox serve --port 8080 --workers 16 --mode fork
    """
    try:
        import uvicorn

        from r1env_sandbox.server import make_app
    except ImportError as error:
        typer.echo(f"error: {error.name} is missing; install r1env-sandbox[server]", err=True)
        raise typer.Exit(2) from error
    token = _token(token_file)
    if token is None and not _is_loopback(host):
        raise typer.BadParameter(
            f"--host {host} can be reached from elsewhere, so requests must bring a token: give --token-file or R1ENV_SANDBOX_TOKEN"
        )
    with _sandbox(workers, mode, backend, runtime) as sandbox:
        # uvicorn answers what is at work and then sends the signal on to this handler, so that the sandbox is closed as well.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        uvicorn.run(
            make_app(sandbox, token=token, max_requests=max_requests),
            host=host,
            port=port,
            log_level="warning",
            timeout_graceful_shutdown=drain_s,
        )


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(__version__)


def _judge_lines(sandbox: Judge, source: BinaryIO, sink: IO[str]) -> int:
    """Read, judge and write at the same time, in order. Returns how many lines have no score."""
    answers: queue.Queue[Future[dict[str, Any]] | None] = queue.Queue(LINES_AHEAD * sandbox.workers)
    unscored = 0
    fault: list[BaseException] = []

    def write() -> None:
        nonlocal unscored
        while (future := answers.get()) is not None:
            if fault:
                continue
            try:
                row = future.result()
                unscored += row["score"] is None
                sink.write(json.dumps(row) + "\n")
                sink.flush()
            except BaseException as error:  # noqa: BLE001 - handed to the thread that reads
                fault.append(error)

    writer = threading.Thread(target=write, name="write", daemon=True)
    writer.start()
    executor = ThreadPoolExecutor(sandbox.workers, thread_name_prefix="judge")
    try:
        for line in _lines(source, fault):
            if line.strip():
                answers.put(executor.submit(judge_line, sandbox, line))
        answers.put(None)
        writer.join()
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        sandbox.close()
        raise
    executor.shutdown(cancel_futures=bool(fault))
    if fault:
        raise fault[0]
    return unscored


def _lines(source: BinaryIO, fault: list[BaseException]) -> Iterator[bytes]:
    """The lines of an input, up to the first fault: whoever waits for our answer before sending the next line must not wait for ever."""
    if source is not sys.stdin.buffer or not _may_block(source):
        yield from itertools.takewhile(lambda _: not fault, source)
        return
    descriptor = source.fileno()
    pending, searched = bytearray(), 0
    while not fault:
        if end := pending.find(b"\n", searched) + 1:
            line = bytes(pending[:end])
            del pending[:end]
            searched = 0
            yield line
            continue
        searched = len(pending)
        if not select.select([descriptor], [], [], LOOK_SECONDS)[0]:
            continue
        if not (data := os.read(descriptor, READ_BYTES)):
            if pending:
                yield bytes(pending)
            return
        pending += data


def _may_block(source: BinaryIO) -> bool:
    try:
        return not stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    except OSError:  # it is in memory
        return False


def _sandbox(workers: int | None, mode: str, backend: str, runtime: str | None) -> Judge:
    known = _mode(mode)
    try:
        return open_sandbox(backend, workers, mode=known, runtime=runtime)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _language(name: str) -> str:
    """Return the name of a language that the sandbox knows, by that or by another of its names."""
    try:
        return find_language(name).name
    except UnknownLanguageError as error:
        raise typer.BadParameter(str(error)) from error


def _mode(text: str) -> Mode:
    if text not in ("spawn", "fork"):
        raise typer.BadParameter(f"--mode is spawn or fork, not {text!r}")
    return cast(Literal["spawn", "fork"], text)


def _open_input(stack: ExitStack, name: str) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(name).open("rb"))
    except OSError as error:
        raise typer.BadParameter(f"cannot read {name}: {error.strerror}") from error


def _open_output(stack: ExitStack, name: str, input_name: str) -> IO[str]:
    if name == "-":
        return sys.stdout
    path = Path(name)
    if input_name != "-" and path.exists() and path.samefile(input_name):
        raise typer.BadParameter(f"--output {name} is the input file itself; name another")
    try:
        return stack.enter_context(path.open("w", encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"cannot write {name}: {error.strerror}") from error


def _open_answered(stack: ExitStack, name: str, input_name: str, source: BinaryIO) -> tuple[IO[str], int]:
    """Return the output file behind its last whole answer, and how many of its answers have no score; what they answer is read from the
    source."""
    if "-" in (name, input_name):
        raise typer.BadParameter("--resume takes the names of two files, --input and --output")
    path = Path(name)
    if not path.exists():
        return _open_output(stack, name, input_name), 0
    if path.samefile(input_name):
        raise typer.BadParameter(f"--output {name} is the input file itself; name another")
    end = answered = unscored = 0
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                row = None
            if row is None:  # the last, which was being written
                break
            question = next((line for line in source if line.strip()), None)
            if not isinstance(row, dict) or "status" not in row or question is None or row.get("id") != _id_of(question):
                raise typer.BadParameter(
                    f"answer {answered + 1} of {name} is not one to its line of {input_name}; name another"
                )
            answered, unscored, end = answered + 1, unscored + (row.get("score") is None), end + len(line)
    typer.echo(f"{answered} lines are answered already", err=True)
    try:
        sink = stack.enter_context(path.open("r+", encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"cannot write {name}: {error.strerror}") from error
    sink.truncate(end)
    sink.seek(end)
    return sink, unscored


def _id_of(line: bytes) -> str | float | None:
    """Return the id that the answer to a line has; None where the line has none that can be read."""
    try:
        data = plain.loads(line.decode("utf-8-sig"))
    except ValueError:
        return None
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, str | int | float) else None


def _token(file: Path | None) -> str | None:
    try:
        token = file.read_text("utf-8").strip() if file else os.environ.get("R1ENV_SANDBOX_TOKEN", "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read --token-file {file}: {error}") from error
    if file and not token:
        raise typer.BadParameter(f"--token-file {file} is empty")
    if token and (not token.isascii() or "/" in token or len(token) < MIN_TOKEN):
        raise typer.BadParameter(f"a token is at least {MIN_TOKEN} ASCII characters, none of them a slash")
    return token or None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
