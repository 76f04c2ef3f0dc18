"""The directory of a training run: training.json, options.json and vocab.txt, written before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from biLM.corpus import read_sentences
from biLM.errors import InputError
from biLM.files import read_object, write_object
from biLM.flags import from_mapping
from biLM.options import BiLMOptions
from biLM.progress import Report
from biLM.training_options import TrainingOptions
from biLM.vocabulary import Vocabulary


@dataclass(frozen=True)
class Run:
    """What a run was started with: the content of training.json. `bytes`: the sizes of the training shards. tuned_from:
    the weights that `tune` began with; its run begins with a checkpoint that holds them."""

    train: list[str]
    bytes: list[int]
    heldout: list[str]
    n_train_tokens: int
    n_steps: int
    training: dict[str, Any]
    tuned_from: str | None = None


def start_run(
    options: BiLMOptions,
    training: TrainingOptions,
    paths: Sequence[Path],
    heldout: Sequence[Path],
    out: Path,
    vocabulary: Vocabulary | None = None,
    vocabulary_size: int | None = None,
    report: Report = lambda done, total: None,
    tuned_from: str | None = None,
) -> None:
    """Makes the directory of a new run: training.json, options.json and vocab.txt.

    The tokens are counted here. The vocabulary is counted with them when None, at most `vocabulary_size` words.
    `report`: (shards read, in all).
    """
    if (out / "training.json").exists():
        raise InputError(f"{out} holds a run already. Go on with it: `--resume {out}`, or name another --out.")
    counts, n_positions = survey(paths, report)
    if vocabulary is None:
        vocabulary = Vocabulary.of_counts(counts, vocabulary_size)
    elif training.n_negative_samples_batch < len(vocabulary):
        check_order(vocabulary, counts)
    per_step = training.batch_size * training.unroll_steps
    n_steps = training.max_steps or training.n_epochs * n_positions // per_step
    if n_positions < per_step:
        raise InputError(
            f"the text must hold at least one batch, batch_size * unroll_steps = {per_step} positions. "
            f"Received: {n_positions}. Lower --batch-size."
        )
    if training.share_embedding_softmax and options.char_cnn:
        raise InputError("share_embedding_softmax needs word-id input. Received: char_cnn. Add --no-char-cnn.")
    extra = {key: value for key, value in asdict(training).items() if value is not None}
    extra |= {"n_train_tokens": n_positions, "sample_softmax": training.n_negative_samples_batch < len(vocabulary)}
    options = replace(options, n_tokens_vocab=len(vocabulary), extra=options.extra | extra)
    out.mkdir(parents=True, exist_ok=True)
    vocabulary.write(out / "vocab.txt")
    options.write(out / "options.json")
    shards = [str(path.resolve()) for path in paths]
    sizes = [path.stat().st_size for path in paths]
    run = Run(shards, sizes, [str(p.resolve()) for p in heldout], n_positions, n_steps, asdict(training), tuned_from)
    write_object(out / "training.json", asdict(run))


def check_order(vocabulary: Vocabulary, counts: Counter[str]) -> None:
    """The sampled softmax takes words in front for frequent ones: a vocabulary that is not sorted so is an InputError."""
    words = vocabulary.words[3:]
    front, back = words[: len(words) // 2], words[len(words) // 2 :]
    if sum(counts[word] for word in back) > sum(counts[word] for word in front):
        raise InputError(
            "a vocabulary must be sorted by falling count, for the sampled softmax relies on it. Received: one whose second "
            f"half, from {back[0]!r}, is more frequent in the text than its first. Make one with `python -m biLM vocab`."
        )


def survey(paths: Sequence[Path], report: Report = lambda done, total: None) -> tuple[Counter[str], int]:
    """Counts of words, and positions: tokens and an end mark a sentence. A shard without a sentence is an InputError."""
    counts: Counter[str] = Counter()
    n_positions = 0
    for number, path in enumerate(paths):
        report(number, len(paths))
        before = n_positions
        for sentence in read_sentences([path]):
            counts.update(sentence)
            n_positions += len(sentence) + 1
        if n_positions == before:
            raise InputError(f"{path}: must hold a sentence at least. Received: an empty shard.")
    return counts, n_positions


def read_run(directory: Path) -> Run:
    """Reads training.json and looks whether the shards are still what they were."""
    path = directory / "training.json"
    if not path.is_file():
        raise InputError(f"{path}: no such file. {directory} must be what `python -m biLM train --out` made.")
    run = from_mapping(Run, read_object(path), str(path))
    for name, size in zip(run.train, run.bytes, strict=True):
        if not Path(name).is_file():
            raise InputError(f"{name}: no such file; the run was started on it ({path}).")
        if Path(name).stat().st_size != size:
            raise InputError(
                f"{name}: must hold {size} bytes, as when the run began. Received: {Path(name).stat().st_size}."
            )
    return run
