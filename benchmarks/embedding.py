"""Tokens a second of `BiLM.embed`, side by side with another tool's script, in turn, medians.

    python -m benchmarks.embedding WEIGHTS --sentences FILE[.gz] [--limit N] [--batch-size N] [--rounds N]
        [--peer "PYTHON PEER_SCRIPT embed --weights DIR --sentences FILE --limit N --batch N"]

The peer's command must print a JSON line with `tokens_per_second`. Each round runs both in processes of their own; loading
and the first batches, which compile, are not counted on either side. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time

from biLM.corpus import read_sentences


def measure(args: argparse.Namespace) -> float:
    from biLM.startup import start_keras

    start_keras()
    from biLM import load_bilm

    sentences = [sentence for sentence in read_sentences([args.sentences]) if 3 <= len(sentence) <= 60][: args.limit]
    bilm = load_bilm(args.weights)
    for start in (0, args.batch_size):
        bilm.embed(sentences[start : start + args.batch_size], args.batch_size)
    begin = time.perf_counter()
    bilm.embed(sentences, args.batch_size)
    return sum(map(len, sentences)) / (time.perf_counter() - begin)


def run(command: list[str]) -> float:
    found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(found.stdout.strip().splitlines()[-1])["tokens_per_second"]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--sentences", required=True)
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", help="command of the other tool")
    parser.add_argument("--once", action="store_true", help="measure here, once: what the rounds run")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    if args.once:
        print(json.dumps({"tokens_per_second": measure(args)}))
        return
    ours_command = [
        sys.executable, "-m", "benchmarks.embedding", args.weights, "--sentences", args.sentences, "--limit",
        str(args.limit), "--batch-size", str(args.batch_size), "--once",
    ]  # fmt: skip
    ours, peer = [], []
    for number in range(args.rounds):
        ours.append(run(ours_command))
        if args.peer:
            peer.append(run(shlex.split(args.peer)))
        print(f"round {number + 1}: {ours[-1]:.0f} {peer[-1] if peer else ''}", file=sys.stderr)
    result = {"weights": args.weights, "batch_size": args.batch_size, "limit": args.limit, "rounds": args.rounds}
    result["tokens_per_second"] = round(statistics.median(ours), 1)
    if peer:
        result["peer_tokens_per_second"] = round(statistics.median(peer), 1)
        result["ratio"] = round(statistics.median(a / b for a, b in zip(ours, peer, strict=True)), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
