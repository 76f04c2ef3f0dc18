"""`python -m ner_elmo suspects`: suspected label errors of annotated files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from biLM.errors import require
from biLM.files import whole_file
from biLM.flags import add_flags, given
from biLM.progress import progress
from biLM.published import go_offline, resolve
from biLM.startup import start_keras
from ner_elmo.config import TrainConfig
from ner_elmo.readers import read_sentences

if TYPE_CHECKING:
    from ner_elmo.suspects import Suspect

_DEFAULTS = {"epochs": 8, "hidden_size": 128}
_NOT_ASKED = (  # nothing of these is read here
    "train", "dev", "test", "output", "overwrite", "license", "dataset", "train_bilm", "bilm_learning_rate", "include_bilm",
    "word_vectors", "word_vectors_max", "gazetteer", "patience", "seeds", "learning_curve", "baseline", "tune",
    "tune_options", "tensorboard",
)  # fmt: skip


def add(commands) -> None:
    suspects = commands.add_parser(
        "suspects",
        help="suspected label errors of annotated files",
        description="Trains small taggers by cross-validation and lists the labels that they find improbable.",
    )
    suspects.add_argument("files", nargs="+", metavar="FILE", help="annotated files")
    suspects.add_argument("--folds", type=int, default=5, metavar="N", help="taggers to train. Default: 5.")
    suspects.add_argument("--out", type=Path, metavar="FILE", help="all suspects as JSON Lines")
    suspects.add_argument("--top", type=int, default=50, metavar="N", help="rows of the table on stdout. Default: 50.")
    add_flags(suspects, TrainConfig, leave_out=_NOT_ASKED, defaults=_DEFAULTS)
    suspects.set_defaults(run=_suspects)


def _suspects(args: argparse.Namespace) -> None:
    config = TrainConfig.from_dict(_DEFAULTS | given(args, TrainConfig))
    require(args.top >= 0, "--top must be at least 0", args.top)
    sentences = read_sentences(args.files, **config.reading)
    if config.offline:
        go_offline()
    resolve(config.elmo)
    start_keras()
    from ner_elmo.cache import Cache
    from ner_elmo.experiment import load
    from ner_elmo.suspects import find_suspects

    bilm = load(config)
    cache = Cache.of(config) if bilm is not None and config.cache else None
    console = Console(stderr=True, highlight=False, markup=False)
    with progress("training", console) as step:
        found = find_suspects(config, sentences, args.folds, bilm, cache, step)
    if args.out:
        _write(args.out, found)
    _print(found[: args.top])
    n_sentences = len({suspect.where for suspect in found})
    console.print(f"{len(found):,} suspects in {n_sentences:,} of {len(sentences):,} sentences", soft_wrap=True)


def _write(path: Path, found: Sequence[Suspect]) -> None:
    with whole_file(path) as partial, open(partial, "w", encoding="utf-8") as file:
        for suspect in found:
            file.write(json.dumps(asdict(suspect) | {"score": round(suspect.score, 6)}, ensure_ascii=False) + "\n")


def _print(found: Sequence[Suspect]) -> None:
    table = Table(box=None, pad_edge=False)
    for name, ratio in (("score", None), ("place", 3), ("token", None), ("given", None), ("predicted", None), ("text", 5)):
        table.add_column(name, justify="right" if name in ("score", "token") else "left", overflow="fold", ratio=ratio)
    for suspect in found:
        labels = (" ".join(side) for side in (suspect.given, suspect.predicted))
        table.add_row(f"{suspect.score:.4f}", suspect.where, str(suspect.start + 1), *labels, suspect.text)
    Console(highlight=False, markup=False, width=140).print(table)
