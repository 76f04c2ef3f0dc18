"""Measures the project, side by side with other tools where they are installed, and prints a table.

    python -m benchmarks [--rows NAME ...] [--rounds 5] [--json FILE] [--plot FILE.png]
        [--peers DIR] [--simple-elmo PYTHON] [--spacy PYTHON] [--crf PYTHON]

Each row compares commands that run in turn, round after round, in processes of their own (`python -m benchmarks.once`); a
number is the median over the rounds, and a ratio the median of the rounds' ratios: the machine may be shared and its speed
drifts. --peers is the folder of the other tools' scripts, which print a JSON line too, and PYTHON one that can run them.
The text is the sample corpus, repeated, unless --text (tokenised, a sentence a line) and --annotated (a folder of train.*,
dev.* and test.* files) name others. All rows take hours: those that FILE holds are not measured again.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.machine import description, matmul_gflops
from biLM.errors import run_command
from biLM.startup import start_keras
from ner_elmo.readers import read_sentences

PROJECT = Path(__file__).resolve().parent.parent
SHAPES = {"small": (1024, 1024), "medium": (1024, 512), "original": (2048, 256)}  # sentences embedded by us and by others
RATES = ("tokens_per_second", "predict_words_per_s")  # by any of these names


@dataclass(frozen=True)
class Row:
    """Commands to compare: the first is ours. rounds: where not as many as asked for."""

    name: str
    commands: dict[str, list[str]]
    rounds: int | None = None


class Place:
    """A folder with what the measurements need, each made when it is first asked for."""

    def __init__(self, folder: Path, args: argparse.Namespace):
        self.folder, self.args = folder, args

    def once(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "benchmarks.once", *map(str, arguments)]

    def weights(self, shape: str) -> Path:
        out = self.folder / shape
        if not out.is_dir():
            _run(self.once("weights", "--shape", shape, "--out", out))
        return out

    def text(self) -> Path:
        """Tokenised sentences, a line each."""
        if self.args.text:
            return Path(self.args.text)
        path = self.folder / "text.txt"
        if not path.is_file():
            files = [str(PROJECT / "data" / "sample" / f"{name}.conll") for name in ("train", "dev", "test")]
            lines = "".join(" ".join(sentence.tokens) + "\n" for sentence in read_sentences(files))
            path.write_text(lines * 10, encoding="utf-8")
        return path

    def annotated(self, name: str) -> Path:
        return next(Path(self.args.annotated).glob(f"{name}.*"))

    def model(self) -> Path:
        """A tagger on the bundled biLM, trained on the sample for three epochs."""
        out = self.folder / "model"
        if not out.is_dir():
            _run([sys.executable, "train_ner.py", "--epochs", "3", "--output", str(out), "--no-cache"])
        return out

    def lines(self, megabytes: int) -> Path:
        path = self.folder / f"{megabytes}.txt"
        if not path.is_file():
            text = self.text().read_text(encoding="utf-8")
            path.write_text((text * (1 + megabytes * 10**6 // len(text)))[: megabytes * 10**6], encoding="utf-8")
        return path

    def simple_elmo(self, *arguments: object) -> dict[str, list[str]]:
        if not (self.args.simple_elmo and self.args.peers):
            return {}
        script = Path(self.args.peers) / "simple_elmo_speed.py"
        return {"simple_elmo": [self.args.simple_elmo, str(script), *map(str, arguments)]}

    def tagger(self, name: str, script: str, *arguments: str) -> dict[str, list[str]]:
        """Another tool's tagger, trained and run."""
        python = getattr(self.args, name)
        if not (python and self.args.peers):
            return {}
        data = [argument for side in ("train", "dev", "test") for argument in (f"--{side}", str(self.annotated(side)))]
        return {name: [python, str(Path(self.args.peers) / script), *data, *arguments]}


def embedding(place: Place, shape: str) -> Row:
    """By us as many as make full batches, by others as many as take them about a minute: their batches are of 32 and 64."""
    weights, text, (limit, theirs_limit) = place.weights(shape), place.text(), SHAPES[shape]
    ours = place.once("embedding", "--weights", weights, "--text", text, "--limit", limit)
    row = {"ours": ours}
    for batch in (32, 64):
        size = ("--limit", theirs_limit, "--batch", batch)
        theirs = place.simple_elmo("embed", "--weights", weights, "--sentences", text, *size)
        row |= {f"{name}, batch {batch}": command for name, command in theirs.items()}
    return Row(f"embedding, {shape}", row)


def embedding_growth(place: Place) -> Row:
    command = ("embedding", "--weights", place.weights("small"), "--text", place.text(), "--limit")
    return Row("embedding, small, by sentences", {str(n): place.once(*command, n) for n in (10_000, 1_000)})


def training(place: Place) -> Row:
    ours = place.once("training", "--shape", "small", "--text", place.text())
    return Row("training a biLM, small", {"ours": ours} | place.simple_elmo("train", "--sentences", place.text()))


def training_loss(place: Place) -> Row:
    """100 batches of one size from the same text, several times in one round, since chance decides the last digits.
    loss: sampled, nats, of the last ten of them."""
    steps = ("--steps", 100)
    ours = place.once("training", "--shape", "small", "--text", place.text(), *steps, "--seed")
    theirs = place.simple_elmo("train", "--sentences", place.text(), *steps)
    row = {f"ours, seed {seed}": [*ours, str(seed)] for seed in range(4)}
    for name, (python, *rest) in theirs.items():
        row |= {f"{name}, run {run}": [python, "benchmarks/simple_elmo_loss.py", *rest] for run in range(1, 5)}
    return Row("training a biLM, small, 100 steps", row, rounds=1)


def training_growth(place: Place) -> Row:
    command = ("training", "--shape", "small", "--text", place.text(), "--vocabulary")
    return Row("training a biLM, by vocabulary", {str(n): place.once(*command, n) for n in (800_000, 10_000)})


def epoch(place: Place, shape: str) -> Row:
    weights = PROJECT / "data" / "bilm" if shape == "bundled" else place.weights(shape)
    command = ("epoch", "--weights", weights, "--annotated", place.annotated("train"), "--limit", 500)
    return Row(f"an epoch of tagger training, {shape}", {
        "activations cached": place.once(*command), "computed": place.once(*command, "--no-cache"),
    })  # fmt: skip


def epoch_growth(place: Place) -> Row:
    command = ("epoch", "--weights", PROJECT / "data" / "bilm", "--annotated", place.annotated("train"), "--limit")
    return Row("an epoch of tagger training, by sentences", {str(n): place.once(*command, n) for n in (10_000, 1_000)})


def prediction(place: Place) -> Row:
    ours = place.once("prediction", "--model", place.model(), "--annotated", place.annotated("test"), "--limit", 0)
    others = place.tagger("spacy", "spacy_peer.py", "--max-steps", "300", "--limit", "3000")
    return Row("prediction", {"ours": ours} | others | place.tagger("crf", "crfsuite_peer.py"))


def prediction_growth(place: Place) -> Row:
    command = ("prediction", "--model", place.model(), "--annotated", place.annotated("test"), "--limit")
    return Row("prediction, by sentences", {str(n): place.once(*command, n) for n in (10_000, 1_000)})


def serving(place: Place) -> Row:
    """Clients with a paragraph or a sentence a request; each sentence tagged alone; one client; no server."""
    text = ("--model", place.model(), "--annotated", place.annotated("test"), "--limit")
    return Row("serve", {
        "16 clients, 32 sentences a request": place.once("serving", *text, 4800, "--clients", 16, "--sentences", 32),
        "16 clients, 8 sentences a request": place.once("serving", *text, 2400, "--clients", 16, "--sentences", 8),
        "16 clients, a sentence a request": place.once("serving", *text, 600, "--clients", 16),
        "16 clients, one by one": place.once("serving", *text, 600, "--clients", 16, "--batch-tokens", 1),
        "1 client": place.once("serving", *text, 600, "--clients", 1),
        "the same sentences without a server": place.once("prediction", *text, 2400),
    })  # fmt: skip


def sentence(place: Place) -> Row:
    command = ("sentence", "--model", place.model(), "--limit")
    return Row("one sentence, by tokens", {str(n): place.once(*command, n) for n in (20_000, 2_000)})


def data(place: Place) -> Row:
    commands = {
        what: place.once("data", "--annotated", place.annotated("train"), "--what", what) for what in ("check", "convert")
    }
    return Row("an annotated file, one core", commands)


def scale(place: Place) -> Row:
    """An actor a core, and one actor on all of them."""
    n_cores = len(os.sched_getaffinity(0))
    command = ("scale", "--model", place.model(), "--text", place.text())
    return Row("scale", {
        "an actor a core": place.once(*command, "--actors", n_cores, "--cpus", 1),
        "one actor": place.once(*command, "--actors", 1, "--cpus", n_cores),
    })  # fmt: skip


def memory(place: Place) -> Row:
    sizes = (place.args.megabytes, 1)
    command = ("command", sys.executable, "predict.py", "--model", place.model())
    return Row("predict.py, by MB of text", {str(n): place.once(*command, place.lines(n)) for n in sizes})


def start(place: Place) -> Row:
    command = ("command", sys.executable, "predict.py")
    line = ("--model", place.model(), "--text", "Ada Lund left Turin on Monday.")
    return Row(
        "starting predict.py", {"first result": place.once(*command, *line), "--help": place.once(*command, "--help")}
    )


ROWS: dict[str, Callable[[Place], Row]] = {
    **{f"embedding.{shape}": lambda place, shape=shape: embedding(place, shape) for shape in SHAPES},  # type: ignore[misc]
    "embedding.growth": embedding_growth,
    "training": training,
    "training.loss": training_loss,
    "training.growth": training_growth,
    **{f"epoch.{shape}": lambda place, shape=shape: epoch(place, shape) for shape in ("bundled", "original")},  # type: ignore[misc]
    "epoch.growth": epoch_growth,
    "prediction": prediction,
    "prediction.growth": prediction_growth,
    "serving": serving,
    "sentence": sentence,
    "data": data,
    **({"scale": scale} if find_spec("ray") else {}),  # an extra
    "memory": memory,
    "start": start,
}


def measure(row: Row, rounds: int) -> dict:
    """Medians of all numbers that each command prints, and of the ratios of the first one's rate to each other's."""
    rounds = row.rounds or rounds
    found: dict[str, list[dict]] = {name: [] for name in row.commands}
    for number in range(rounds):
        for name, command in row.commands.items():
            found[name].append(_run(command))
            rate = _short(_rate(found[name][-1]))
            print(f"{row.name}, round {number + 1} of {rounds}, {name}: {rate}", file=sys.stderr)
    result: dict = {"name": row.name, "medians": {}, "ratios": {}}
    for name, rows in found.items():
        numbers = [key for key, value in rows[0].items() if isinstance(value, int | float)]
        result["medians"][name] = {key: statistics.median(one[key] for one in rows) for key in numbers}
    first, *others = found
    for other in others:
        pairs = zip(found[first], found[other], strict=True)
        result["ratios"][other] = statistics.median(_rate(one) / _rate(two) for one, two in pairs)
    return result


def _run(command: list[str]) -> dict:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr[-2000:]}")
    last = done.stdout.strip().splitlines()[-1]
    return json.loads(last) if last.startswith("{") else {}


def _rate(found: dict) -> float:
    return next(found[name] for name in RATES if name in found)


def table(results: list[dict]) -> Iterator[str]:
    """The results as lines of Markdown."""
    yield "| what | command | a second | ratio | |"
    yield "|---|---|---:|---:|---|"
    for result in results:
        for name, numbers in result["medians"].items():
            ratio = f"{result['ratios'][name]:.2f}" if name in result["ratios"] else ""
            rest = {key: value for key, value in numbers.items() if key not in RATES}
            says = ", ".join(f"{key} {_short(value)}" for key, value in rest.items())
            yield f"| {result['name']} | {name} | {_short(_rate(numbers))} | {ratio} | {says} |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def plot(results: list[dict], path: str) -> None:
    """A bar for each ratio."""
    from matplotlib.figure import Figure

    bars = [(f"{result['name']}: {name}", ratio) for result in results for name, ratio in result["ratios"].items()]
    figure = Figure(figsize=(8, 0.4 * len(bars) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh([name for name, _ in bars][::-1], [ratio for _, ratio in bars][::-1])
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlabel("rate of the row's first command, as a multiple of the one named")
    figure.savefig(path)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="NAME", help=f"patterns of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--json", metavar="FILE", help="all numbers; rows that are there stay")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the ratios (matplotlib)")
    parser.add_argument("--peers", metavar="DIR", help="scripts of the other tools")
    for name, runs in (("simple-elmo", "simple_elmo and tf-keras"), ("spacy", "spaCy"), ("crf", "sklearn-crfsuite")):
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"a Python that has {runs}")
    parser.add_argument("--text", metavar="FILE", help="tokenised text, a sentence a line, plain or .gz")
    parser.add_argument("--annotated", metavar="DIR", default=str(PROJECT / "data" / "sample"))
    parser.add_argument("--megabytes", type=int, default=20, metavar="N", help="of the larger text that predict.py tags")
    return parser.parse_args(arguments)


def main(args: argparse.Namespace) -> None:
    chosen = [name for name in ROWS if any(fnmatch.fnmatch(name, pattern) for pattern in args.rows)]
    file = Path(args.json) if args.json else None
    results = json.loads(file.read_text(encoding="utf-8")) if file and file.is_file() else {}
    start_keras()
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            if name in results:
                continue
            here = {"machine": description(), "matmul_gflops": matmul_gflops()}
            results[name] = here | measure(ROWS[name](Place(Path(folder), args)), args.rounds)
            if file:
                file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    shown = [results[name] for name in ROWS if name in results]
    for machine in dict.fromkeys(result["machine"] for result in shown):
        rates = [result["matmul_gflops"] for result in shown if result["machine"] == machine]
        print(f"{machine}; matrix products: {min(rates):,.0f} to {max(rates):,.0f} GFLOP/s")
    print("\n" + "\n".join(table(shown)))
    if args.plot:
        plot(shown, args.plot)


if __name__ == "__main__":
    sys.exit(run_command("benchmarks", lambda: main(parse())))
