"""The machine's own rate, and the arithmetic that a biLM needs: what measured rates are compared with."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib.metadata import version

import numpy as np

from biLM.options import BiLMOptions

MATRIX = 2048


def matmul_gflops() -> float:
    """Arithmetic a second, in 10^9, in products of 2,048 x 2,048 matrices: a multiplication and an addition are two."""
    import keras

    a = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(MATRIX, MATRIX)).astype(np.float32))
    seconds = []
    for _ in range(12):
        begin = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.matmul(a, a)[0, 0])
        seconds.append(time.perf_counter() - begin)
    return 2 * MATRIX**3 / statistics.median(seconds) / 1e9


def lstm_gflop(options: BiLMOptions, positions: int) -> float:
    """Of the forward pass over so many positions, in all layers and directions."""
    lstm = options.lstm
    layer = 2 * lstm.projection_dim * 4 * lstm.dim + lstm.dim * lstm.projection_dim
    return 2 * options.n_directions * positions * lstm.n_layers * layer / 1e9


def softmax_gflop(options: BiLMOptions, positions: int, candidates: int) -> float:
    """Of the forward pass, both directions."""
    return 2 * options.n_directions * positions * candidates * options.lstm.projection_dim / 1e9


def encoder_gflop(options: BiLMOptions, tokens: int, characters: int) -> float:
    """Of the forward pass of so many distinct tokens, so many characters wide."""
    cnn = options.char_cnn
    assert cnn is not None
    windows = sum((characters - width + 1) * width * cnn.embedding_dim * count for width, count in cnn.filters)
    n = cnn.n_filters
    return 2 * tokens * (windows + 2 * cnn.n_highway * n * n + n * options.lstm.projection_dim) / 1e9


def description() -> str:
    """Processor, cores and versions."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    return f"{model}, {len(os.sched_getaffinity(0))} cores; Python {platform.python_version()}, {versions}"
