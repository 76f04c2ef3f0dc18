"""Sentences of different lengths read together, without computing their padding.

Sentences come longest first, a row each. The LSTMs read a stretch of positions for the rows that go on beyond its start,
from the states that the stretch before left; then the next stretch for those that go on beyond that. So a step has as many
rows as there are, and hardly any that are at their end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from biLM.batching import POSITIONS_OF_A_CALL, POSITIONS_PER_SENTENCE, few_counts, shape_step


class Outputs(NamedTuple):
    """Of an LSTM layer at N tokens: which sentences and tokens, (N,) each; the direction; the layer, from 1; (N, P)."""

    row: np.ndarray
    token: np.ndarray
    direction: int
    layer: int
    values: np.ndarray


def read_packed(
    read: Callable[[dict[str, Any]], dict[str, Any]],
    vectors: np.ndarray,
    token_index: np.ndarray,
    states: list,
) -> Iterator[Outputs]:
    """The outputs of all LSTM layers at all tokens, stretch by stretch.

    Arguments:
        read: {"x": token vectors (B, S, P) for each direction, "states"} -> {"layers": outputs (B, S, P) of each direction's
            layers, "states"}.
        vectors: (U, P).
        token_index: (B, T+2), rows of `vectors` at the tokens of sentences of falling length, marks included; 0 beyond.
        states: what each sentence starts from: of each direction's layers [h (1, P), c (1, H)].
    """
    lengths = (token_index > 0).sum(axis=1)
    whole = np.where(lengths > 2, lengths - 1, 0)  # nobody asks for what follows the last token
    orders = (token_index, _reversed(token_index, lengths[:, None]))[: len(states)]
    for start, stop, n_rows in stretches(whole):
        first = lambda state: state[:n_rows] if len(state) > 1 else np.broadcast_to(state, (n_rows, state.shape[1]))  # noqa: B023, E731
        x = [vectors[order[:n_rows, start:stop]] for order in orders]
        outputs = read({"x": x, "states": keras.tree.map_structure(first, states)})
        states = outputs["states"]
        positions = np.arange(start, stop)
        row, column = np.nonzero((positions > 0) & (positions < whole[:n_rows, None]))  # position 0 is a mark
        tokens = positions[column] - 1, lengths[row] - 2 - positions[column]
        for direction, layers in enumerate(outputs["layers"]):
            for layer, values in enumerate(layers, 1):
                yield Outputs(row, tokens[direction], direction, layer, values[row, column])


def _reversed(token_index: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Each row reversed over its own length. Shape: (B, N)."""
    position = np.arange(token_index.shape[1])
    return np.take_along_axis(token_index, np.where(position < lengths, lengths - 1 - position, position), axis=1)


def large_batches(lengths: Sequence[int] | np.ndarray, batch_size: int) -> Iterator[list[int]]:
    """Positions of items by rising length, in few batches of equal size: about `batch_size * 64` positions, or one item."""
    order = np.argsort(lengths, kind="stable")
    ends = np.cumsum(np.asarray(lengths, int)[order] + 2)
    n_batches = -(-int(ends[-1]) // (batch_size * POSITIONS_PER_SENTENCE)) if len(ends) else 1
    cuts = np.searchsorted(ends, ends[-1:] * np.arange(1, n_batches) / n_batches)
    for part in np.split(order, cuts):
        if len(part):
            yield part.tolist()


def stretches(lengths: np.ndarray) -> list[tuple[int, int, int]]:
    """How to read rows of falling length: (first position, position after the last, rows) of stretches in order.

    Each reads the rows that are not at their end, from where the stretch before left them, so that little padding is
    computed. A stretch more costs as much as 70 positions; of all ways to cut at the rows' ends the cheapest is taken.
    Where shapes are compiled, all stretches are equally long, and their rows of few numbers.
    """
    step, longest = shape_step(), int(lengths.max(initial=0))
    if step > 1:
        starts = range(0, longest, step)
        return [(start, start + step, few_counts(int((lengths > start).sum()))) for start in starts]
    ends = np.concatenate([[0], np.unique(lengths[lengths > 0])])
    rows = (lengths > ends[:, None]).sum(axis=1)  # that go on after each end
    cost, cut = np.zeros(len(ends)), np.zeros(len(ends), int)
    for end in range(1, len(ends)):
        costs = cost[:end] + (ends[end] - ends[:end]) * rows[:end] + POSITIONS_OF_A_CALL
        cut[end] = np.argmin(costs)
        cost[end] = costs[cut[end]]
    found, end = [], len(ends) - 1
    while end:
        found.append((int(ends[cut[end]]), int(ends[end]), int(rows[cut[end]])))
        end = cut[end]
    return found[::-1]
