"""Keras models whose inputs are dictionaries of arrays in any number of shapes, traced once."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import keras
import numpy as np

Axes = Mapping[str, tuple[int, ...]]


def named(value: Any) -> Any:
    """Dictionaries as named tuples, those within them too."""
    if isinstance(value, dict):
        names = tuple(sorted(value))
        return _tuple_of(names)(*(named(value[name]) for name in names))
    return value


@cache
def _tuple_of(names: tuple[str, ...]) -> Any:
    return namedtuple("Inputs", names)  # type: ignore[misc]


def by_name(inputs: Any) -> Any:
    """The dictionaries again."""
    return {name: by_name(value) for name, value in inputs._asdict().items()} if hasattr(inputs, "_asdict") else inputs


class NamedInputs:
    """A Keras model whose inputs are dictionaries, in any number of shapes.

    TensorFlow finds the graph of a call by a hash of its inputs, and for a dictionary that is its keys: each call would be
    compared with up to 1,024 that came before, which took 10 ms after 300. For named tuples the shapes count. And it
    traces a call as it comes, then once more, with open sizes, when another shape follows: the first is spared.

    open_axes: by the names of inputs, the axes whose size changes from call to call; "y": of the targets.
    """

    open_axes: ClassVar[Axes] = {}

    def predict_on_batch(self, x):
        x = named(x)
        self.make_predict_function()  # type: ignore[attr-defined]
        trace(self.predict_function, [(x,)], self.open_axes)  # type: ignore[attr-defined]
        return super().predict_on_batch(x)  # type: ignore[misc]

    def train_on_batch(self, x, y=None, sample_weight=None):
        return super().train_on_batch(named(x), y, sample_weight)  # type: ignore[misc]

    def make_train_function(self, force=False):
        if keras.backend.backend() != "tensorflow":
            super().make_train_function(force)  # type: ignore[misc]
        elif self.train_function is None or force:
            import tensorflow as tf

            step = tf.function(self.train_step, reduce_retracing=True, autograph=False, jit_compile=self.jit_compile)

            def take_step(batches):
                data = next(batches)
                trace(step, data, self.open_axes)
                return step(data)

            self.train_function = take_step


def trace(function: Any, data: Any, axes: Axes) -> None:
    """Traces a `tf.function` with open sizes, before its first call with so many arrays of these types. What is none, on
    JAX, is left as it is."""
    if not hasattr(function, "get_concrete_function"):
        return
    key = tuple(getattr(array, "dtype", None) for array in keras.tree.flatten(data))
    traced = function.__dict__.setdefault("_traced_open", set())
    if key not in traced:
        traced.add(key)
        function.get_concrete_function(open_specs(data, axes))


def open_specs(value: Any, axes: Axes, name: str = "y") -> Any:
    """Arrays in named tuples, tuples and lists -> `tf.TensorSpec`, the axes that belong to their names open."""
    import tensorflow as tf

    if hasattr(value, "_asdict"):
        return type(value)(*(open_specs(part, axes, name) for name, part in value._asdict().items()))
    if isinstance(value, list | tuple):
        return type(value)(open_specs(part, axes, name) for part in value)
    if value is None:
        return None
    array, free = np.asarray(value), axes.get(name, ())
    return tf.TensorSpec([None if axis in free else size for axis, size in enumerate(array.shape)], array.dtype)
