"""dlkit serve"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.serving.server import Server

_OPEN_FILES = 1 << 16
EXAMPLE = (
    "Examples:  dlkit serve  |  dlkit serve digits scans=runs/mine/bundle-fp32 --batch 8  |  "
    "dlkit serve digits --host 0.0.0.0 --key-file key.txt --require-certificate"
)


def command(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles: folders, or names of shipped ones; NAME=BUNDLE to name one for clients.",
            show_default="all that ship",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="For HTTP; 0: any.")] = 8000,
    grpc_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="For gRPC; 0: any; -1: no gRPC.")
    ] = 8001,
    backend: _options.Backend = "auto",
    device: _options.Device = "auto",
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_options.COUNT,
            help="Most rows that run together.",
            show_default="by task and device",
        ),
    ] = None,
    delay: Annotated[
        float, typer.Option(min=0, help="Milliseconds that a request may wait for others.")
    ] = 0.0,
    queue: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_options.COUNT,
            help="Most rows that wait, for each model.",
            show_default="by batch",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_options.THREADS,
            help="Batches of a model that run at once.",
            show_default="by task",
        ),
    ] = None,
    max_body: Annotated[str, typer.Option(help="Largest body of a request.")] = "64MB",
    max_pixels: Annotated[
        int,
        typer.Option(min=1, max=_options.PIXELS, help="Largest image that is taken, in pixels."),
    ] = 32_000_000,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds in which a request must have been sent.")
    ] = 30.0,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that running requests have when it ends.")
    ] = 30.0,
    key_file: Annotated[
        Path | None,
        typer.Option(help="File with the key that requests must bring (bearer)."),
    ] = None,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Let anybody ask who can reach --host.")
    ] = False,
    access_log: Annotated[
        str, typer.Option(help="A line of JSON for each request: a file, - or none.")
    ] = "none",
    require_certificate: _options.RequireCertificate = False,
    accept_random: _options.AcceptRandom = False,
) -> None:
    """Serve bundles: the Open Inference Protocol over HTTP and gRPC, and a page for people.

    SIGTERM and Ctrl-C end it once running requests are answered; SIGHUP loads all bundles anew.
    """
    import logging

    from dlkit.cli._console import notes
    from dlkit.cli._extras import serving_installed
    from dlkit.cli._sizes import parse_bytes
    from dlkit.limits import allow_pixels

    allow_pixels(max_pixels)  # OpenCV is not loaded yet
    _allow_connections()
    with serving_installed():
        from dlkit.serving.bounds import Bounds
        from dlkit.serving.loading import Wanted
        from dlkit.serving.safety import is_loopback, read_key
        from dlkit.serving.server import Server, Settings

    from dlkit.errors import UsageError

    key = None if key_file is None else read_key(key_file)
    if key is None and not no_key and not is_loopback(host):
        raise UsageError(
            f"--host {host} can be reached by others, and there is no key",
            "Give --key-file FILE; or say --no-key, where something else keeps others out",
        )
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    console = notes()
    models = {
        name: Wanted(
            bundle,
            backend,
            device,
            batch,
            delay / 1000,
            queue,
            workers,
            require_certificate=require_certificate,
            accept_random=accept_random,
        )
        for name, bundle in _names(bundles or []).items()
    }
    settings = Settings(
        models,
        host,
        port,
        None if grpc_port < 0 else grpc_port,
        key,
        grace,
        access_log,
        Bounds(parse_bytes(max_body, "--max-body"), timeout),
    )
    Server(settings, lambda server: _started(server, console)).run()


def _allow_connections() -> None:
    """As many open files as the system allows this process: each connection is one, and the usual
    1,024 are soon gone where many are slow."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _names(bundles: list[str]) -> dict[str, str]:
    """What clients call each bundle: as it was named, else what the bundle calls itself."""
    from dlkit.bundle import Bundle, shipped
    from dlkit.errors import UsageError

    found: dict[str, str] = {}
    for one in bundles or shipped():
        name, equals, bundle = one.partition("=")
        if not equals or Path(one).exists():
            name, bundle = Bundle.open(one).spec.name, one
        if not name or "/" in name:
            raise UsageError(f"'{name}' cannot be a model's name", "Leave slashes out")
        if name in found:
            raise UsageError(
                f"{found[name]} and {bundle} are both called {name}", "Name one: NAME=BUNDLE"
            )
        found[name] = bundle
    return found


def _started(server: Server, console: Console) -> None:
    """What runs where."""
    from dlkit.cli._console import plain

    def say(text: str, style: str = "") -> None:
        console.print(plain(text), style=style or None, highlight=False, soft_wrap=True)

    for name in server.repository.names():
        loaded = server.repository.get(name).loaded
        session, limits = loaded.session, loaded.limits
        say(
            f"{name} ({session.arithmetic or loaded.bundle.spec.precision}) on {session.backend}, "
            f"{session.device}; up to {limits.batch} rows together, {limits.queue} wait; "
            f"{loaded.verdict}"
        )
    host = f"[{server.settings.host}]" if ":" in server.settings.host else server.settings.host
    say(f"http://{host}:{server.port}", "bold")
    if server.grpc_port is not None:
        say(f"grpc://{host}:{server.grpc_port}")


command.__name__ = "serve"
