"""Training a tagger on several devices of this machine: one batch, cut among them.

Gradients are summed over all devices, so a run takes the steps of one device, up to rounding and to what dropout draws.
JAX: `keras.distribution.DataParallel`. TensorFlow: `tf.distribute.MirroredStrategy`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from biLM.distribution import ALONE, Placement
from biLM.errors import InputError
from biLM.tracing import named, trace
from ner_elmo.config import TrainConfig
from ner_elmo.tagger import Tagger

Positions = Sequence[int] | np.ndarray
Batches = Callable[[Positions], tuple[dict[str, Any], np.ndarray]]  # positions of sentences -> inputs, tags (B, T)
Step = Callable[[Positions], float]  # positions -> mean loss of a sentence, in nats


def find_devices(config: TrainConfig) -> Placement:
    """The first `config.devices` accelerators of this machine, or devices of its CPU where it has no accelerator.

    Raises: InputError where there are fewer, or Keras' backend cannot share a batch.
    """
    count = config.devices
    if count == 1:
        return ALONE
    here, backend = keras.distribution.list_devices(), keras.backend.backend()
    if count > len(here):
        raise InputError(f"--devices must be at most {len(here)}: this machine has {', '.join(here)}. Received: {count}.")
    if backend == "jax":
        return Placement(0, 1, count, keras.distribution.DataParallel(devices=here[:count]))
    if backend != "tensorflow":
        raise InputError(f"--devices above 1 needs KERAS_BACKEND=tensorflow or jax. Received: {backend}.")
    if config.layer_norm:  # its mean and variance are those of a batch, and a replica sees its own part alone
        raise InputError("--layer-norm on several devices needs KERAS_BACKEND=jax. Received: tensorflow.")
    import tensorflow as tf

    # collective reductions, the default, stopped on a shape mismatch between two CPU devices where a biLM was fine-tuned
    reduction = tf.distribute.ReductionToOneDevice()
    return Placement(0, 1, count, tf.distribute.MirroredStrategy(here[:count], reduction))


def training_step(tagger: Tagger, batches: Batches, placement: Placement) -> Step:
    """What takes one step of a compiled tagger that was made in the placement's scope."""
    if placement.distribution is None:
        return lambda positions: float(tagger.train_on_batch(*batches(positions)))
    if keras.backend.backend() == "jax":
        return _sharded(tagger, batches, placement)
    return _mirrored(tagger, batches, placement)


def _sharded(tagger: Tagger, batches: Batches, placement: Placement) -> Step:
    """A step on JAX, which cuts axis 0 of every array: sentences and distinct tokens are filled up with empty ones."""

    def step(positions: Positions) -> float:
        inputs, tags = batches(positions)
        shares = np.full(len(positions), 1 / len(positions), np.float32)
        whole = keras.tree.map_structure(lambda array: _filled_up(array, placement), (inputs, tags, shares))
        with placement.scope():
            return float(tagger.train_on_batch(*whole))

    return step


def _filled_up(array: np.ndarray, placement: Placement) -> np.ndarray:
    return np.pad(array, [(0, placement.padding(len(array))), *[(0, 0)] * (array.ndim - 1)])


def _mirrored(tagger: Tagger, batches: Batches, placement: Placement) -> Step:
    """A step on TensorFlow, of our own: `train_on_batch` would give every device the whole batch, and clip the gradient
    of each device by itself."""
    import tensorflow as tf

    strategy, n_devices = placement.distribution, placement.n_devices
    for optimizer in getattr(tagger.optimizer, "optimizers", [tagger.optimizer]):
        optimizer.global_clipnorm /= n_devices  # it is given the whole gradient divided so, by each device, and adds them

    def on_one(part):
        inputs, tags, shares = part
        with tf.GradientTape() as tape:
            emissions = tagger(inputs, training=True)
            loss = tagger.data_loss(inputs, tags, emissions, shares) + sum(tagger.losses) / n_devices
            divided = loss / n_devices
        weights = tagger.trainable_variables
        # rows of a table that several devices touched would count one by one in Adam: dense
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(divided, weights)]
        whole = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
        tagger.optimizer.apply(whole, weights)
        return loss

    @tf.function(reduce_retracing=True, autograph=False)
    def on_all(parts):
        values = strategy.experimental_distribute_values_from_function(lambda own: parts[own.replica_id_in_sync_group])
        return strategy.reduce("SUM", strategy.run(on_one, args=(values,)), axis=None)

    def step(positions: Positions) -> float:
        parts = [_part(batches, share, positions) for share in np.array_split(positions, n_devices)]
        trace(on_all, parts, tagger.open_axes)
        return float(on_all(parts))

    return step


def _part(batches: Batches, share: np.ndarray, positions: Positions) -> tuple[Any, np.ndarray, np.ndarray]:
    """What one device gets: its sentences, and the share of each in the mean over all."""
    chosen = share if len(share) else positions[:1]  # a device cannot do nothing: a sentence that does not count
    weight = 1 / len(positions) if len(share) else 0.0
    inputs, tags = batches(chosen)
    return named(inputs), tags, np.full(len(chosen), weight, np.float32)
