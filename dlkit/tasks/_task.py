"""Task: all that dlkit knows of what a network is for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import UsageError
from dlkit.spec import ModelSpec
from dlkit.tasks._data import Calibration, HeldOut, Outputs
from dlkit.tasks._model import Answers, Model

if TYPE_CHECKING:
    from torch import nn

_ROUNDING = 1e-9  # 0.991 - 0.99 is a little more than 0.001


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change.

    Attributes:
        largest, mean: absolute difference from the reference, in the task's ``unit``.
        loss: by how much each task metric may fall, by its name.
        channel: error of any channel of an output, as a share of its spread; None where metrics
            say more.
    """

    largest: float
    mean: float
    loss: Mapping[str, float] = field(default_factory=dict)
    channel: float | None = None


class Task(ABC):
    """What goes in and comes out, what is measured, and on which data.

    Parts that need torch import it inside their methods: a machine that only deploys has none.

    Attributes:
        name: as ``ModelSpec.task`` has it; for a task of another package the name by which
            ``TASKS`` loads it (its entry point, or ``package.module:NAME``).
        about: one line for people.
        command: of the command line that runs it over a folder.
        pipeline: what Hugging Face's hub calls it; empty where it has no word for it.
        folder: ending of the folder of outputs, by default the bundle's name.
        default_bundle: the shipped bundle that serves it; None where none does.
        model: what ``dlkit.load`` gives.
        batch: samples that run together, by device.
        engine_batch: smallest, best and largest batch of an engine.
        unit: of differences between outputs, for people.
        relative: differences are relative to the largest value of each output: nobody knows its
            unit.
        agreement_name: heading of ``agreement``, for people.
        any_graph: it serves every bundle, whatever that was made for.
        bfloat16_pays: computing in bfloat16 what the graph has in float32 was measured to be much
            faster: ``auto`` then takes such a backend where a certificate covers it.
        tolerances: by precision.
        images: networks take float32 (N, C, H, W) from uint8 pixels, which ``wrap`` makes.
        gives: what the graph must give: ``arrays`` of any kind; ``probabilities`` (N, classes);
            ``pixels``, uint8 (N, H, W) or (N, H, W, 3). A foreign graph is completed so.
        least_inputs: a certificate is not given on fewer inputs; fewer than a hundred are for
            tasks whose inputs are whole scans.
        evaluation: module of ``dlkit.evaluation``, or of another package, whose ``EVALUATION``
            makes ``dlkit evaluate``'s report; None where the metrics of ``held_out`` are all.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    command: ClassVar[str] = "run"
    pipeline: ClassVar[str] = ""
    folder: ClassVar[str] = ""
    default_bundle: ClassVar[str | None] = None
    model: ClassVar[type[Model[Any, Any, Any]]]
    batch: ClassVar[Mapping[str, int]] = {"cpu": 1, "cuda": 8}
    engine_batch: ClassVar[tuple[int, int, int]] = (1, 4, 16)
    unit: ClassVar[str] = "absolute"
    relative: ClassVar[bool] = False
    agreement_name: ClassVar[str] = "agreement"
    any_graph: ClassVar[bool] = False
    bfloat16_pays: ClassVar[bool] = False
    tolerances: ClassVar[Mapping[str, Tolerance]]
    images: ClassVar[bool] = False
    gives: ClassVar[Literal["arrays", "probabilities", "pixels"]] = "arrays"
    least_inputs: ClassVar[int] = 100
    evaluation: ClassVar[str | None] = None

    # --- running ---

    def open(self, bundle: Bundle, opened: Answers) -> Model[Any, Any, Any]:
        """A model that answers."""
        return self.model(bundle, opened)

    @abstractmethod
    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec that this task cannot serve.

        Raises:
            BundleError: what does not fit.
        """

    # --- proof ---

    def held_out(
        self,
        spec: ModelSpec,
        origin: Mapping[str, Any],
        data: str | None = None,
        count: int | None = None,
    ) -> HeldOut:
        """Inputs that no training saw, with their answers.

        Args:
            origin: of the bundle: its recipe says on what it was trained, and so what was kept out.
            data: a dataset's name or a folder; the task's own by default.
            count: most inputs; the task's own number by default.

        Raises:
            InputError: the data cannot be read.
            UsageError: the task has no data of its own, and none was named.
        """
        raise UsageError(f"the task '{self.name}' has no held-out data", "Name some with --data")

    def has_held_out(self, spec: ModelSpec, origin: Mapping[str, Any]) -> bool:
        """Whether ``held_out`` has data of its own for a bundle; else they must be named."""
        return True

    def calibration(
        self, spec: ModelSpec, origin: Mapping[str, Any], data: str | None, multiply_adds: int
    ) -> Calibration:
        """Inputs of the training side, for int8.

        Args:
            origin: of the bundle: what the network was trained on.
            data: a dataset's name or a folder; what the network was trained on by default.
            multiply_adds: of one sample, to bound the time that they take; 0 where unknown.

        Raises:
            InputError: the data cannot be read.
            UsageError: too few, or nobody knows on what the network was trained.
        """
        raise UsageError(
            f"the task '{self.name}' has no calibration data, which int8 needs", "Use fp16"
        )

    def agreement(self, expected: Outputs, outputs: Outputs) -> float:
        """How alike outputs are in the task's own terms; higher is better.

        By default 1 minus the mean difference as a share of the expected values' own spread.
        """
        gaps, spread = [], []
        for one, other in zip(expected, outputs, strict=True):
            for name in one:
                wanted = one[name].astype(np.float64)
                if not wanted.size:
                    continue
                gaps.append(np.abs(wanted - other[name].astype(np.float64)).ravel())
                spread.append(np.abs(wanted - wanted.mean()).ravel())
        if not gaps:  # nothing beside nothing
            return 1.0
        whole = float(np.concatenate(spread).mean())
        return 1 - float(np.concatenate(gaps).mean()) / (whole or 1.0)

    def lost(
        self,
        tolerance: Tolerance,
        before: Mapping[str, float],
        after: Mapping[str, float],
        expected: Outputs,
        count: int,
    ) -> list[str]:
        """Task metrics that fell by more than is allowed.

        Args:
            before, after: of the reference, and of what is compared with it.
            expected: the reference's outputs.
            count: samples that were scored.
        """
        return [
            name
            for name, best in before.items()
            if best - after[name] > tolerance.loss.get(name, 0.0) + _ROUNDING
        ]

    def least_agreement(
        self, spec: ModelSpec, tolerance: Tolerance, data: HeldOut, before: Mapping[str, float]
    ) -> float:
        """The agreement below which outputs could lose more than is allowed on other inputs than
        these, though they do not on these. By default nothing is known, and no agreement too low.

        Args:
            before: the reference's metrics on ``data``.
        """
        return float("-inf")

    # --- training and export; torch is there ---

    @abstractmethod
    def describe(self, config: Any, meaning: Mapping[str, Any], multiple_of: int) -> ModelSpec:
        """What a network of this task takes and gives once it is wrapped; name and precision are
        filled in by who exports it.

        Args:
            config: of the network's architecture.
            meaning: what training learnt of the data, as ``Trainer.meaning`` gives it.
            multiple_of: heights and widths that the network takes are multiples of this.
        """

    @abstractmethod
    def wrap(self, network: nn.Module, config: Any, meaning: Mapping[str, Any]) -> nn.Module:
        """The network with everything around it that belongs to the graph, in eval mode.

        It takes the inputs of ``describe`` in their order, and gives its output or outputs.
        """


def single(outputs: Outputs) -> list[NDArray[Any]]:
    """The one output of each call."""
    return [next(iter(one.values())) for one in outputs]
