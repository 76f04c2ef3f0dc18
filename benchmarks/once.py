"""One measurement in a process of its own: `python -m benchmarks.once NAME ...` prints one JSON line.

Loading and the first batches, which compile, are not counted. Every line holds `tokens_per_second` (a second of training,
embedding or tagging), `peak_mb`, the process's peak memory, and what is said beside each function.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.commands import command, data, scale, serving
from benchmarks.machine import encoder_gflop, lstm_gflop, matmul_gflops, softmax_gflop
from biLM.corpus import read_sentences
from biLM.startup import start_keras


def weights(args: argparse.Namespace) -> dict:
    """Writes a biLM of a published shape with random weights to DIR."""
    from biLM import BiLM, BiLMOptions, save_bilm
    from biLM.presets import PRESETS

    bilm = BiLM(BiLMOptions.from_dict(PRESETS[args.shape]))
    bilm.warm_up()
    save_bilm(bilm, args.out)
    return {}


def embedding(args: argparse.Namespace) -> dict:
    """`BiLM.embed` of a text. tokens: distinct ones encoded a second. lstm_share: arithmetic that the LSTMs need for the
    text's tokens, without padding, a second, over the machine's rate in matrix products. host_share: of the time that is not
    spent in the network's calls."""
    from biLM import load_bilm

    text = [sentence for sentence in read_sentences([args.text]) if 3 <= len(sentence) <= 60][: args.limit]
    bilm = load_bilm(args.weights)
    for part in (8, 7, 6):  # of all sizes: the third is compiled for any
        bilm.embed(text[: max(1, len(text) // part)])
    begin = time.perf_counter()
    bilm.embed(text)
    seconds = time.perf_counter() - begin
    table, distinct = bilm.token_table(), list({token for sentence in text for token in sentence})
    begin = time.perf_counter()
    table.add(distinct)
    encoding = time.perf_counter() - begin
    call, calls = bilm.predict_on_batch, []

    def timed(inputs):
        begin = time.perf_counter()
        outputs = call(inputs)
        calls.append(time.perf_counter() - begin)
        return outputs

    bilm.predict_on_batch = timed
    begin = time.perf_counter()
    for _ in bilm.embed_in_batches(text, table=table):
        pass
    reading = time.perf_counter() - begin
    n_tokens = sum(map(len, text))
    return {
        "tokens_per_second": n_tokens / seconds,
        "distinct": len(distinct) / n_tokens,
        "encoded_per_second": len(distinct) / encoding,
        "lstm_share": lstm_gflop(bilm.options, n_tokens) / reading / matmul_gflops(),
        "host_share": 1 - sum(calls) / reading,
    }


def training(args: argparse.Namespace) -> dict:
    """Steps of biLM training. share: arithmetic that a step needs (characters of distinct tokens as they are given; three
    passes, forward and two of the gradient) over the machine's rate. batcher: tokens a second of the input alone. loss:
    sampled, nats, mean of the last ten steps. distinct: tokens of a batch over its positions of one direction.
    libraries_mb: memory before there is a model or a text."""
    from biLM.options import BiLMOptions
    from biLM.presets import PRESETS
    from biLM.run import Text, start_run
    from biLM.training import Training
    from biLM.training_options import TrainingOptions

    libraries = _peak_mb()
    settings = TrainingOptions(
        n_negative_samples_batch=args.negatives, max_steps=10**6, learning_rate=0.2, compute_dtype=args.compute_dtype,
        seed=args.seed,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        text = Text([Path(args.text)], vocabulary=_vocabulary(args.text, args.vocabulary))
        start_run(BiLMOptions.from_dict(PRESETS[args.shape]), settings, text, out)
        run = Training(out)
        seconds, losses = [], []
        for _ in range(args.steps):
            begin = time.perf_counter()
            losses.append(run.take_step())
            seconds.append(time.perf_counter() - begin)
        encoder, distinct = [], []
        begin = time.perf_counter()
        for step in range(args.steps):
            batch = next(run.batches)
            groups = run.inputs(batch, step).tensors["characters"]
            distinct.append(len(batch.tokens))
            encoder.append(sum(encoder_gflop(run.options, *group.shape) for group in groups))
        batcher = (time.perf_counter() - begin) / args.steps
    n = settings.batch_size * settings.unroll_steps
    step_seconds = statistics.median(seconds[3:])
    needed = lstm_gflop(run.options, n) + softmax_gflop(run.options, n, args.negatives) + statistics.mean(encoder)
    return {
        "tokens_per_second": n / step_seconds,
        "share": 3 * needed / step_seconds / matmul_gflops(),
        "batcher": n / batcher,
        "loss": statistics.mean(losses[-10:]),
        "distinct": statistics.mean(distinct) / n,
        "vocabulary": len(run.vocabulary),
        "libraries_mb": libraries,
    }


def _vocabulary(text: str, size: int | None):
    """The text's words, the most frequent first, and made-up ones up to a size; None: as the text has it."""
    if size is None:
        return None
    from biLM.vocabulary import Vocabulary
    from biLM.word_counts import WordCounts

    with WordCounts() as counts:
        for sentence in read_sentences([text]):
            counts.add(sentence)
        words = counts.vocabulary(size).words
    return Vocabulary(words + [f"made-up-{k}" for k in range(size - len(words))])


def epoch(args: argparse.Namespace) -> dict:
    """An epoch of tagger training, the second and later ones; with --no-cache the biLM runs in it."""
    from biLM import load_bilm
    from ner_elmo.batching import Features
    from ner_elmo.cache import Cache
    from ner_elmo.config import TrainConfig
    from ner_elmo.readers import read_sentences as read_annotated
    from ner_elmo.readers import types_of
    from ner_elmo.training import train_tagger

    text = (read_annotated([args.annotated]) * (1 + args.limit // 500))[: args.limit]
    bilm, seconds = load_bilm(args.weights), []
    with tempfile.TemporaryDirectory() as folder:
        activations = None
        if not args.no_cache:
            cache = Cache(Path(folder), 10**11)
            sides = (text, text[:10])
            activations = tuple(cache.activations(bilm, [sentence.tokens for sentence in side]) for side in sides)
        config = TrainConfig(epochs=3)
        features = Features.of(config, [sentence.tokens for sentence in text], bilm)
        report = lambda epoch: seconds.append(epoch.seconds)  # noqa: E731
        train_tagger(config, types_of(text), text, text[:10], features, activations, report)
    return {"tokens_per_second": sum(len(sentence.tokens) for sentence in text) / statistics.median(seconds[1:])}


def prediction(args: argparse.Namespace) -> dict:
    """`NerTagger.tag_sentences`, of the whole file where the limit is 0. p50_ms, p95_ms: of one sentence alone."""
    import numpy as np

    from ner_elmo import NerTagger
    from ner_elmo.readers import read_sentences as read_annotated

    text = [sentence.tokens for sentence in read_annotated([args.annotated])]
    text = (text * (1 + args.limit // len(text)))[: args.limit or None]
    tagger = NerTagger.load(args.model)
    for part in (8, 7, 6):
        tagger.tag_sentences(text[: max(1, len(text) // part)])
    begin = time.perf_counter()
    tagger.tag_sentences(text)
    seconds, alone = time.perf_counter() - begin, []
    for sentence in text[:200]:
        begin = time.perf_counter()
        tagger.tag_sentences([sentence])
        alone.append(1000 * (time.perf_counter() - begin))
    p50, p95 = np.percentile(alone, [50, 95])
    return {"tokens_per_second": sum(map(len, text)) / seconds, "p50_ms": float(p50), "p95_ms": float(p95)}


def batch(args: argparse.Namespace) -> dict:
    """Where the time of small batches goes: so many sentences at a time, as they come. Milliseconds a batch, medians of
    five passes over the text."""
    from ner_elmo import NerTagger
    from ner_elmo.readers import read_sentences as read_annotated

    text = [sentence.tokens for sentence in read_annotated([args.annotated]) if 5 <= len(sentence.tokens) <= 50][
        : args.limit
    ]
    batches = [text[start : start + args.batch_size] for start in range(0, len(text), args.batch_size)]
    tagger = NerTagger.load(args.model)
    inputs = [tagger.features.batch(sentences) for sentences in batches]
    emissions = [tagger.emissions(sentences) for sentences in batches]

    def milliseconds(work) -> float:
        passes = []
        for _ in range(6):  # the first meets new shapes
            begin = time.perf_counter()
            for number in range(len(batches)):
                work(number)
            passes.append(1000 * (time.perf_counter() - begin) / len(batches))
        return statistics.median(passes[1:])

    whole = milliseconds(lambda number: tagger.tag_sentences(batches[number]))
    return {
        "tokens_per_second": 1000 * sum(map(len, text)) / len(batches) / whole,
        "tokens": sum(map(len, text)) / len(batches),
        "longest": statistics.mean(max(map(len, sentences)) for sentences in batches),
        "batch_ms": whole,
        "bilm_ms": milliseconds(lambda number: tagger.features.batch(batches[number])),
        "tagger_ms": milliseconds(lambda number: tagger.tagger.predict_on_batch(inputs[number])),
        "decode_ms": milliseconds(lambda number: tagger.decode(emissions[number], len(batches[number]))),
    }


def sentence(args: argparse.Namespace) -> dict:
    """One sentence of so many tokens, which nothing can cut. seconds: from text to entities, compiling included."""
    from ner_elmo import NerTagger

    tokens = [f"Lund{k % 1000}" for k in range(args.limit)]
    tagger = NerTagger.load(args.model)
    begin = time.perf_counter()
    tagger.tag_sentences([tokens])
    seconds = time.perf_counter() - begin
    return {"tokens_per_second": args.limit / seconds, "seconds": seconds}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = parser.add_subparsers(dest="name", required=True)
    options = {
        weights: ("--shape", "--out"),
        embedding: ("--weights", "--text", "--limit"),
        training: ("--shape", "--text", "--steps", "--negatives", "--vocabulary", "--seed"),
        epoch: ("--weights", "--annotated", "--limit"),
        prediction: ("--model", "--annotated", "--limit"),
        batch: ("--model", "--annotated", "--limit", "--batch-size"),
        serving: ("--model", "--annotated", "--limit", "--clients", "--sentences", "--batch-tokens"),
        sentence: ("--model", "--limit"),
        data: ("--annotated", "--what"),
        scale: ("--model", "--text", "--actors", "--cpus", "--shard-bytes"),
    }
    numbers = {"--limit": 1000, "--batch-size": 64, "--steps": 15, "--negatives": 2048, "--vocabulary": None, "--seed": 0}
    numbers |= {"--clients": 1, "--sentences": 1, "--batch-tokens": 8192}
    numbers |= {"--actors": 2, "--cpus": 1, "--shard-bytes": 200_000}
    for measure, flags in options.items():
        one = names.add_parser(measure.__name__, help=(measure.__doc__ or "").partition(".")[0])
        for flag in flags:
            is_number = flag in numbers
            one.add_argument(
                flag, type=int if is_number else str, default=numbers.get(flag), required=not is_number, metavar="X"
            )
        one.set_defaults(measure=measure)
    names.choices["epoch"].add_argument("--no-cache", action="store_true")
    names.choices["training"].add_argument("--compute-dtype", default="float32")
    one = names.add_parser("command", help=command.__doc__)
    one.add_argument("command", nargs=argparse.REMAINDER)
    one.set_defaults(measure=command)
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    if args.measure not in (command, data, serving, scale):  # they start processes that do
        start_keras()
    found = args.measure(args)
    print(json.dumps({"peak_mb": _peak_mb()} | found))


def _peak_mb() -> int:
    """Of this process until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
