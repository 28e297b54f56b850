"""The program `r1env`: assembles the commands, ours and those of plugins. A command is imported when it is called."""

from __future__ import annotations

import errno
import os
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from r1env import __version__
from r1env.cli.console import print_json
from r1env.cli.options import Json
from r1env.errors import R1EnvError
from r1env.hooks import CommandSpec
from r1env.importing import import_target
from r1env.plugins import Plugins, installed
from r1env.runs.manifest import distribution_versions

COMMANDS = (
    CommandSpec("train", "r1env.cli.train:app", "Train a model."),
    CommandSpec("settings", "r1env.cli.settings:settings", "Show a trainer's settings, with defaults and sources."),
    CommandSpec("eval", "r1env.cli.evaluate:evaluate_command", "Evaluate a model: accuracy with its interval, and pass@k."),
    CommandSpec("compare", "r1env.cli.evaluate:compare", "Compare evaluations, task by task."),
    CommandSpec("table", "r1env.cli.evaluate:table", "Print evaluations as the tables of the R1 paper."),
    CommandSpec("scaling", "r1env.cli.evaluate:scaling", "Show how accuracy grows with tokens."),
    CommandSpec("rescore", "r1env.cli.evaluate:rescore", "Score an evaluation's completions again."),
    CommandSpec(
        "decontaminate", "r1env.cli.decontaminate:decontaminate", "Find training rows that share text with a benchmark."
    ),
    CommandSpec("sample", "r1env.cli.sample:sample", "Sample completions, to read or to score later."),
    CommandSpec("score", "r1env.cli.score:score", "Score existing completions."),
    CommandSpec("export", "r1env.cli.score:export", "Export rewards for TRL, verl or OpenRLHF."),
    CommandSpec("serve", "r1env.cli.serve:serve", "Serve rewards over HTTP."),
    CommandSpec("audit", "r1env.cli.audit:audit_command", "Find wrong completions that a reward pays for."),
    CommandSpec("runs", "r1env.cli.runs:runs", "List runs and evaluations with their best numbers."),
    CommandSpec("verify", "r1env.cli.verify:verify", "Score a sample of a run again and report changed values."),
    CommandSpec("report", "r1env.cli.train:report", "Write the report of a training or an evaluation."),
    CommandSpec("envs", "r1env.cli.envs:envs", "List the environments."),
    CommandSpec("show", "r1env.cli.envs:show", "Show a task of an environment."),
    CommandSpec("play", "r1env.cli.play:play", "Play an episode in the terminal."),
    CommandSpec("plugins", "r1env.cli.plugins:plugins", "List what plugins provide, and check that it can be imported."),
    CommandSpec("new", "r1env.cli.plugins:app", "Create a plugin."),
    CommandSpec("doctor", "r1env.cli.doctor:doctor", "Check what works on this machine."),
    CommandSpec("version", "r1env.cli.main:version", "Show the version."),
)

OWN_COMMANDS = {spec.name: spec for spec in COMMANDS}

OWN_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""A command reads its own arguments, `--help` included, once it is imported."""


def main() -> None:
    """The entry point of the console script."""
    warnings.showwarning = _show_warning
    # Read by OpenMP when torch is loaded. Threads that spin while they wait cost more CPU than they compute as soon as
    # anything else runs on the machine: six times more for a 135M model beside two busy processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    make_app(installed())(prog_name="r1env")


def make_app(plugins: Plugins) -> typer.Typer:
    """Return the command line over these plugins. A plugin's command that is called like one of ours is recorded and left out."""
    app = typer.Typer(
        cls=OneLineErrors,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={
            "help_option_names": ["-h", "--help"],  # commands inherit it, those of plugins too
            "obj": plugins,  # here and not in `root`, which the shell's completion does not call
        },
    )

    @app.callback()
    def root(
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
        version: Annotated[
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
        ] = False,
    ) -> None:
        """Environments, rewards and trainers for reasoning models.

        \b
        Example:
          r1env train r1-zero --preset tiny-cpu
        """

    for spec in COMMANDS:
        _add_command(app, spec)
    for provided in plugins.provided("commands").values():
        if provided.spec.name in OWN_COMMANDS:
            plugins.fail(provided.provenance, f"provides the command {provided.spec.name!r}, which r1env has itself")
        else:
            _add_command(app, provided.spec)
    return app


def _add_command(app: typer.Typer, spec: CommandSpec) -> None:
    """Add a command that is imported when it is called."""

    @app.command(spec.name, help=spec.summary, context_settings=OWN_ARGUMENTS)
    def call(ctx: typer.Context) -> None:
        command = _load_command(ctx.obj, spec.name)
        with command.make_context(spec.name, list(ctx.args), parent=ctx.parent) as own:
            command.invoke(own)


def _load_command(plugins: Plugins, name: str) -> Any:
    """Import a command of ours or of a plugin. Raise PluginError if two plugins provide the name."""
    target: Any = import_target(OWN_COMMANDS[name].target) if name in OWN_COMMANDS else plugins.load(CommandSpec, name)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False, rich_markup_mode=None)
        target.command(name)(function)
    return typer.main.get_command(target)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"r1env {__version__}")
        raise typer.Exit


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"warning: {message}", err=True)


# What a fault looks like on the command line: one plain line on stderr and an exit code; a traceback only with `--debug`.
#
# Exit codes: 0 done, 1 something was found or failed, 2 wrong usage, 130 interrupted, 143 terminated.

INTERRUPTED = 130  # 128 + SIGINT, as shells count
TERMINATED = 143  # 128 + SIGTERM

# The parent of all of typer's usage errors. Its home moved between versions; a public child leads to it in all of them.
_PARSE_ERROR: Any = typer.BadParameter.__base__


class OneLineErrors(TyperGroup):
    """The root of the command line: every command's fault passes here, and leaves as one line."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command; while the shell completes a line, the imported one, whose options and arguments are known."""
        command = super().get_command(ctx, cmd_name)
        return _load_command(ctx.obj, cmd_name) if command is not None and ctx.resilient_parsing else command

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
    """Return True for a closed pipe (`r1env envs | head`), which typer ends quietly."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE


# `r1env version`.


def version(as_json: Json = False) -> None:
    """Show the version.

    \b
    Example:
      r1env version --json
    """
    if as_json:
        print_json({"r1env": __version__, "distributions": distribution_versions()})
    else:
        typer.echo(__version__)
