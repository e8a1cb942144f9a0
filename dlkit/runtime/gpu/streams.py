"""Batches through an engine on several streams: split, padded, overlapped, replayed as graphs.

Each slot has its own stream, page-locked buffers, device buffers and scratch memory, so the copies
of one slot overlap the execution of another. Nothing here knows CUDA or TensorRT.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import BackendError
from dlkit.runtime.gpu.device import Device, Network
from dlkit.runtime.gpu.slot import Slot, Ticket

SLOTS = 2


class Streams:
    """A network on a device, with up to ``slots`` parts on their way at once.

    Calls may come from any thread: one that waits for its batch lets others begin theirs. ``close``
    is for when no other thread is inside. It owns device and network from here on.
    """

    def __init__(
        self,
        device: Device,
        network: Network,
        sources: Sequence[np.dtype[Any]],
        targets: Sequence[np.dtype[Any]],
        slots: int = SLOTS,
    ) -> None:
        self._device, self._network = device, network
        self._sources, self._targets = sources, targets
        self._limit = slots
        self._slots: list[Slot] = []
        self._busy: deque[Slot] = deque()  # the one that began first comes first
        self._closed = False
        self._lock = threading.RLock()

    @property
    def refusal(self) -> str | None:
        """Why batches are not replayed as graphs; None while nothing speaks against it."""
        return next((slot.refusal for slot in self._slots if slot.refusal is not None), None)

    def submit(self, call: NDArray[Any] | Sequence[NDArray[Any]]) -> Ticket:
        """Begin to run a call; its arrays are the caller's again on return.

        It waits only where more parts are on their way than there are slots.

        Args:
            call: the array of the only input, or one for each in the graph's order. Any number of
                samples where the first axes count them.

        Raises:
            BackendError: another dtype, a shape outside the profile, or a failure of the GPU.
        """
        if self._closed:
            raise BackendError("the session is closed", "Open the bundle again")
        arrays = [call] if isinstance(call, np.ndarray) else call
        profiles = self._network.profiles
        for name, array, dtype in zip(profiles.inputs, arrays, self._sources, strict=True):
            if array.dtype != dtype:
                raise BackendError(f"{name} is {array.dtype}, the engine takes {dtype}")
        shapes = [array.shape for array in arrays]
        profiles.check(shapes)
        ticket = Ticket(self.finish, shapes[0][0] if profiles.batched else None)
        with self._lock:
            try:
                self._device.make_current()
                for first, last in profiles.parts(shapes) if profiles.batched else [(0, 0)]:
                    slot = self._idle_slot()
                    part = [array[first:last] for array in arrays] if profiles.batched else arrays
                    slot.start(part, first, ticket)
                    self._busy.append(slot)
            except BaseException as error:
                self._abandon(error)
                raise
        return ticket

    def finish(self, ticket: Ticket) -> None:
        """Wait for every part of a ticket that is still on its way."""
        while (slot := self._wait_for(ticket)) is not None:
            try:
                self._device.make_current()
                self._device.synchronize(slot.stream)  # without the lock: others may begin theirs
                with self._lock:
                    # Unless another thread needed the slot and did it.
                    if _is_for(slot, ticket):
                        slot.finish()
                        self._busy.remove(slot)
            except BaseException as error:
                with self._lock:
                    self._abandon(error)
                raise
            finally:
                with self._lock:
                    slot.waiting -= 1

    def _wait_for(self, ticket: Ticket) -> Slot | None:
        """A slot where a part of the ticket runs, marked as waited for; None when all is done."""
        with self._lock:
            for slot in self._busy:
                if _is_for(slot, ticket):
                    slot.waiting += 1
                    return slot
        return None

    def close(self) -> None:
        """Free all memory and let go of engine and GPU; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with suppress(BackendError):
                self._device.make_current()
            for slot in self._slots:
                slot.close()
            self._slots, self._busy = [], deque()
            self._network.close()
            with suppress(BackendError):
                self._device.close()

    def _idle_slot(self) -> Slot:
        for slot in self._slots:
            if slot.pending is None:
                return slot
        if len(self._slots) < self._limit:
            slot = Slot(self._device, self._network, self._sources, self._targets)
            self._slots.append(slot)
            return slot
        slot = self._busy[0]
        slot.finish()
        self._busy.popleft()
        return slot

    def _abandon(self, error: BaseException) -> None:
        reason = BackendError(f"given up because of an error on the GPU: {error!s}")
        for slot in self._slots:
            slot.abandon(reason)
        self._busy.clear()


def _is_for(slot: Slot, ticket: Ticket) -> bool:
    return slot.pending is not None and slot.pending.ticket is ticket
