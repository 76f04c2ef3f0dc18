"""Large matrices in NumPy, of which a training step holds the few rows that it touches.

A variable of R rows stands for a matrix of V rows. Before a step the rows of its words, and their share of the
optimiser's slots, are copied into the variable; after it they are copied back. All other rows, and their slots, stay as
they are, so that a step costs the same whatever V. With Adagrad this is exact: a row without a gradient does not move.
With Adam a word's moments fade only in the steps that touch it (lazy Adam).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np


class RowTable:
    """Matrices and their optimiser slots, all with V rows, and the variables of R rows that stand for them.

    Arguments:
        name: of the table, in a checkpoint.
        matrices: pairs of a variable (R, ...) and its matrix (V, ...), which is changed in place.
        optimizer: a built one; its slots of the variables are found by their paths.
    """

    def __init__(
        self, name: str, matrices: Sequence[tuple[keras.Variable, np.ndarray]], optimizer: keras.optimizers.Optimizer
    ):
        self.name = name
        self.held: list[tuple[keras.Variable, np.ndarray]] = list(matrices)
        for variable, matrix in matrices:
            for slot in slots_of(variable, optimizer):
                first = np.asarray(slot)[0]
                self.held.append((slot, np.broadcast_to(first, matrix.shape).copy()))
        self._buffers = [np.asarray(variable).copy() for variable, _ in self.held]

    def load(self, ids: np.ndarray) -> None:
        """Puts the rows `ids` (at most R, distinct) into the variables; variable row k is matrix row ids[k]."""
        for (variable, matrix), buffer in zip(self.held, self._buffers, strict=True):
            buffer[: len(ids)] = matrix[ids]
            variable.assign(buffer)

    def store(self, ids: np.ndarray) -> None:
        """Takes the rows back after a step."""
        for variable, matrix in self.held:
            matrix[ids] = np.asarray(variable)[: len(ids)]

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Everything held, by name, for a checkpoint."""
        for number, (_, matrix) in enumerate(self.held):
            yield f"{self.name}/{number}", matrix


def slots_of(variable: keras.Variable, optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The optimiser's slots of a variable: Keras names them after its path."""
    stem = variable.path.replace("/", "_") + "_"
    found = [slot for slot in optimizer.variables if slot.path.split("/")[-1].startswith(stem)]
    return [slot for slot in found if slot.shape == variable.shape]
