"""Raw text -> shards for training: one tokenised sentence a line, no sentence twice, shuffled, a part held out.

Memory does not depend on the amount of text. Sentences go to bucket files by a hash of themselves; then each bucket,
small enough to be held, is freed of repetitions, shuffled and written as a shard. Equal sentences meet in one bucket,
and since the hash knows nothing of a sentence's place, the buckets together are a shuffle of the whole.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from biLM.corpus import BoundedReader, decoded, open_text
from biLM.errors import InputError
from biLM.files import check_free, whole_directory
from biLM.progress import Report, silent
from biLM.text import Tokenizer, require_characters
from biLM.vocabulary import Vocabulary
from biLM.word_counts import WordCounts

BUCKET_BYTES = 2**24  # of text; a shard
MAX_BUCKETS = 4096
BUFFERED_BYTES = 2**26  # of all buckets together
LINE_BYTES = 64  # what a line in memory costs beyond its text
OOV_SIZES = (10_000, 50_000, 100_000, 200_000, 800_000)
_PACKED = {".gz": 4, ".xz": 5}  # how much larger text is than its archive, roughly


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made. oov_rate: the share of held-out tokens that a vocabulary of the training text's most frequent
    words lacks, by its size. long_tokens: tokens of the training text that the character limit cuts."""

    sentences: int
    tokens: int
    types: int
    repeated_sentences: int
    heldout_sentences: int
    heldout_tokens: int
    long_tokens: int
    oov_rate: dict[int, float]
    shards: int


def prepare(
    sources: Sequence[str],
    out: Path,
    lang: str = "en",
    field: str | None = None,
    documents: str = "blank",
    heldout_fraction: float = 0.01,
    tokenized: bool = False,
    wrapped: bool = False,
    max_characters_per_token: int = 50,
    seed: int = 0,
    report: Report = silent,
) -> Prepared:
    """Writes `out/train-*.txt.gz`, `out/heldout.txt.gz` and `out/report.json`.

    Arguments:
        sources: files (plain, .gz, .xz; JSON Lines by their name), directories (all files below), "-" (standard input).
        lang: of the tokenizer and sentence splitter, as in prediction.
        field: of a JSON Lines row, its text ("text" if None); where it is given, standard input is JSON Lines.
        documents: what is held out or not as a whole: "blank": what blank lines part, or files; "line"; "file". A row of
            JSON Lines is always a document.
        tokenized: lines are sentences already, their tokens parted by blanks.
        wrapped: lines are cut at some width, and blank lines part paragraphs; otherwise a sentence ends with its line.
        report: (bytes of text read, expected in all or None).
    """
    check_free(out)
    if not 0 <= heldout_fraction < 1:
        raise InputError(f"the held-out fraction must be at least 0 and below 1. Received: {heldout_fraction}.")
    if not 0 <= seed < 2**32:
        raise InputError(f"the seed must be from 0 to {2**32 - 1}. Received: {seed}.")
    files = find_sources(sources)
    expected = None if "-" in files else sum(_text_bytes(Path(name)) for name in files)
    with whole_directory(out) as partial:
        n_buckets = min(MAX_BUCKETS, max(1, (expected or 256 * BUCKET_BYTES) // BUCKET_BYTES))
        buckets = _Buckets(partial / "buckets", n_buckets, seed)
        split = _splitter(lang, tokenized)
        done = 0
        rng = random.Random(seed)
        for document in itertools.chain.from_iterable(read_documents(name, field, documents, wrapped) for name in files):
            held = rng.random() < heldout_fraction
            for text in document:
                done += len(text) + 1
                for tokens in split(text):
                    buckets.add(" ".join(tokens), held)
            report(done, expected)
        buckets.flush()
        made = _write_shards(buckets, partial, seed, heldout_fraction, max_characters_per_token - 2)
        shutil.rmtree(partial / "buckets")
        (partial / "report.json").write_text(json.dumps(asdict(made), indent=1) + "\n", encoding="utf-8")
    return made


def find_sources(sources: Sequence[str]) -> list[str]:
    """Files in order: those named, all below directories, and "-"."""
    found: list[str] = []
    for source in sources:
        path = Path(source)
        if source == "-" or (path.exists() and not path.is_dir()):  # pipes, too
            found.append(source)
        elif path.is_dir():
            inside = [str(p) for p in sorted(path.rglob("*")) if p.is_file() and not _is_hidden(p.relative_to(path))]
            if not inside:
                raise InputError(f"{source}: must hold a file at least. Received: an empty directory.")
            found += inside
        else:
            raise InputError(f"{source}: no such file or directory.")
    return found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_documents(name: str, field: str | None, documents: str, wrapped: bool = False) -> Iterator[Iterable[str]]:
    """Documents of a file, each the texts (lines, paragraphs of wrapped ones, or a row's field) that it consists of."""
    with open_text(name) if name != "-" else open_standard_input() as lines:
        stem = Path(name).name.removesuffix(".gz").removesuffix(".xz")
        if stem.endswith((".jsonl", ".ndjson")) or (name == "-" and field is not None):
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield [_field(f"{name}:{number}", line, field or "text")]
        elif documents == "line":
            for line in lines:
                yield [line]
        elif documents == "file":
            yield map(_joined, _paragraphs(lines)) if wrapped else lines
        else:
            for paragraph in _paragraphs(lines):
                yield [_joined(paragraph)] if wrapped else paragraph


def _paragraphs(lines: Iterable[str]) -> Iterator[Iterable[str]]:
    """What blank lines part."""
    return (group for is_blank, group in itertools.groupby(lines, key=lambda line: not line.strip()) if not is_blank)


def _joined(lines: Iterable[str]) -> str:
    return " ".join(line.strip() for line in lines)


@contextmanager
def open_standard_input() -> Iterator[Iterator[str]]:
    with BoundedReader(os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0), "standard input") as raw:
        yield decoded(raw, "standard input")


def _field(where: str, line: str, field: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}.") from None
    if not isinstance(row, dict) or not isinstance(row.get(field), str):
        found = sorted(row) if isinstance(row, dict) else type(row).__name__
        raise InputError(f"{where}: must be an object with the text in {field!r}. Received: {found}. Name it: --field.")
    require_characters(row[field], where)
    return row[field]


def _splitter(lang: str, tokenized: bool) -> Callable[[str], Iterable[Sequence[str]]]:
    if tokenized:
        return lambda text: [tokens] if (tokens := text.split()) else []
    tokenizer = Tokenizer(lang)
    return lambda text: [sentence.tokens for sentence in tokenizer.sentences(text)] if text.strip() else []


def _text_bytes(path: Path) -> int:
    return path.stat().st_size * _PACKED.get(path.suffix, 1)


class _Buckets:
    """Sentences on disk, by their hash; each line begins with H where the sentence is held out, else with T."""

    def __init__(self, directory: Path, n_buckets: int, seed: int):
        directory.mkdir()
        self.paths = [directory / f"{number:04d}" for number in range(n_buckets)]
        self.key = seed.to_bytes(8, "little")
        self._lines: list[list[str]] = [[] for _ in self.paths]
        self._buffered = 0

    def add(self, sentence: str, heldout: bool) -> None:
        digest = hashlib.blake2b(sentence.encode("utf-8", "surrogatepass"), digest_size=8, key=self.key).digest()
        number = int.from_bytes(digest, "little") % len(self.paths)
        self._lines[number].append(f"{'H' if heldout else 'T'}{sentence}\n")
        self._buffered += len(sentence) + LINE_BYTES
        if self._buffered > BUFFERED_BYTES:
            self.flush()

    def flush(self) -> None:
        for path, lines in zip(self.paths, self._lines, strict=True):
            with open(path, "a", encoding="utf-8", newline="\n") as file:
                file.writelines(lines)
            lines.clear()
        self._buffered = 0


def _lines(path: Path) -> Iterator[str]:
    """The lines of a bucket, which is removed."""
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line[:-1]
    path.unlink()


def _bounded(paths: Iterable[Path], seed: int) -> Iterator[Path]:
    """The buckets; one that grew too large for the memory, since there was more text than expected, in parts."""
    for path in paths:
        n_parts = path.stat().st_size // BUCKET_BYTES
        if n_parts < 4:
            yield path
            continue
        parts = _Buckets(path.with_suffix(".parts"), n_parts, seed + 1)
        for line in _lines(path):
            parts.add(line[1:], line[0] == "H")
        parts.flush()
        yield from parts.paths


def _unique(path: Path) -> tuple[list[str], list[str], int]:
    """Held-out and training sentences of a bucket, each once, and how many there were. The bucket is removed."""
    held, train, n_lines = dict[str, None](), dict[str, None](), 0
    for line in _lines(path):
        (held if line[0] == "H" else train)[line[1:]] = None
        n_lines += 1
    return [*held], [sentence for sentence in train if sentence not in held], n_lines


def _write_shards(buckets: _Buckets, out: Path, seed: int, heldout_fraction: float, limit: int) -> Prepared:
    """Turns buckets into shards; a sentence that is held out anywhere is not trained on."""
    n_train = n_heldout = heldout_tokens = repeated = long_tokens = shards = 0
    with WordCounts() as counts:
        with _create(out / "heldout.txt.gz") as heldout_file:
            for number, path in enumerate(_bounded(buckets.paths, seed)):
                held, train, n_lines = _unique(path)
                random.Random(f"{seed} {number}").shuffle(train)
                heldout_file.writelines(f"{sentence}\n" for sentence in held)
                n_heldout, n_train = n_heldout + len(held), n_train + len(train)
                heldout_tokens += sum(len(sentence.split()) for sentence in held)
                repeated += n_lines - len(held) - len(train)
                for tokens in map(str.split, train):
                    counts.add(tokens)
                    long_tokens += sum(len(token.encode("utf-8", "surrogatepass")) > limit for token in tokens)
                if train:
                    with _create(out / f"train-{shards:05d}.txt.gz") as shard:
                        shard.writelines(f"{sentence}\n" for sentence in train)
                    shards += 1
        if not n_train:
            raise InputError("no sentence is left to train on: the text is empty, or all of it is held out.")
        if heldout_fraction and not n_heldout:
            raise InputError(
                "no document was drawn to be held out: there are too few. Cut the text smaller with --documents line, "
                "raise --heldout-fraction, or give 0 to hold nothing out."
            )
        types = sum(1 for _ in counts.items())
        oov_rate = _oov_rates(counts.vocabulary(max(OOV_SIZES)), out / "heldout.txt.gz", types)
    return Prepared(
        sentences=n_train, tokens=counts.n_tokens, types=types, repeated_sentences=repeated,
        heldout_sentences=n_heldout, heldout_tokens=heldout_tokens, long_tokens=long_tokens, oov_rate=oov_rate,
        shards=shards,
    )  # fmt: skip


def _create(path: Path) -> io.TextIOWrapper:
    """A shard for writing, without a time in its header: the same text gives the same bytes."""
    return io.TextIOWrapper(gzip.GzipFile(path, "wb", mtime=0), encoding="utf-8", newline="\n")


def _oov_rates(vocabulary: Vocabulary, heldout: Path, types: int) -> dict[int, float]:
    """Shares of held-out tokens beyond the first n words, for the sizes up to the number of types."""
    sizes = [size for size in OOV_SIZES if size < types] + [min(types + 3, len(vocabulary))]
    missing, total = dict.fromkeys(sizes, 0), 0
    with open_text(heldout) as lines:
        for line in lines:
            for token in line.split():
                rank = vocabulary.id_of.get(token, len(vocabulary))
                total += 1
                for size in sizes:
                    missing[size] += rank >= size
    return {size: count / total for size, count in missing.items()} if total else {}
