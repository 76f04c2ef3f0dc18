"""What a batch costs by its rows and positions, and what cutting batches by that cost saves.

    python -m benchmarks.shapes --model MODEL --annotated FILE

Times batches of many shapes and fits `time = c * (T * (n + step) + call)`: n rows, T positions with the two marks. Then
counts, for so many sentences at a time as they stand in FILE, what `batches_by_length` computes, and what batches filled to
the brim would.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from biLM.startup import start_keras
from ner_elmo.readers import read_sentences

ROWS, TOKENS, MOST = (4, 8, 16, 32, 64, 96), (5, 10, 20, 40), 2048
AT_ONCE = (16, 64, 128, 640)


def milliseconds(work: Callable[[], object]) -> float:
    passes = []
    for _ in range(11):  # the first two meet a new shape
        begin = time.perf_counter()
        work()
        passes.append(1000 * (time.perf_counter() - begin))
    return statistics.median(passes[2:])


def fitted(times: dict[tuple[int, int], float]) -> dict[str, float]:
    """By least squares of the relative errors: microseconds of a row at a position; what a step and a call cost in them."""
    shapes, taken = np.array(list(times)), np.array(list(times.values()))
    terms = np.stack([np.ones(len(shapes)), shapes[:, 1], shapes.prod(axis=1)], axis=1)
    call, step, row = np.linalg.lstsq(terms / taken[:, None], np.ones(len(taken)), rcond=None)[0]
    return {"row_us": 1000 * row, "step_rows": step / row, "call_positions": call / row}


def cost(batches: Iterator[Sequence[int]], lengths: np.ndarray) -> float:
    from biLM.batching import POSITIONS_OF_A_CALL, ROWS_OF_A_STEP

    widths = [(len(batch), lengths[batch].max() + 2) for batch in batches]
    return sum(width * (rows + ROWS_OF_A_STEP) + POSITIONS_OF_A_CALL for rows, width in widths)


def brimful(lengths: np.ndarray, most: int) -> Iterator[list[int]]:
    """Rising lengths, each batch as large as it may be."""
    batch: list[int] = []
    for position in np.argsort(lengths, kind="stable").tolist():
        if batch and (len(batch) + 1) * (lengths[position] + 2) > most:
            yield batch
            batch = []
        batch.append(position)
    yield batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--annotated", required=True, metavar="FILE")
    args = parser.parse_args()
    start_keras()
    from biLM.batching import POSITIONS_PER_SENTENCE, batches_by_length
    from ner_elmo import NerTagger

    tagger, rng = NerTagger.load(args.model), np.random.default_rng(0)
    text = [sentence.tokens for sentence in read_sentences([args.annotated]) if 5 <= len(sentence.tokens) <= 50]
    words = [word for tokens in text[:1500] for word in tokens]
    bilm, network = {}, {}
    for rows, n_tokens in ((rows, n) for rows in ROWS for n in TOKENS if rows * (n + 2) <= MOST):
        sentences = [rng.choice(words, n_tokens).tolist() for _ in range(rows)]
        inputs = tagger.features.batch(sentences)
        bilm[rows, n_tokens + 2] = milliseconds(lambda s=sentences: tagger.features.batch(s))
        network[rows, n_tokens + 2] = milliseconds(lambda x=inputs: tagger.tagger.predict_on_batch(x))
    saved = {}
    for size in AT_ONCE:
        parts = [np.array(list(map(len, text[start : start + size]))) for start in range(0, min(len(text), 4800), size)]
        full = sum(cost(brimful(part, tagger.n_rows * POSITIONS_PER_SENTENCE), part) for part in parts)
        saved[size] = full / sum(cost(batches_by_length(part, tagger.n_rows), part) for part in parts)
    print(json.dumps({"shapes": len(bilm), "bilm": fitted(bilm), "tagger": fitted(network), "saved": saved}))


if __name__ == "__main__":
    main()
