"""A bundle's graph as the batcher runs it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from dlkit.serving.calls import Arrays, Graph, GraphError
from dlkit.tasks import Model, Session


def graph_of(model: Model[Any, Any, Any], session: Session) -> Graph:
    """The graph as the batcher runs it; a task may run large samples in parts."""
    spec = model.bundle.spec
    if not model.stacks:

        def run(feeds: Arrays) -> Arrays:
            try:
                return session.run(feeds)
            except Exception as error:  # each backend has exceptions of its own
                raise GraphError(str(error).strip().partition("\n")[0]) from error

        return run
    output = spec.output.name
    watched = Guarded(session)

    def infer(feeds: Arrays) -> Arrays:
        (batch,) = feeds.values()
        return {output: model.infer(watched, batch)}

    return infer


class Guarded(Session):
    """A session whose own errors are told from those of the code around it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.backend, self.device = session.backend, session.device
        self.sha256, self.arithmetic = session.sha256, session.arithmetic

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        try:
            return self._session.run(feeds)
        except Exception as error:
            raise GraphError(str(error).strip().partition("\n")[0]) from error

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch of a graph with one input and one output."""
        try:
            return self._session(batch)
        except Exception as error:
            raise GraphError(str(error).strip().partition("\n")[0]) from error
