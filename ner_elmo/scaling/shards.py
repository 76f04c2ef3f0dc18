"""The output directory: which job it belongs to, how its input was cut, which pieces are done.

job.json                        what decides the results; another job is refused
shards/FILE/000000.jsonl        the rows of a piece; FILE is the input file's path below INPUT
marks/FILE/cut.json             the pieces of a file, and the size and time that it had when it was cut
marks/FILE/000000.json          a piece is done: written after its shard
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow.fs import FileType

from biLM.errors import InputError
from biLM.files import alone, lock_of
from ner_elmo.model_directory import DESCRIPTION
from ner_elmo.scaling.pieces import InputFile, Piece
from ner_elmo.scaling.places import Place

FORMAT = 1
JOB, CUT = "job.json", "cut.json"
DECIDES = (DESCRIPTION, "tagger.weights.h5", "confidence.json")  # model.json has the fingerprint of the biLM
READ_AT_ONCE = 16


@dataclass(frozen=True)
class Output:
    """Where results go."""

    place: Place

    def shard(self, piece: Piece) -> Place:
        return self.place / "shards" / f"{piece.file.name}/{piece.number:06d}.jsonl"

    def mark(self, piece: Piece) -> Place:
        return self.place / "marks" / f"{piece.file.name}/{piece.number:06d}.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the directory for this process alone, where it is local. Raises InputError where another one holds it."""
        if not self.place.is_local or self.place.info().type == FileType.File:  # a file: `begin` says what is wrong
            yield
            return
        with alone(Path(self.place.path) / JOB):
            yield

    def begin(self, job: dict[str, Any]) -> None:
        """Takes the directory for a job, or goes on in it. Raises InputError where it holds something else."""
        job = {"format": FORMAT} | job
        path = self.place / JOB
        if path.info().type == FileType.File:
            known = path.read_object()
            if differ := [key for key in job if known.get(key) != job[key]]:
                says = "; ".join(f"{key} was {known.get(key)!r} and is {job[key]!r}" for key in differ)
                raise InputError(f"{path.name}: belongs to another job: {says}. Name another OUTPUT.")
        elif self.place.info().type == FileType.File or self._holds_something():
            raise InputError(f"{self.place.name}: must be a new or empty directory, or hold such results. Name another.")
        else:
            path.write_object(job)

    def _holds_something(self) -> bool:
        return any(name != lock_of(Path(JOB)).name for name, _ in self.place.files())

    def write_cut(self, file: InputFile, pieces: Iterable[Piece]) -> None:
        rows = [[piece.start, piece.end, piece.line, piece.size] for piece in pieces]
        self._cut(file).write_object({"size": file.size, "mtime": file.mtime, "pieces": rows})

    def _cut(self, file: InputFile) -> Place:
        return self.place / "marks" / f"{file.name}/{CUT}"

    def pieces(self, files: Iterable[InputFile]) -> tuple[list[InputFile], list[Piece], list[Piece]]:
        """Files that were not cut yet, pieces that are not done, and those that are. Raises InputError for a file that
        changed after it was cut."""
        marks = {name for name, _ in (self.place / "marks").files()}
        shards = {name for name, _ in (self.place / "shards").files()}
        uncut = [file for file in files if f"{file.name}/{CUT}" not in marks]
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            known = pool.map(self._read_cut, (file for file in files if f"{file.name}/{CUT}" in marks))
            pieces = [piece for of_file in known for piece in of_file]

        def is_done(piece: Piece) -> bool:
            name = f"{piece.file.name}/{piece.number:06d}"
            return f"{name}.json" in marks and f"{name}.jsonl" in shards

        return uncut, [piece for piece in pieces if not is_done(piece)], [piece for piece in pieces if is_done(piece)]

    def _read_cut(self, file: InputFile) -> list[Piece]:
        path = self._cut(file)
        known = path.read_object()
        if (known["size"], known["mtime"]) != (file.size, file.mtime):
            raise InputError(
                f"{file.place.name}: changed after {self.place.name} was begun. Remove {path.name.removesuffix('/' + CUT)} "
                "to have the file tagged anew, or name another OUTPUT."
            )
        return [Piece(file, number, *row) for number, row in enumerate(known["pieces"])]

    def clean(self) -> None:
        """Removes what killed processes left half-written. For when nobody writes any more."""
        if self.place.is_local:
            for path in Path(self.place.path).rglob(".*.partial"):
                path.unlink()


def fingerprint(model: Path) -> str:
    """A digest of what in a model directory decides the results."""
    digest = hashlib.blake2b(digest_size=16)
    for path in (model / name for name in DECIDES):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
