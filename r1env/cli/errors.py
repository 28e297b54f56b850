"""What a fault looks like on the command line: one plain line on stderr and an exit code; a traceback only with `--debug`.

Exit codes: 0 done, 1 something was found or failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import errno
from typing import Any

import typer
from typer.core import TyperGroup

from r1env.errors import R1EnvError

INTERRUPTED = 130  # 128 + SIGINT, as shells count

# The parent of all of typer's usage errors. Its home moved between versions; a public child leads to it in all of them.
_PARSE_ERROR: Any = typer.BadParameter.__base__


class OneLineErrors(TyperGroup):
    """The root of the command line: every command's fault passes here, and leaves as one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            raise _stop("interrupted", INTERRUPTED) from None
        except Exception as error:
            if ctx.params.get("debug") or _reader_is_gone(error):
                raise
            raise _stop(*_line_and_code(error, ctx.command_path)) from error


def _line_and_code(error: Exception, program: str) -> tuple[str, int]:
    if isinstance(error, R1EnvError):
        return f"error: {_one_line(error)}", error.exit_code
    if isinstance(error, _PARSE_ERROR):
        where = error.ctx.command_path if error.ctx is not None else program
        return f"error: {_one_line(error.format_message())} (see `{where} --help`)", error.exit_code
    return f"error: {type(error).__name__}: {_one_line(error)} (run `{program} --debug …` to see where)", 1


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _stop(line: str, code: int) -> typer.Exit:
    typer.echo(line, err=True)
    return typer.Exit(code)


def _reader_is_gone(error: Exception) -> bool:
    """True for a closed pipe (`r1env envs | head`), which typer ends quietly."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE
