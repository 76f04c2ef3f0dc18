"""Tokens a second of biLM training, side by side with another tool's script, in turn, medians; and where the time goes.

    python -m benchmarks.bilm_training --sentences FILE[.gz] [--dim 1024] [--projection 128] [--negatives 2048]
        [--steps 12] [--rounds 5] [--peer "PYTHON PEER_SCRIPT train --sentences FILE ... --steps N"]
    python -m benchmarks.bilm_training --sentences FILE[.gz] --vocabularies 10000 800000

Each round runs both in processes of their own; a step's time is the median after the first three, which compile. Prints
one JSON line. `gflops` counts the multiply-adds that the step needs (characters of distinct tokens as they are given;
three passes: forward and two of the gradient); `share` is that over the machine's rate in a product of
2,048 x 2,048 matrices, measured in the same process. `batcher` is the rate of the input alone, `peak_mb` the process's
peak memory, `loss` the sampled loss of the last step in nats.

The second form compares the time of a step with small and large vocabularies (the text's words, then made-up ones).
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(args: argparse.Namespace) -> dict:
    from biLM.startup import start_keras

    start_keras()
    from biLM.options import BiLMOptions
    from biLM.presets import PRESETS
    from biLM.run import start_run
    from biLM.training import Training
    from biLM.training_options import TrainingOptions
    from biLM.vocabulary import Vocabulary
    from biLM.word_counts import WordCounts

    raw = PRESETS[args.preset]
    raw = raw | {"lstm": raw["lstm"] | {"dim": args.dim, "projection_dim": args.projection}}
    settings = TrainingOptions(n_negative_samples_batch=args.negatives, max_steps=10**6, learning_rate=0.2)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(args.sentences)
        vocabulary = None
        if args.vocabulary:
            from biLM.corpus import read_sentences

            with WordCounts() as counts:
                for sentence in read_sentences([source]):
                    counts.add(sentence)
                words = counts.vocabulary(args.vocabulary).words
            vocabulary = Vocabulary(words + [f"made-up-{k}" for k in range(args.vocabulary - len(words))])
        start_run(BiLMOptions.from_dict(raw), settings, [source], [], Path(folder) / "run", vocabulary)
        run = Training(Path(folder) / "run")
        seconds, encoder, loss = [], [], 0.0
        for _ in range(args.steps):
            begin = time.perf_counter()
            loss = run.take_step()
            seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        for step in range(args.steps):
            groups = run.inputs(next(run.batches), step).tensors["characters"]
            encoder.append(sum(encoder_multiply_adds(run.options, *group.shape) for group in groups))
        batcher = (time.perf_counter() - begin) / args.steps
    tokens = settings.batch_size * settings.unroll_steps
    step_seconds = statistics.median(seconds[3:])
    gflop = 2 * 3 * (multiply_adds(run.options, tokens, args.negatives) + statistics.mean(encoder)) / 1e9
    rate = matmul_gflops()
    return {
        "tokens_per_second": round(tokens / step_seconds, 1), "vocabulary": len(run.vocabulary), "loss": round(loss, 3),
        "gflops": round(gflop / step_seconds, 1), "matmul_gflops": round(rate, 1),
        "share": round(gflop / step_seconds / rate, 3), "batcher": round(tokens / batcher),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def multiply_adds(options, tokens: int, negatives: int) -> int:
    """Of the forward pass over a batch: LSTMs and softmax."""
    lstm = options.lstm
    layer = 2 * lstm.projection_dim * 4 * lstm.dim + lstm.dim * lstm.projection_dim
    return options.n_directions * tokens * (lstm.n_layers * layer + negatives * lstm.projection_dim)


def encoder_multiply_adds(options, distinct: int, characters: int) -> int:
    """Of the forward pass of so many distinct tokens, so many characters wide."""
    cnn = options.char_cnn
    windows = sum((characters - width + 1) * width * cnn.embedding_dim * count for width, count in cnn.filters)
    n = cnn.n_filters
    return distinct * (windows + 2 * cnn.n_highway * n * n + n * options.lstm.projection_dim)


def matmul_gflops() -> float:
    import keras
    import numpy as np

    a = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32))
    seconds = []
    for _ in range(12):
        begin = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.matmul(a, a)[0, 0])
        seconds.append(time.perf_counter() - begin)
    return 2 * 2048**3 / statistics.median(seconds) / 1e9


def run(command: list[str]) -> dict:
    found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(found.stdout.strip().splitlines()[-1])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", required=True)
    parser.add_argument("--preset", default="small", help="whose characters. Default: small.")
    for name, default in (("dim", 1024), ("projection", 128), ("negatives", 2048), ("steps", 12), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"Default: {default}.")
    parser.add_argument("--vocabulary", type=int, help="its size; all words of the text when not given")
    parser.add_argument("--vocabularies", type=int, nargs="+", help="sizes to compare")
    parser.add_argument("--peer", help="command of the other tool")
    parser.add_argument("--once", action="store_true", help="measure here, once: what the rounds run")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    if args.once:
        print(json.dumps(measure(args)))
        return
    shared = [
        sys.executable,
        "-m",
        "benchmarks.bilm_training",
        "--sentences",
        args.sentences,
        "--preset",
        args.preset,
        "--once",
    ]
    for name in ("dim", "projection", "negatives", "steps"):
        shared += [f"--{name}", str(getattr(args, name))]
    commands = {"ours": shared}
    if args.vocabularies:
        commands = {str(size): [*shared, "--vocabulary", str(size)] for size in args.vocabularies}
    elif args.peer:
        commands["peer"] = shlex.split(args.peer)
    found: dict[str, list[dict]] = {name: [] for name in commands}
    for number in range(args.rounds):
        for name, command in commands.items():
            found[name].append(run(command))
        print(f"round {number + 1}:", {name: rows[-1] for name, rows in found.items()}, file=sys.stderr)
    first, *others = found
    result: dict = {}
    for name, rows in found.items():
        numbers = [key for key, value in rows[0].items() if not isinstance(value, str)]
        result[name] = {key: statistics.median(row[key] for row in rows) for key in numbers}
    for other in others:
        pairs = zip(found[first], found[other], strict=True)
        ratios = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in pairs]
        result[f"{first} / {other}"] = round(statistics.median(ratios), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
