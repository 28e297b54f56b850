"""`r1env view`: starts the page."""

from __future__ import annotations

import logging
import secrets
import socket
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from r1env.errors import UsageError
from r1env_view.app import LOOPBACK, make_app

PORT = 8765


def view(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]…", help="Runs, evaluations, or folders of them. Default: runs/.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. One that others reach needs --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Port; 0 takes a free one.")] = PORT,
    token: Annotated[
        str | None,
        typer.Option("--token", help="Secret that the address must have; 'new' makes one.", envvar="R1ENV_VIEW_TOKEN"),
    ] = None,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show runs and evaluations in the browser, while they go on: charts, and every rollout.

    \b
    Example:
      r1env view
      r1env view runs/r1-zero-tiny-cpu-20260131-120000 runs/eval-sort-4-20260131-130000 --port 9000
      r1env view --host 0.0.0.0 --token new
    """
    import uvicorn  # here, because it takes half a second to import

    places = folders or [Path("runs")]
    for place in places:
        if not place.is_dir():
            hint = "; train something first, or name a folder" if not folders else ""
            raise UsageError(f"{place} is not a folder{hint}")
    if host not in LOOPBACK and not token:
        raise UsageError(f"{host} can be reached from other machines: give --token new, or listen on 127.0.0.1 and use ssh -L")
    if token == "new":
        token = secrets.token_urlsafe(16)
    listener = _listen(host, port)
    address = f"http://{'localhost' if host in LOOPBACK else socket.gethostname()}:{listener.getsockname()[1]}/"
    if token:
        address += f"?token={token}"
    typer.echo(f"{address}\nCtrl-C ends it.", err=True)
    if browser:
        webbrowser.open(address)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(make_app(places, token=token or ""), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port, or 0 for a free one"
        ) from error
    return listener
