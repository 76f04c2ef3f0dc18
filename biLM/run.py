"""The directory of a training run: training.json, options.json and vocab.txt, written before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from biLM.corpus import read_sentences
from biLM.errors import InputError
from biLM.files import read_object, write_object
from biLM.flags import from_mapping
from biLM.options import BiLMOptions
from biLM.progress import Report, silent
from biLM.training_options import TrainingOptions
from biLM.vocabulary import SPECIAL_TOKENS, Vocabulary
from biLM.word_counts import WordCounts


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


@dataclass(frozen=True)
class Text:
    """What a run reads: shards to train on and to hold out, and the vocabulary: given, or counted from the training
    shards, at most `vocabulary_size` words (None: all)."""

    train: Sequence[Path]
    heldout: Sequence[Path] = ()
    vocabulary: Vocabulary | None = None
    vocabulary_size: int | None = None


def start_run(
    options: BiLMOptions,
    training: TrainingOptions,
    text: Text,
    out: Path,
    report: Report = silent,
    tuned_from: str | None = None,
) -> None:
    """Makes the directory of a new run: training.json, options.json and vocab.txt. The tokens are counted here.

    `report`: (shards read, in all).
    """
    if (out / "training.json").exists():
        raise InputError(
            f"{out} holds a run already. Go on with it: `python -m biLM train --resume {out}`, or name another --out."
        )
    for path in (out / "weights.hdf5", out / "checkpoints"):
        if path.exists():
            raise InputError(f"{path} is there already, and no run says what it is. Remove it, or name another --out.")
    if training.patience is not None and not (text.heldout and training.heldout_sentences):
        raise InputError("patience waits for a better held-out perplexity. Add --heldout, and --heldout-sentences above 0.")
    check_heldout(text)
    if text.vocabulary and text.vocabulary_size is not None:
        raise InputError("a vocabulary has its size: give --vocab or --vocab-size, not both.")
    if training.share_embedding_softmax and options.char_cnn:
        raise InputError("share_embedding_softmax needs word-id input. Received: char_cnn. Add --no-char-cnn.")
    with WordCounts() as counts:
        n_positions = count_positions(text.train, counts, report)
        vocabulary = text.vocabulary or counts.vocabulary(text.vocabulary_size)
        is_sampled = training.n_candidates(len(vocabulary)) < len(vocabulary)
        if text.vocabulary and is_sampled:
            check_order(vocabulary, counts)
    per_step = training.batch_size * training.unroll_steps
    if n_positions < per_step:
        raise InputError(
            f"the text must hold at least one batch, batch_size * unroll_steps = {per_step} positions. "
            f"Received: {n_positions}. Lower --batch-size."
        )
    n_steps = training.n_epochs * n_positions // per_step if training.max_steps is None else training.max_steps
    if training.warmup_steps >= n_steps:
        raise InputError(
            f"warmup_steps must be below the {n_steps} steps of this run, for until then the biLM stays as it is. "
            f"Received: {training.warmup_steps}. Lower --warmup-steps, to {n_steps // 10} for instance."
        )
    extra = {key: value for key, value in asdict(training).items() if value is not None}
    extra |= {"n_train_tokens": n_positions, "sample_softmax": is_sampled, "learning_rate": training.rate}
    options = replace(options, n_tokens_vocab=len(vocabulary), extra=options.extra | extra)
    out.mkdir(parents=True, exist_ok=True)
    vocabulary.write(out / "vocab.txt")
    options.write(out / "options.json")
    run = Run(
        train=[str(path.resolve()) for path in text.train], bytes=[path.stat().st_size for path in text.train],
        heldout=[str(path.resolve()) for path in text.heldout], n_train_tokens=n_positions, n_steps=n_steps,
        training=asdict(training), tuned_from=tuned_from,
    )  # fmt: skip
    write_object(out / "training.json", asdict(run))


def check_heldout(text: Text) -> None:
    """Held-out text must hold something, and be held out."""
    trained = {path.resolve() for path in text.train}
    for path in text.heldout:
        if path.resolve() in trained:
            raise InputError(f"{path}: is held out and trained on. Name it in --heldout alone.")
        if next(read_sentences([path]), None) is None:
            raise InputError(f"{path}: must hold a sentence at least. Received: an empty file. Leave it out of --heldout.")


def count_positions(paths: Sequence[Path], counts: WordCounts, report: Report = silent) -> int:
    """Counts the words of shards; returns the positions: tokens and an end mark a sentence. A shard without a sentence is
    an InputError."""
    n_positions = 0
    for number, path in enumerate(paths):
        report(number, len(paths))
        before = n_positions
        for sentence in read_sentences([path]):
            counts.add(sentence)
            n_positions += len(sentence) + 1
        if n_positions == before:
            raise InputError(f"{path}: must hold a sentence at least. Received: an empty shard.")
    return n_positions


def check_order(vocabulary: Vocabulary, counts: WordCounts) -> None:
    """The sampled softmax takes words in front for frequent ones: a vocabulary that is not sorted so is an InputError."""
    found = np.zeros(len(vocabulary) - len(SPECIAL_TOKENS))
    for word, count in counts.items():
        place = vocabulary.id_of.get(word, 0) - len(SPECIAL_TOKENS)
        if place >= 0:
            found[place] += count
    n = len(found)
    borders = [int(n**part) for part in (0.25, 0.4, 0.55, 0.7, 0.85)] if n >= 1000 else [n // 2]  # few words may lie anyhow
    for begin, place, end in zip([0, *borders], borders, [*borders[1:], n], strict=False):
        if begin < place and found[place:end].mean() > found[begin:place].mean():
            raise InputError(
                "a vocabulary must be sorted by falling count, for the sampled softmax relies on it. Received: one whose "
                f"words from {vocabulary.words[place + len(SPECIAL_TOKENS)]!r} on are more frequent in the text than those "
                "before them. Make one with `python -m biLM vocab`."
            )


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
