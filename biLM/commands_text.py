"""`python -m biLM prepare | vocab`: from raw text to shards and a vocabulary."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from biLM.progress import progress


def add(commands) -> None:
    prepare = commands.add_parser("prepare", help="raw text -> tokenised, deduplicated, shuffled shards and a held-out part")
    prepare.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="files (plain, .gz, .xz; .jsonl), directories, or - for standard input"
    )
    prepare.add_argument("--out", type=Path, required=True, metavar="DIR", help="new directory for the shards")
    prepare.add_argument("--lang", default="en", metavar="CODE", help="of tokenizer and sentence splitter. Default: en.")
    prepare.add_argument(
        "--field", metavar="NAME", help="of JSON Lines, the text; makes standard input JSON Lines. Default: text."
    )
    prepare.add_argument(
        "--documents", choices=("blank", "line", "file"), default="blank",
        help="what is held out as a whole, in files that are not JSON Lines: what blank lines part, a line, a file. "
        "Default: blank.",
    )  # fmt: skip
    prepare.add_argument(
        "--heldout-fraction", type=float, default=0.01, metavar="X", help="of the documents. Default: 0.01."
    )
    lines = prepare.add_mutually_exclusive_group()
    lines.add_argument("--tokenized", action="store_true", help="lines are sentences, their tokens separated by blanks")
    lines.add_argument(
        "--wrapped", action="store_true", help="lines were cut at some width; otherwise a sentence ends with its line"
    )
    prepare.add_argument(
        "--max-characters-per-token", type=int, default=50, metavar="N", help="for the report. Default: 50."
    )
    prepare.add_argument("--seed", type=int, default=0, metavar="N", help="of order and held-out part. Default: 0.")
    prepare.add_argument("--json", action="store_true", help="one JSON line")
    prepare.set_defaults(run=_prepare)
    vocab = commands.add_parser("vocab", help="count the words of shards, most frequent first")
    vocab.add_argument("files", nargs="+", metavar="GLOB", help="tokenised text, a sentence a line, plain, .gz or .xz")
    vocab.add_argument("--out", type=Path, required=True, metavar="FILE", help="vocabulary to write, a word a line")
    vocab.add_argument("--max-size", type=int, metavar="N", help="most words, with <S>, </S>, <UNK>; all if not given")
    vocab.add_argument("--min-count", type=int, default=1, metavar="N", help="fewest occurrences. Default: 1.")
    vocab.set_defaults(run=_vocab)


def _prepare(args: argparse.Namespace) -> None:
    from biLM.prepare import prepare

    with progress("prepare") as report:
        made = prepare(
            args.sources, args.out, args.lang, args.field, args.documents, args.heldout_fraction, args.tokenized,
            args.wrapped, args.max_characters_per_token, args.seed, report,
        )  # fmt: skip
    if args.json:
        print(json.dumps(asdict(made)))
        return
    for name, value in asdict(made).items():
        if name == "oov_rate":
            value = "  ".join(f"{share:.2%} at {size:,}" for size, share in value.items()) or "nothing is held out"
        print(f"{name.replace('_', ' '):20} {value:,}" if isinstance(value, int) else f"{name.replace('_', ' '):20} {value}")
    print(f"{args.out}/train-*.txt.gz {args.out}/heldout.txt.gz")


def _vocab(args: argparse.Namespace) -> None:
    from biLM.corpus import find_files, read_sentences
    from biLM.word_counts import WordCounts

    paths = find_files(args.files)
    with WordCounts() as counts, progress("counting words") as report:
        for number, path in enumerate(paths):
            report(number, len(paths))
            for sentence in read_sentences([path]):
                counts.add(sentence)
        vocabulary = counts.vocabulary(args.max_size, args.min_count)
    vocabulary.write(args.out)
    print(f"{args.out}: {len(vocabulary):,} words")
