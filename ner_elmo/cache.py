"""Activations of a frozen biLM, computed once and read in every epoch and every later run.

    DIRECTORY / biLM / segment / activations.npy    float16 (N, L+1, D), the tokens of its sentences one after another
                               / sentences.npy      a hash and the length of each sentence

The biLM's folder is named by a hash of everything that activations depend on, and a sentence is found by a hash of its
tokens: runs on other files share what they have in common. A segment is what one run had to add; it appears whole, by one
renaming. One run at a time adds to a folder, and others wait for it. The segments used longest ago make room; runs that
still read them hold them open.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from filelock import FileLock

from biLM import BiLM, InputError
from biLM.progress import Report, silent
from biLM.tfhub import HubBiLM
from ner_elmo.batching import Tokens, mask_of
from ner_elmo.config import TrainConfig

FLOAT16_LIMIT = 65504.0
_HEADERS = 512  # bytes of the two files of a segment beside what they hold, at most
_SENTENCE = np.dtype([("hash", "S32"), ("length", "<i8")])


@dataclass(frozen=True)
class Found:
    """How many of the sentences were in the cache, how many were added, and the bytes of both; the rest, for which there
    was no room, is computed anew in each epoch."""

    sentences: int
    hits: int
    added: int
    n_bytes: int


class Activations:
    """Activations of sentences, on disk or computed when they are asked for.

    Arguments:
        slices: of each sentence (T, L+1, D) float16, or None.
        lengths: tokens of each sentence.
        compute: positions of sentences that have no slice -> (B, L+1, T, D).
        found: where they come from.
    """

    def __init__(
        self,
        slices: Sequence[np.ndarray | None],
        lengths: Sequence[int] | np.ndarray,
        compute: Callable[[list[int]], np.ndarray],
        found: Found,
    ):
        self.slices, self.lengths, self.compute, self.found = slices, np.asarray(lengths), compute, found

    def batch(self, positions: Sequence[int]) -> np.ndarray:
        """Activations of some of the sentences. Shape: (B, L+1, T, D), float16, zero in the padding."""
        missing = [position for position in positions if self.slices[position] is None]
        computed = iter(self.compute(missing) if missing else ())
        rows = [
            _by_token(next(computed), self.lengths[position]) if (part := self.slices[position]) is None else part
            for position in positions
        ]
        mask = mask_of(self.lengths[positions])
        result = np.zeros((*mask.shape, *rows[0].shape[1:]), np.float16)  # (B, T, L+1, D)
        for row, part in enumerate(rows):
            result[row, : len(part)] = part
        return result.transpose(0, 2, 1, 3)

    def part(self, chosen: Sequence[int]) -> Activations:
        """Those of some of the sentences, which get new positions from 0 on."""
        slices = [self.slices[position] for position in chosen]
        compute = lambda positions: self.compute([chosen[position] for position in positions])  # noqa: E731
        return Activations(slices, self.lengths[list(chosen)], compute, self.found)


class Cache:
    """A directory of activations.

    Arguments:
        directory: shared by all runs of a user; made when it is needed, for the user alone.
        max_bytes: of all segments together. What does not fit is computed anew in each epoch.
    """

    def __init__(self, directory: Path, max_bytes: int):
        self.directory, self.max_bytes = directory, max_bytes

    @classmethod
    def of(cls, config: TrainConfig) -> Cache:
        """The one that a configuration names."""
        return cls(Path(config.cache_dir or default_directory()), int(config.cache_size * 1e9))

    def activations(self, bilm: BiLM, sentences: Sequence[Tokens], report: Report = silent) -> Activations:
        """Activations of sentences; those that are not here are computed and added.

        `report(tokens done, tokens in all)` is called after each batch.
        """
        folder = self.directory / key_of(bilm)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        hashes = [_hash(sentence) for sentence in sentences]
        with FileLock(folder / ".lock"):
            for left in folder.glob("*.partial"):  # by a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            here = _read(folder, set(hashes))
            hits = sum(name in here for name in hashes)
            pairs = zip(hashes, sentences, strict=True)
            new = {name: tokens for name, tokens in pairs if tokens and name not in here}
            sizes = {name: 2 * bilm.n_layers * bilm.width * len(new[name]) + _SENTENCE.itemsize for name in new}
            room = self._make_room(sum(sizes.values()) + _HEADERS, {segment for segment, _ in here.values()})
            new = {name: new[name] for name in _that_fit(sizes, room - _HEADERS)}
            if new:
                _write(folder, bilm, new, report)
                here = _read(folder, set(hashes))
        slices = [here[name][1] if name in here else None for name in hashes]
        added = sum(part is not None for part in slices) - hits
        found = Found(len(hashes), hits, added, sum(part.nbytes for _, part in here.values()))
        return Activations(slices, list(map(len, sentences)), _computer(bilm, sentences), found)

    def _make_room(self, needed: int, keep: set[Path]) -> int:
        """Removes segments, the one used longest ago first, until so many bytes fit; returns how many of them do."""
        used: dict[Path, tuple[float, int]] = {}
        for segment in (segment for folder in self.directory.iterdir() if folder.is_dir() for segment in _segments(folder)):
            try:
                used[segment] = segment.stat().st_mtime, sum(path.stat().st_size for path in segment.iterdir())
            except FileNotFoundError:
                continue  # another run made room
        free = self.max_bytes - sum(size for _, size in used.values())
        for segment in sorted(used.keys() - keep, key=lambda segment: used[segment]):
            if free >= needed:
                break
            _remove(segment)
            free += used[segment][1]
        return max(0, min(free, needed))


def fingerprint(bilm: BiLM) -> str:
    """A hash of the biLM: weights, starting state and options."""
    if isinstance(bilm, HubBiLM):
        return bilm.fingerprint()
    digest = hashlib.sha256(json.dumps(bilm.options.to_dict(), sort_keys=True).encode())
    for variable in bilm.variables:
        if "seed" not in variable.path:  # dropout's random state
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def key_of(bilm: BiLM) -> str:
    """Names the folder of a biLM's activations: all that they depend on but the sentence."""
    return hashlib.sha256(f"{fingerprint(bilm)} {bilm.top_layer}".encode()).hexdigest()[:40]


def default_directory() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "ner-elmo"


def _hash(sentence: Tokens) -> bytes:
    return hashlib.blake2b(json.dumps(list(sentence)).encode(), digest_size=16).hexdigest().encode()


def _by_token(activations: np.ndarray, length: int) -> np.ndarray:
    """A row (L+1, T, D) of a batch -> (length, L+1, D) float16."""
    part = activations[:, :length].transpose(1, 0, 2)
    if not np.isfinite(part).all() or np.abs(part).max(initial=0.0) > FLOAT16_LIMIT:
        raise InputError("the biLM's activations are too large for the float16 cache. Are these its weights?")
    return part.astype(np.float16)


def _computer(bilm: BiLM, sentences: Sequence[Tokens]) -> Callable[[list[int]], np.ndarray]:
    table = bilm.token_table()
    return lambda positions: bilm.embed_batch([sentences[position] for position in positions], table)


def _that_fit(sizes: dict[bytes, int], room: int) -> Iterator[bytes]:
    for name, size in sizes.items():
        if size <= room:
            room -= size
            yield name


def _segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.suffix != ".partial")


def _remove(segment: Path) -> None:
    """Takes it away as a whole: what is left of it when a process is killed here is no segment."""
    gone = segment.with_name(f"{segment.name}-{os.getpid()}.partial")
    with suppress(OSError):  # another run made room
        os.rename(segment, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _read(folder: Path, wanted: set[bytes]) -> dict[bytes, tuple[Path, np.ndarray]]:
    """The sentences that are wanted: their segment, which is marked as used, and their activations (T, L+1, D)."""
    here: dict[bytes, tuple[Path, np.ndarray]] = {}
    for segment in _segments(folder):
        try:
            sentences = np.load(segment / "sentences.npy")
            array = np.asarray(np.load(segment / "activations.npy", mmap_mode="r"))
        except (FileNotFoundError, ValueError, EOFError):  # gone, or cut off when the machine went down: computed again
            _remove(segment)
            continue
        before = len(here)
        starts = np.cumsum(sentences["length"]) - sentences["length"]
        for name, start, length in zip(sentences["hash"].tolist(), starts, sentences["length"], strict=True):
            if name in wanted:
                here.setdefault(name, (segment, array[start : start + length]))
        if len(here) > before:
            with suppress(FileNotFoundError):  # another run made room; what is open here stays readable
                os.utime(segment)
    return here


def _write(folder: Path, bilm: BiLM, sentences: dict[bytes, Tokens], report: Report) -> None:
    """Adds a segment, its sentences in the order in which they are computed."""
    names, texts = list(sentences), list(sentences.values())
    n_tokens = sum(map(len, texts))
    name = hashlib.sha256(b"".join(sorted(names))).hexdigest()[:40]
    partial = folder / f"{name}.partial"
    partial.mkdir(mode=0o700)
    try:
        written: list[tuple[bytes, int]] = []
        with open(partial / "activations.npy", "wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (n_tokens, bilm.n_layers, bilm.width)}
            np.lib.format.write_array_header_1_0(file, header)
            done = 0
            for positions, batch in bilm.embed_in_batches(texts):
                for position, row in zip(positions, batch, strict=True):
                    length = len(texts[position])
                    file.write(_by_token(row, length).tobytes())
                    written.append((names[position], length))
                    done += length
                report(done, n_tokens)
        np.save(partial / "sentences.npy", np.array(written, _SENTENCE))
        os.rename(partial, folder / name)
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
