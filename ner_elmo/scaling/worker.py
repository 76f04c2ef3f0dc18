"""What an actor does: loads the model once, cuts files, tags pieces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ner_elmo.inputs import Item
from ner_elmo.scaling.options import ScaleOptions
from ner_elmo.scaling.pieces import InputFile, Piece, cut, read
from ner_elmo.scaling.shards import Output

ROW_ID = "row_id"
GIVEN = "row_id_given"  # where a row's own `row_id` goes


@dataclass(frozen=True)
class Counts:
    """What a shard holds."""

    rows: int = 0
    tokens: int = 0
    entities: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.rows + other.rows, self.tokens + other.tokens, self.entities + other.entities)


class Worker:
    """Tags pieces of the input. Whatever it does may be done twice: the same piece gives the same shard."""

    def __init__(self, model: str, output: Output, options: ScaleOptions):
        self.model, self.output, self.options = model, output, options

    def load(self) -> None:
        """Loads the model, with as many threads as the actor has cores."""
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ[name] = str(self.options.cpus)
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # actors may share one
        from biLM.startup import start_keras

        start_keras()
        from biLM.batching import POSITIONS_PER_SENTENCE
        from ner_elmo.predictor import Predictor

        self.tagger = Predictor.load(self.model)
        self.tagger.n_rows = max(1, self.options.batch_tokens // POSITIONS_PER_SENTENCE)

    def cut(self, file: InputFile) -> list[Piece]:
        """Cuts a file, and notes how."""
        pieces = cut(file, self.options.shard_bytes)
        self.output.write_cut(file, pieces)
        return pieces

    def tag(self, piece: Piece) -> Counts:
        """Writes the shard of a piece, then its mark."""
        counts = Counts()
        with self.output.shard(piece).writing() as stream:
            for line, of_row in self._lines(piece):
                stream.write(line.encode())
                counts += of_row
        self.output.mark(piece).write_object(vars(counts))
        return counts

    def _lines(self, piece: Piece) -> Iterator[tuple[str, Counts]]:
        """Rows as `predict.py` writes them, and where they come from."""
        from ner_elmo import output

        items = map(_renamed, read(piece, self.options.field))
        for result in output.results(self.tagger, items, min_confidence=self.options.min_confidence):
            item = result.item
            row_id = {ROW_ID: f"{piece.file.name}:{item.line}"}
            tokens = sum(len(sentence.tokens) for sentence, _ in result.sentences)
            line = output.json_line(item.text, result.entities, item.row, row_id) + "\n"
            yield line, Counts(1, tokens, len(result.entities))


def _renamed(item: Item) -> Item:
    if item.row is None or ROW_ID not in item.row:
        return item
    row: dict[str, Any] = {GIVEN if key == ROW_ID else key: value for key, value in item.row.items()}
    return Item(item.text, None, row, item.line)
