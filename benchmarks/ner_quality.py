"""F1 of tagger variants on data sets, over seeds: a table that goes on where it was cut off.

    python -m benchmarks.ner_quality --data DIR [--sets NAME ...] [--variants NAME ...] [--seeds 1 2 3]
        [--elmo WEIGHTS] [--results FILE.jsonl] [--option NAME=JSON ...] [--show]

DIR holds a folder a set, with train.*, dev.* and test.* files. All rows run in one process, so that those of a set share the
biLM's activations. A row is a set, a biLM, a variant and a seed; each is written to FILE when it is done, one JSON object a
line with its whole configuration, and a row that is there is not run again. --show prints the table of FILE alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from biLM.errors import InputError, run_command
from biLM.flags import json_value
from biLM.startup import start_keras
from ner_elmo.config import NO_ELMO, TrainConfig
from ner_elmo.readers import read_sentences

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no ELMo": {"elmo": NO_ELMO},
    "ELMo alone": {"token_vectors": False},
    "softmax": {"head": "softmax"},
    "lower layers": {"layers": (0, 1)},
    "output mix": {"output_mix": True},
    "casing": {"casing": True},
    "narrow": {"hidden_size": 128},
    "wide": {"hidden_size": 400},
    "two blocks": {"n_blocks": 2},
    "less dropout": {"dropout": 0.3},
    "ema": {"ema": 0.998},
    "warm-up": {"warmup_steps": 300},
    "token batches": {"batch_tokens": 640},
    "tuned biLM": {"train_bilm": True},
}


def rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Names of the rows that are asked for, those of a set together."""
    for name in args.sets:
        for variant in args.variants:
            elmo = str(VARIANTS[variant].get("elmo", args.elmo))
            for seed in args.seeds:
                yield {"set": name, "elmo": elmo, "variant": variant, "seed": seed, "options": sorted(args.option)}


def key_of(row: dict[str, Any]) -> tuple:
    return tuple(str(row[name]) for name in ("set", "elmo", "variant", "seed", "options"))


def measure(args: argparse.Namespace) -> None:
    """Runs the rows that are not in the results yet."""
    done = {key_of(row) for row in finished(args.results)}
    due = [row for row in rows(args) if key_of(row) not in done]
    if not due:
        return
    start_keras()
    from ner_elmo import experiment

    console, gathered = Console(stderr=True, highlight=False, markup=False), {}
    for row in due:
        files = {side: (str(next((args.data / row["set"]).glob(f"{side}.*"))),) for side in ("train", "dev", "test")}
        given = {name: json_value(value) for name, _, value in (one.partition("=") for one in args.option)}
        config = TrainConfig.from_dict(
            {"elmo": row["elmo"], "seed": row["seed"], **files} | given | VARIANTS[row["variant"]]
        )
        place = (row["set"], row["elmo"], config.train_bilm, config.layers)
        if place not in gathered:
            sides = [read_sentences(files[side]) for side in ("train", "dev", "test")]
            gathered = {place: experiment.gather(config, *sides, console)}  # of one set at a time
        console.print(f"{row['set']}, {row['variant']}, seed {row['seed']}")
        begin = time.monotonic()
        outcome = experiment.run(config, experiment.unchanged(config, gathered[place]), console)
        found = {
            "dev_f1": outcome.dev_f1,
            "test_f1": outcome.evaluation.strict.f1,
            "epochs": len(outcome.trained.epochs),
            "seconds": time.monotonic() - begin,
            "config": replace(config, output=None).to_dict(),
        }
        append(args.results, row | found)


def append(path: Path, row: dict[str, Any]) -> None:
    """Adds a row; a last line that was cut off is ended first."""
    with open(path, "a+b") as file:
        if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            file.write(b"\n")
        file.write(json.dumps(row).encode() + b"\n")


def finished(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file; a line that was cut off is passed over."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """Mean and deviation over seeds, as lines of Markdown."""
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for row in results:
        groups[(row["set"], row["variant"], Path(row["elmo"]).name, " ".join(row["options"]))].append(row)
    yield "| set | variant | biLM | options | seeds | dev F1 | test F1 | minutes |"
    yield "|---|---|---|---|---:|---:|---:|---:|"
    for names, runs in groups.items():
        scores = [_mean([100 * run[side] for run in runs]) for side in ("dev_f1", "test_f1")]
        minutes = statistics.mean(run["seconds"] for run in runs) / 60
        yield f"| {' | '.join(names)} | {len(runs)} | {' | '.join(scores)} | {minutes:.1f} |"


def _mean(scores: list[float]) -> str:
    deviation = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
    return f"{statistics.mean(scores):.2f}{deviation}"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="folders of DIR; all when not given")
    parser.add_argument("--variants", nargs="+", default=["default"], choices=VARIANTS, metavar="NAME",
                        help=f"of: {', '.join(VARIANTS)}. Default: default.")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument("--elmo", default=TrainConfig.elmo, metavar="WEIGHTS", help="the bundled biLM when not given")
    parser.add_argument("--results", type=Path, default=Path("ner_quality.jsonl"), metavar="FILE")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=JSON", help="of TrainConfig, for all rows")
    parser.add_argument("--show", action="store_true", help="print the table of FILE and run nothing")
    args = parser.parse_args(arguments)
    if not args.data.is_dir():
        raise InputError(f"{args.data}: must be a directory with a folder a set.")
    args.sets = args.sets or sorted(path.parent.name for path in args.data.glob("*/train.*"))
    return args


def main(args: argparse.Namespace) -> None:
    if not args.show:
        measure(args)
    print("\n".join(table(finished(args.results))))


if __name__ == "__main__":
    sys.exit(run_command("ner_quality", lambda: main(parse())))
