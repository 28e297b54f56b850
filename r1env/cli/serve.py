"""`r1env serve`: the rewards over HTTP."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from r1env.adapters.core import load_rubric, rubric_spec
from r1env.cli.options import names_of, open_environment, options_by_reward, plugins_of
from r1env.errors import UsageError
from r1env.rubrics import with_options
from r1env.scoring import ScoringPool
from r1env.scoring.pool import workers_from_environment

TOKEN_VARIABLE = "R1ENV_SERVER_TOKEN"


def serve(
    ctx: typer.Context,
    rubric: Annotated[
        str | None,
        typer.Option(
            "--rubric",
            metavar="NAME|FILE",
            autocompletion=names_of("rubrics", "rewards"),
            help="Rubric: a preset, a YAML file or a single reward. Default: the checker of --env, or zero.",
        ),
    ] = None,
    accuracy: Annotated[
        str | None,
        typer.Option(
            "--accuracy",
            metavar="REWARD",
            help="Reward to use for `accuracy` in the rubric. Default: the one of --env, or math.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="REWARD.KEY=VALUE", help="Option of a reward. Repeatable.")
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            "--env",
            autocompletion=names_of("environments"),
            help="Environment to serve to OpenEnv clients and NeMo Gym agents, scored with --rubric or with its own checker.",
        ),
    ] = None,
    env_option: Annotated[
        list[str] | None,
        typer.Option("-o", "--env-option", metavar="KEY=VALUE", help="Option of the environment. Repeatable."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. A token is required unless it is a loopback address.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help=f"File with the token that every request must contain; or set {TOKEN_VARIABLE}."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Number of scoring processes. Default: R1ENV_WORKERS, or the number of processors."
        ),
    ] = None,
    unscored: Annotated[
        float,
        typer.Option(
            "--unscored", help="Number that is sent instead of a score without a value to stacks that support only numbers."
        ),
    ] = 0.0,
    max_body_mb: Annotated[int, typer.Option("--max-body-mb", min=1, help="Maximum size of a request, in MiB.")] = 32,
    max_items: Annotated[int, typer.Option("--max-items", min=1, help="Maximum number of completions in one request.")] = 4_096,
    max_queue: Annotated[
        int,
        typer.Option(
            "--max-queue",
            min=1,
            help="Maximum number of completions that are being scored or waiting; further requests get status 429.",
        ),
    ] = 16_384,
    body_s: Annotated[float, typer.Option("--body-s", min=0.1, help="Time limit for receiving a request, in seconds.")] = 30.0,
    drain_s: Annotated[
        int, typer.Option("--drain-s", min=1, help="Time limit for answering requests after SIGTERM, in seconds.")
    ] = 300,
    log_completions: Annotated[
        bool,
        typer.Option("--log-completions", help="Write completions to the log. By default, it contains only counts and times."),
    ] = False,
) -> None:
    """Serve rewards over HTTP, for stacks that ask for a URL.

    One process serves batches (`/v1/score`; see `/docs` for all routes), OpenRLHF (`/get_reward`), slime (`/slime`), verl
    (`/verl`) and NeMo Gym (`/seed_session`, `/verify`). `/healthz` is a health check, and `/metrics` is for Prometheus.

    After SIGTERM, the server accepts no more connections and answers the requests that it has received. The command needs the
    extra `r1env[server]`.

    \b
    Example:
      r1env serve --rubric zero --accuracy math --port 8000
      r1env serve --env guess-number
      r1env serve --rubric mine.yaml --host 0.0.0.0 --token-file token.txt --workers 8
    """
    try:
        import uvicorn

        from r1env.server.app import ServerLimits, make_app
    except ImportError as error:
        raise UsageError(f"{error.name} is missing; install r1env[server]") from error
    plugins = plugins_of(ctx)
    if env and accuracy:
        raise UsageError("--accuracy is for a rubric without --env, which brings its own checker; leave one of them out")
    spec = with_options(rubric_spec(rubric or ("accuracy" if env else "zero"), plugins), options_by_reward(option))
    environment = open_environment(plugins, env, env_option, rubric=spec) if env else None
    loaded = load_rubric(environment.rubric if environment else spec, accuracy=accuracy or "math", plugins=plugins)
    token = _token(token_file)
    if token is None and not _is_loopback(host):
        raise UsageError(
            f"--host {host} can be reached from other machines, so a token is required: give --token-file or {TOKEN_VARIABLE}"
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    limits = ServerLimits(max_body_mb=max_body_mb, max_items=max_items, max_queue=max_queue, body_seconds=body_s)
    with ScoringPool(workers or workers_from_environment(os.environ)) as pool:
        app = make_app(
            loaded,
            token=token,
            limits=limits,
            unscored=unscored,
            pool=pool,
            environment=environment,
            log_completions=log_completions,
        )
        # uvicorn answers what has arrived and then raises the signal again, for this handler, so that the workers are ended too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        uvicorn.run(
            app,
            host=host,
            port=port,
            log_level="info",
            access_log=False,  # a token may be in the path
            timeout_graceful_shutdown=drain_s,
            limit_concurrency=MAX_CONNECTIONS,
        )


MAX_CONNECTIONS = 900
"""Below the 1,024 files that a process may usually have open; more connections are answered with 503."""


def _token(file: Path | None) -> str | None:
    """Return the token of the file, or of the environment.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the token from {file}: {error}") from error
    if not token:
        raise UsageError(f"{file} is empty; it must hold the token")
    return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
