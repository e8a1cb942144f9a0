"""A client that hangs up: what it asked for is not computed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.requests import Request


@asynccontextmanager
async def unless_gone(request: Request) -> AsyncIterator[None]:
    """Cancel what runs in here when the client hangs up. The body must have been read."""
    task = asyncio.current_task()
    assert task is not None

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        request.scope["about"]["gone"] = True
        task.cancel()

    watching = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0) if watching.done() else None
