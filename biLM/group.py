"""`Group`: the devices, processes and hosts that train together, as the command line names them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from biLM.errors import InputError


@dataclass(frozen=True)
class Group:
    """devices: of each process; one when None. On a CPU, each is a share of its cores. coordinator: HOST:PORT where
    process 0 listens; None for a process alone."""

    devices: int | None = None
    coordinator: str | None = None
    process_count: int = 1
    process_index: int = 0

    def __post_init__(self) -> None:
        if self.coordinator is None and (self.process_count, self.process_index) != (1, 0):
            raise InputError("--process-count and --process-index need --coordinator HOST:PORT, where process 0 listens.")
        if self.coordinator is not None:
            host, _, port = self.coordinator.rpartition(":")
            if not (host and port.isdecimal() and 0 < int(port) < 65536):
                raise InputError(f"--coordinator must be HOST:PORT. Received: {self.coordinator!r}.")
        if not 0 <= self.process_index < self.process_count:
            raise InputError(f"--process-index must be from 0 to {self.process_count - 1}. Received: {self.process_index}.")
        if self.devices is not None and self.devices < 1:
            raise InputError(f"--devices must be at least 1. Received: {self.devices}.")

    @property
    def is_alone(self) -> bool:
        """One process with one device, on whatever backend."""
        return self.coordinator is None and (self.devices or 1) == 1

    def check(self, batch_size: int | None = None) -> None:
        """Says what is missing before anything is made. Keras need not be imported for it."""
        if self.is_alone:
            return
        if (backend := backend_name()) != "jax":
            raise InputError(
                "training over several devices or processes needs the JAX backend. "
                f"Received: {backend}. Set the environment variable KERAS_BACKEND=jax."
            )
        n_devices = self.process_count * (self.devices or 1)
        if batch_size is not None and batch_size % n_devices:
            raise InputError(f"batch_size must be a multiple of the {n_devices} devices. Received: {batch_size}.")


def backend_name() -> str:
    """The backend that Keras will take: of the environment, of its own file, or TensorFlow."""
    if backend := os.environ.get("KERAS_BACKEND"):
        return backend
    path = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"
