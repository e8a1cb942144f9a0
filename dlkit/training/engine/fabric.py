"""Where a training computes: one device, several, several machines; by Lightning Fabric.

Recipes know nothing of it. A recipe's batch is the global one: it is split over the processes, and
within each over ``accumulate`` parts, whose gradients add up to those of the whole batch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dlkit.errors import UsageError
from dlkit.plugins import unknown
from dlkit.processors import has_bfloat16

if TYPE_CHECKING:  # loaded late: it takes seconds, which a list of recipes need not wait for
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

_NO_BFLOAT16 = (
    "in float32: the recipe wishes bfloat16, which is slow here without instructions of its own "
    "(--precision bf16 takes it all the same)"
)
PRECISIONS = {"fp32": None, "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Hardware:
    """What a training may use.

    Attributes:
        device: cpu, cuda, or auto: CUDA where torch sees a GPU.
        devices: processes on this machine, one a GPU; on the CPU they share the processors. Under
            ``torchrun`` it is torchrun's.
        nodes: machines; each starts the same command, as Lightning or torchrun wants it.
        precision: fp32, bf16, fp16 (mixed: torch's autocast), or auto: the recipe's, but fp32 where
            the device has no bfloat16 and would be several times slower with it.
        accumulate: parts that each process takes its share of a batch in, one after the other:
            less memory, the same step. Batch normalisation sees the parts.
        compile: ``torch.compile`` the network.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    accumulate: int = 1
    compile: bool = False


@dataclass(frozen=True)
class Compute:
    """A launched Fabric, and how batches are split.

    Attributes:
        notes: what is otherwise than the recipe wishes, for people.
    """

    fabric: Fabric
    precision: str = "fp32"
    accumulate: int = 1
    compile: bool = False
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Of this process."""
        return self.fabric.device

    def memory_format(self, channels_last: bool = True) -> torch.memory_format:
        """``channels_last`` where it is wished, but in float32 on the CPU: there torch 2.15 writes
        beyond its memory in the gradient of 1 x 1 convolutions with stride 2 and few channels, and
        the process dies."""
        safe = self.device.type != "cpu" or self.precision != "fp32"
        return torch.channels_last if channels_last and safe else torch.contiguous_format

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.fabric.world_size

    @property
    def first(self) -> bool:
        """Is this the process that writes?"""
        return self.fabric.is_global_zero

    def setup(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """The network and its optimizer as they are trained here; both share their weights.

        Fabric's wrappers prepare for other processes at every call, which takes a twentieth of a
        small network's step: a process that is alone does without.
        """
        if self.world > 1 and self.device.type == "cuda":
            # torch has it for GPUs alone: elsewhere each process normalises by its own share
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        if self.compile:
            network.compile()
        if self.world == 1 and self.precision != "fp16":  # whose optimizer has to be scaled
            return _Alone(network, self.fabric), optimizer
        return self.fabric.setup(network, optimizer)  # type: ignore[no-any-return]

    def setup_apart(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """The optimizer of networks that ``called`` calls, where torch's DDP cannot go along: a
        gradient is differentiated again, or a loss meets a network several times.
        ``average_gradients`` then does what DDP would."""
        if self.world > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)  # in place, but for the outermost
        if self.compile:
            network.compile()
        return self.fabric.setup_optimizers(optimizer) if self.precision == "fp16" else optimizer

    def called(self, network: nn.Module) -> nn.Module:
        """A network under the precision of this training; gives float32."""
        return _Alone(network, self.fabric)

    def average_gradients(self, network: nn.Module) -> None:
        """Gradients become their mean over the processes."""
        if self.world > 1:
            there = [weight for weight in network.parameters() if weight.grad is not None]
            flat = torch.cat([weight.grad.flatten() for weight in there])  # type: ignore[union-attr]
            flat = self.fabric.all_reduce(flat, reduce_op="mean")  # type: ignore[assignment]
            parts = flat.split([weight.numel() for weight in there])
            for weight, part in zip(there, parts, strict=True):
                weight.grad = part.view_as(weight).clone()

    def shares(self, size: int) -> list[slice]:
        """This process's parts of a global batch.

        Raises:
            UsageError: the batch has fewer samples than there are parts.
        """
        parts = self.world * self.accumulate
        if size < parts:
            raise UsageError(
                f"a batch of {size} cannot be split over {self.world} processes in "
                f"{self.accumulate} parts: take fewer, or a larger batch_size"
            )
        edges = [size * part // parts for part in range(parts + 1)]
        first = self.fabric.global_rank * self.accumulate
        return [slice(edges[n], edges[n + 1]) for n in range(first, first + self.accumulate)]

    def backward(self, network: Any, size: int, loss_of: Callable[[slice], Tensor]) -> Tensor:
        """Gradients of the mean loss over a global batch.

        Args:
            network: as ``setup`` gave it; None where it was set up apart.
            size: of the global batch.
            loss_of: the mean loss over a part of it, which it computes by ``network``.

        Returns:
            A scalar, detached. Its mean over the processes is the mean loss over the batch.
        """
        parts = self.shares(size)
        total: Tensor | None = None
        for part in parts:
            weight = self.world * (part.stop - part.start) / size
            more = network is not None and self.world > 1 and part is not parts[-1]
            with self.fabric.no_backward_sync(network) if more else nullcontext():
                loss = loss_of(part)
                if weight != 1:
                    loss = loss * weight
                self.fabric.backward(loss)
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def clip(self, network: Any, optimizer: Any, norm: float) -> None:
        """Shorten the gradient to ``norm`` where it is longer."""
        self.fabric.clip_gradients(network, optimizer, max_norm=norm, error_if_nonfinite=False)

    def mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars, as float64 on the CPU: their means over the processes."""
        if self.world == 1:
            return {name: value.double().cpu() for name, value in values.items()}
        stacked = torch.stack([value.double() for value in values.values()])
        stacked = self.fabric.all_reduce(stacked, reduce_op="mean")  # type: ignore[assignment]
        return dict(zip(values, stacked.cpu(), strict=True))

    def gathered(self, values: Tensor) -> list[Tensor]:
        """A tensor of every process, by rank, on the CPU."""
        if self.world == 1:
            return [values.cpu()]
        found = [torch.empty_like(values) for _ in range(self.world)]
        torch.distributed.all_gather(found, values)
        return [one.cpu() for one in found]

    def on_first(self, work: Callable[[], Any]) -> Any:
        """Do something in the first process alone; all get the result."""
        result = work() if self.first else None
        return self.fabric.broadcast(result) if self.world > 1 else result

    def barrier(self) -> None:
        """Wait for all processes."""
        self.fabric.barrier()


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA where torch sees a GPU, else the CPU.

    Raises:
        UsageError: unknown, or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise UsageError(f"unknown device '{name}'. There are: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no GPU here; use --device cpu")
    return torch.device(name)


def open_compute(hardware: Hardware, bfloat16: bool = False) -> Compute:
    """Launch what is asked for. With several devices this starts the command again, once a device.

    Args:
        bfloat16: what ``auto`` takes for precision: the recipe's wish.

    Raises:
        UsageError: it is not there.
    """
    device = choose_device(hardware.device)
    for name in ("devices", "nodes", "accumulate"):
        if getattr(hardware, name) < 1:
            raise UsageError(f"{name} is {getattr(hardware, name)}, expected 1 or more")
    precision = hardware.precision
    lacking = precision == "auto" and bfloat16 and not _has_bfloat16(device)
    if precision == "auto":
        precision = "bf16" if bfloat16 and not lacking else "fp32"
    if precision not in PRECISIONS:
        raise unknown("precision", precision, ["auto", *PRECISIONS])
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16 needs a GPU: use bf16 or fp32")
    devices, nodes = hardware.devices, hardware.nodes
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise UsageError(f"--devices {devices}: torch sees {torch.cuda.device_count()} GPUs here")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets on every rank
    from lightning_fabric import Fabric

    mixed = PRECISIONS[precision]
    fabric = Fabric(
        accelerator=device.type,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        plugins=[_mixed(mixed, device.type)] if mixed else None,
    )
    fabric.launch()
    notes = (_NO_BFLOAT16,) if lacking else ()
    return Compute(fabric, precision, hardware.accumulate, hardware.compile, notes)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return has_bfloat16()


class _Alone(nn.Module):
    """A network under autocast."""

    def __init__(self, network: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.network, self.fabric = network, fabric

    def forward(self, *inputs: Tensor) -> Tensor:
        """As the network's, in float32."""
        with self.fabric.autocast():
            y: Tensor = self.network(*inputs)
        return y.float()


def _mixed(precision: Any, device: str) -> MixedPrecision:
    """Autocast decides what is rounded; the pixels that come in are not."""
    from lightning_fabric.plugins import MixedPrecision

    class Mixed(MixedPrecision):
        def convert_input(self, data: Any) -> Any:
            return data

    return Mixed(precision, device)
