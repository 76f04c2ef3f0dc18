"""Sentences of any length -> batches of bounded size and, where every new shape is compiled, of few shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import keras
import numpy as np

from biLM.errors import InputError

POSITIONS_PER_SENTENCE = 64  # batch_size sentences of that length, marks and padding included, are what a batch may hold
ROWS_OF_A_STEP, POSITIONS_OF_A_CALL = 12, 70  # measured for the bundled biLM and a tagger on it, two cores
SHAPE_STEP = {"jax": 16}  # JAX compiles every new shape: lengths are rounded up to multiples, counts to powers of two
Item = TypeVar("Item")
Activations = TypeVar("Activations", np.ndarray, list[np.ndarray])


def batches_by_length(lengths: Sequence[int] | np.ndarray, batch_size: int) -> Iterator[list[int]]:
    """Positions of items, grouped by rising length so that the least is computed.

    A batch of n rows, the longest of them T positions with its two marks, costs `T * (n + 12) + 70`: a step of the LSTMs
    costs as much as 12 rows do, however few there are, and a call as much as 70 positions. A batch holds as many rows as
    fit into `batch_size * 64` positions, and at least one. Of all ways to cut the sorted items at their lengths the
    cheapest is taken.
    """
    if not len(lengths):
        return
    order = np.argsort(lengths, kind="stable")
    step, most = shape_step(), batch_size * POSITIONS_PER_SENTENCE
    widths, counts = np.unique(-(-(np.asarray(lengths) + 2) // step) * step, return_counts=True)
    ends = np.concatenate([[0], np.cumsum(counts)])
    cost, cut = np.zeros(len(ends)), np.zeros(len(ends), int)
    for end in range(1, len(ends)):
        rows, width = ends[end] - ends[:end], widths[end - 1]
        n_batches = -(-rows // max(1, most // width))
        costs = cost[:end] + width * rows + n_batches * (width * ROWS_OF_A_STEP + POSITIONS_OF_A_CALL)
        cut[end] = np.argmin(costs)
        cost[end] = costs[cut[end]]
    groups, end = [], len(widths)
    while end:
        groups.append((ends[cut[end]], ends[end], max(1, most // widths[end - 1])))
        end = cut[end]
    for start, stop, rows in reversed(groups):
        for part in np.array_split(order[start:stop], -(-(stop - start) // rows)):
            yield part.tolist()


def shape_step() -> int:
    """What lengths are rounded up to."""
    return SHAPE_STEP.get(keras.backend.backend(), 1)


def few_counts(count: int) -> int:
    """The number of rows to fill a batch of `count` up to: itself, or a power of two where new shapes are compiled."""
    step = shape_step()
    return count if step == 1 else max(step, 1 << (count - 1).bit_length())


def require_finite(activations: Activations, sentences: Sequence[Sequence[str]]) -> Activations:
    """Activations (L+1, T, D) of each sentence, or (B, L+1, T, D), as they are. Raises InputError, with layer and sentence,
    for NaN and infinity."""
    parts = [activations] if isinstance(activations, np.ndarray) else activations
    with np.errstate(over="ignore", invalid="ignore"):
        if all(np.isfinite(np.sum(part)) for part in parts):  # faster, and finite where all of them are small
            return activations
    for part, sentence in zip(activations, sentences, strict=False):
        wrong = np.argwhere(~np.isfinite(part).all(axis=-1))
        if len(wrong):
            layer, position = wrong[0]
            raise InputError(
                f"the biLM's layer {layer} is not finite at token {position + 1} of {' '.join(sentence)[:60]!r}. "
                "Are these its weights and options?"
            )
    return activations


def in_order(
    batches: Iterable[tuple[list[int], Sequence[np.ndarray] | np.ndarray]], sentences: Sequence[Sequence[str]]
) -> list[np.ndarray]:
    """Activations (L+1, T, D) of sentences in their order, from those of `embed_in_batches`; T = 0 gives an empty array."""
    activations: list[np.ndarray] = [np.empty(0)] * len(sentences)
    for positions, batch in batches:
        for row, position in enumerate(positions):
            activations[position] = batch[row][:, : len(sentences[position])]
    return activations


def filled(items: Sequence[Item], empty: Item) -> list[Item]:
    """A batch and as many empty items as make it one of few sizes."""
    return [*items, *[empty] * (few_counts(len(items)) - len(items))]
