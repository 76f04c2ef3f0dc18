"""What a TensorFlow Hub module keeps from call to call: found by trying, and put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_REFERENCE_VARIABLES = ("VariableV2", "Variable")  # TF1's first kind: part of the graph, unknown to tensorflow.Variable


def find_state(module: Any, function: Any, call: Callable[[], Any]) -> Callable[[], None]:
    """Returns a function that gives the variables which `call` changes the values that they have now."""
    variables = list(getattr(module, "variables", None) or function.variables)
    read = _reader(module)
    before, references = [variable.numpy() for variable in variables], read()
    call()
    changed = [
        (variable, value) for variable, value in zip(variables, before, strict=True) if _differ(variable.numpy(), value)
    ]
    after = read()
    names = {name: value for name, value in references.items() if _differ(after[name], value)}
    write = _writer(module, names) if names else lambda: None

    def put_back() -> None:
        for variable, value in changed:
            variable.assign(value)
        write()

    if changed or names:
        put_back()
    return put_back


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return not np.array_equal(one, other)


def _reader(module: Any) -> Callable[[], dict[str, np.ndarray]]:
    """Reads the reference variables of a TF1 module by the names of their tensors."""
    import tensorflow as tf

    graph = getattr(module, "graph", None)
    if graph is None or not hasattr(module, "prune"):
        return dict
    tensors = [op.outputs[0] for op in graph.get_operations() if op.type in _REFERENCE_VARIABLES]
    if not tensors:
        return dict
    with graph.as_default():
        copies = [tf.identity(tensor) for tensor in tensors]
    values = module.prune([], copies)
    return lambda: {tensor.name: value.numpy() for tensor, value in zip(tensors, values(), strict=True)}


def _writer(module: Any, values: dict[str, np.ndarray]) -> Callable[[], None]:
    import tensorflow as tf

    with module.graph.as_default():
        tensors = [module.graph.get_tensor_by_name(name) for name in values]
        assigned = [
            tf.identity(tf.compat.v1.assign(tensor, tf.constant(value), validate_shape=False))
            for tensor, value in zip(tensors, values.values(), strict=True)
        ]
    return module.prune([], assigned)
