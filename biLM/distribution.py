"""Training over several devices, processes or hosts: one batch, cut among them.

Every process reads the same text and builds the same batches, and gives its own rows of them to its devices; gradients
are summed over all. So a run takes the same steps, up to rounding, however many take part, and its checkpoints know
nothing of them. Works on the JAX backend (`keras.distribution.DataParallel` over `jax.distributed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from biLM.errors import InputError
from biLM.group import Group


@dataclass(frozen=True)
class Placement:
    """Who takes part: this process is number `process_index` of `process_count`, with `n_devices` devices in all."""

    process_index: int = 0
    process_count: int = 1
    n_devices: int = 1
    distribution: Any = None

    @property
    def is_first(self) -> bool:
        """The process that writes files."""
        return self.process_index == 0

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Variables made in here are copied to all devices; training steps in here are taken by all of them."""
        if self.distribution is None:
            yield
        else:
            with self.distribution.scope():
                yield

    def check(self, batch_size: int) -> None:
        if batch_size % self.n_devices:
            raise InputError(f"batch_size must be a multiple of the {self.n_devices} devices. Received: {batch_size}.")

    def own_part(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """This process's rows of a batch. Axis 0 of every array must be a multiple of `n_devices` (see `padding`)."""
        return keras.tree.map_structure(self._own_rows, dict(tensors))

    def _own_rows(self, array: np.ndarray) -> np.ndarray:
        size = len(array) // self.process_count
        return array[self.process_index * size : (self.process_index + 1) * size]

    def padding(self, size: int) -> int:
        """How many rows are missing to a multiple of the devices."""
        return -size % self.n_devices


ALONE = Placement()


def is_lost(error: Exception) -> bool:
    """Whether a step failed because another process ended in the middle of it. JAX raises several types then; all begin
    with a status of the runtime."""
    return str(error).startswith(("UNKNOWN: ", "UNAVAILABLE: ", "INTERNAL: ", "ABORTED: ", "DEADLINE_EXCEEDED: "))


def wait_for_all(name: str, placement: Placement) -> None:
    """Returns when every process has come here."""
    if placement.process_count > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def connect(group: Group) -> Placement:
    """Joins the other processes, and takes the first devices of each. Must come before anything is computed."""
    group.check()
    if group.is_alone:
        return ALONE
    import jax

    devices = group.devices or 1
    jax.config.update("jax_num_cpu_devices", devices)
    if group.coordinator is not None:
        keras.distribution.initialize(group.coordinator, group.process_count, group.process_index)
    if (here := len(jax.local_devices())) < devices:
        raise InputError(f"--devices must be at most the {here} that are here. Received: {devices}.")
    of_each = [[d for d in jax.devices() if d.process_index == process][:devices] for process in range(group.process_count)]
    names = [f"{device.platform}:{device.id}" for its_own in of_each for device in its_own]
    return Placement(group.process_index, group.process_count, len(names), keras.distribution.DataParallel(devices=names))
