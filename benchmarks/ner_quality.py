"""F1 of tagger variants on data sets, over seeds: a table that goes on where it was cut off.

    python -m benchmarks.ner_quality --data DIR [--sets NAME ...] [--variants NAME ...] [--seeds 1 2 3] [--sentences N]
        [--elmo WEIGHTS] [--results FILE.jsonl] [--option NAME=JSON ...]
        [--peers DIR --spacy PYTHON --flair PYTHON] [--raw FILE ...]
    python -m benchmarks.ner_quality --show [--results FILE.jsonl]

DIR holds a folder a set, with train.*, dev.* and test.* files. All rows run in one process, so that those of a set share the
biLM's activations. A row is a set, its training sentences, a biLM (known by the digest of its weights), variant and seed.
Each is written to FILE when it is done, one JSON object a line, and a row that is there is not run again, whatever machine
made it. The variant "CRF" is the one with hand-made features (sklearn-crfsuite); "spaCy" and "Flair" are theirs, trained by
the scripts of --peers (`benchmarks.peers`), which learn from the raw text of --raw first and take --option as their own:
a row of theirs is known by the digest of that text. --show prints the table of FILE alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.peers import PEERS, name_and_digest, score_peer, write_text
from biLM.corpus import find_files
from biLM.errors import InputError, Stopped, run_command
from biLM.flags import json_value
from biLM.startup import start_keras
from ner_elmo.config import BUNDLED_BILM, NO_ELMO, TrainConfig
from ner_elmo.readers import Sentence, read_sentences

CRF, SIDES = "CRF", ("train", "dev", "test")
OF_THE_MACHINE = {*SIDES, "elmo", "output", "cache_dir", "tensorboard"}  # in a configuration: paths
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no ELMo": {"elmo": NO_ELMO},
    "no word vectors": {"word_vectors": "none"},
    "ELMo alone": {"token_vectors": False, "word_vectors": "none"},
    "softmax": {"head": "softmax"},
    "lower layers": {"layers": (0, 1)},
    "output mix": {"output_mix": True},
    "casing": {"casing": True},
    "narrow": {"hidden_size": 128},
    "wide": {"hidden_size": 400},
    "two blocks": {"n_blocks": 2},
    "less dropout": {"dropout": 0.3},
    "no word dropout": {"word_dropout": 0.0},
    "ema": {"ema": 0.998},
    "warm-up": {"warmup_steps": 300},
    "token batches": {"batch_tokens": 640},
    "tuned biLM": {"train_bilm": True},
}


def rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Names of the rows that are asked for, those of a set together."""
    for name in args.sets:
        for variant in args.variants:
            bilm, weights = learned_from(args, variant)
            for seed in [0] if variant == CRF else args.seeds:
                yield {
                    "set": name, "sentences": args.sentences, "bilm": bilm, "weights": weights,
                    "variant": variant, "seed": seed, "options": [] if variant == CRF else sorted(args.option),
                }  # fmt: skip


def learned_from(args: argparse.Namespace, variant: str) -> tuple[str, str]:
    """A row's biLM and its digest; of another tool the raw text."""
    if variant in PEERS:
        return name_and_digest(args.raw)
    elmo = NO_ELMO if variant == CRF else str(VARIANTS[variant].get("elmo", args.elmo))
    return bilm_name(elmo), fingerprint(elmo)


def key_of(row: dict[str, Any]) -> tuple:
    return tuple(str(row[name]) for name in ("set", "sentences", "weights", "variant", "seed", "options"))


def bilm_name(elmo: str) -> str:
    """How a biLM is called in the table: as the directory of its weights."""
    path = Path(elmo)
    place = path.parent if path.is_file() else path
    return "bundled" if place.resolve() == BUNDLED_BILM.resolve() else place.name


def fingerprint(elmo: str) -> str:
    """The first digits of the SHA-256 of the weights; a name stands for itself."""
    path = Path(elmo) / "weights.hdf5" if Path(elmo).is_dir() else Path(elmo)
    return sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else elmo


def measure(args: argparse.Namespace) -> None:
    """Runs the rows that are not in the results yet."""
    done = {key_of(row) for row in finished(args.results)}
    due = [row for row in rows(args) if key_of(row) not in done]
    if not due:
        return
    start_keras()
    from benchmarks.machine import description

    console, gathered = Console(stderr=True, highlight=False, markup=False), {}
    for row in due:
        files = {side: (str(next((args.data / row["set"]).glob(f"{side}.*"))),) for side in SIDES}
        train, dev, test = (read_sentences(files[side]) for side in SIDES)
        parts = train[: args.sentences], dev, test
        console.print(f"{row['set']}, {row['variant']}, seed {row['seed']}")
        begin = time.monotonic()
        if row["variant"] == CRF:
            found = _score_crf(*parts)
        elif row["variant"] in PEERS:
            found = _score_peer(args, row, files)
        else:
            found = _train(args, row, files, parts, gathered, console)
        append(args.results, row | found | {"seconds": time.monotonic() - begin, "machine": description()})


def _score_crf(train: list[Sentence], dev: list[Sentence], test: list[Sentence]) -> dict[str, Any]:
    from ner_elmo.crf_baseline import require_library, score_baseline

    require_library()
    scores = score_baseline(train, test)
    return {"test_precision": scores.precision, "test_recall": scores.recall, "test_f1": scores.f1}


def _score_peer(args: argparse.Namespace, row: dict[str, Any], files: dict[str, tuple[str]]) -> dict[str, Any]:
    peer, python = PEERS[row["variant"]], getattr(args, row["variant"].lower())
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "raw.txt"
        options: list[tuple[str, object]] = [(side, file) for side, (file,) in files.items()]
        options += [(name, value) for name, _, value in (one.partition("=") for one in args.option)]
        options += [("seed", row["seed"]), *([("limit", args.sentences)] if args.sentences else [])]
        if args.raw:
            write_text(args.raw, text)
            options.append((peer.raw_text, text))
        return score_peer(python, args.peers / peer.script, options)


def _train(args, row, files, parts, gathered, console) -> dict[str, Any]:
    from ner_elmo import experiment
    from ner_elmo.reporting.calibration import calibration
    from ner_elmo.reporting.data_summary import Seen
    from ner_elmo.reporting.novelty import novelty

    given = {name: json_value(value) for name, _, value in (one.partition("=") for one in args.option)}
    config = TrainConfig.from_dict({"elmo": args.elmo, "seed": row["seed"], **files} | given | VARIANTS[row["variant"]])
    place = (row["set"], config.elmo, config.train_bilm, config.layers, config.word_vectors_path)
    if place not in gathered:
        gathered.clear()  # activations of one set at a time
        gathered[place] = experiment.gather(config, *parts, console)
    outcome = experiment.run(config, experiment.unchanged(config, gathered[place]), console)
    if outcome.trained.interrupted:
        raise Stopped("interrupted: this row is not written, the same command goes on with it.")
    strict, apart = outcome.evaluation.strict, novelty(outcome.judged, Seen.of(parts[0]))
    return {
        "dev_f1": outcome.dev_f1, "test_precision": strict.precision, "test_recall": strict.recall, "test_f1": strict.f1,
        "test_f1_of_types": {kind: scores[0].f1 for kind, scores in outcome.evaluation.types.items()},
        "test_recall_of_known": apart.known.strict.recall, "test_recall_of_new": apart.new.strict.recall,
        "test_calibration_error": calibration(outcome.judged).error, "epochs": len(outcome.trained.epochs),
        "config": {name: value for name, value in config.to_dict().items() if name not in OF_THE_MACHINE},
    }  # fmt: skip


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
    """Mean and deviation over seeds, as lines of Markdown. confidence: expected calibration error on test."""
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for row in results:
        sentences = f"{row['sentences']:,}" if row["sentences"] else "all"
        groups[(row["set"], sentences, row["variant"], row["bilm"], row["weights"], " ".join(row["options"]))].append(row)
    yield "| set | sentences | variant | biLM or text | digest | options | seeds | dev F1 | test F1 | confidence | minutes |"
    yield "|---|---:|---|---|---|---|---:|---:|---:|---:|---:|"
    for names, runs in groups.items():
        figures = [_mean([100 * run[name] for run in runs if name in run]) for name in ("dev_f1", "test_f1")]
        figures.append(_mean([run["test_calibration_error"] for run in runs if "test_calibration_error" in run], 3))
        minutes = statistics.mean(run["seconds"] for run in runs) / 60
        yield f"| {' | '.join(names)} | {len(runs)} | {' | '.join(figures)} | {minutes:.1f} |"


def _mean(values: list[float], digits: int = 2) -> str:
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="needed unless --show is given")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="folders of DIR; all when not given")
    parser.add_argument("--variants", nargs="+", default=["default"], choices=[*VARIANTS, CRF, *PEERS], metavar="NAME",
                        help=f"of: {', '.join([*VARIANTS, CRF, *PEERS])}. Default: default.")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument("--sentences", type=int, metavar="N", help="the first N training sentences alone")
    parser.add_argument("--elmo", default=TrainConfig.elmo, metavar="WEIGHTS", help="the bundled biLM when not given")
    parser.add_argument("--results", type=Path, default=Path("ner_quality.jsonl"), metavar="FILE")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=JSON", help="of TrainConfig, for all rows")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="scripts of the other tools")
    for name in PEERS:
        parser.add_argument(f"--{name.lower()}", default=sys.executable, metavar="PYTHON", help=f"a Python that has {name}")
    parser.add_argument("--raw", nargs="+", default=[], metavar="FILE", help="raw text for the other tools, tokenised, a "
                        "sentence a line; patterns too")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="print the table of FILE and run nothing")
    args = parser.parse_args(arguments)
    if args.show:
        return args
    if args.data is None or not args.data.is_dir():
        raise InputError(f"--data must be a directory with a folder a set. Received: {args.data}.")
    if args.peers is None and set(args.variants) & set(PEERS):
        raise InputError(f"{' and '.join(PEERS)} are run by the scripts of --peers DIR. Received: {args.peers}.")
    args.raw = find_files(args.raw) if args.raw else []
    args.sets = args.sets or sorted(path.parent.name for path in args.data.glob("*/train.*"))
    return args


def main(args: argparse.Namespace) -> None:
    if not args.show:
        measure(args)
    print("\n".join(table(finished(args.results))))


if __name__ == "__main__":
    sys.exit(run_command("ner_quality", lambda: main(parse())))
