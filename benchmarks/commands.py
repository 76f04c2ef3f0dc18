"""Measurements of whole commands, each in processes of its own; `benchmarks.once` runs them by name."""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def serving(args: argparse.Namespace) -> dict:
    """`python -m ner_elmo serve` on loopback, so many sentences a request, each client one request at a time. p50_ms,
    p95_ms: from request to answer, of all requests; client_cores: what the clients, on the same machine, take of it."""
    import numpy as np

    from benchmarks.clients import Load, serving_process
    from ner_elmo.readers import read_sentences as read_annotated

    text = [sentence.tokens for sentence in read_annotated([args.annotated]) if 5 <= len(sentence.tokens) <= 50]
    text = (text * (1 + args.limit // len(text)))[: args.limit]
    sentences = [" ".join(tokens) for tokens in text]
    requests = [" ".join(sentences[start : start + args.sentences]) for start in range(0, len(text), args.sentences)]
    with serving_process("--model", args.model, "--batch-tokens", str(args.batch_tokens)) as port:
        load = Load(port, args.clients)
        load.run(requests[: len(requests) // 4])
        before = time.process_time()
        seconds, milliseconds = load.run(requests)
        taken = time.process_time() - before
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return {
        "tokens_per_second": sum(map(len, text)) / seconds,
        "requests_per_second": len(requests) / seconds,
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "client_cores": taken / seconds,
    }


def scale(args: argparse.Namespace) -> dict:
    """`python -m ner_elmo scale` on this machine. seconds: all of it, Ray and loading included; load_seconds: of an actor;
    cut_mb_per_second: a text of at least 100 MB, which the page cache holds. peak_mb: this process, an actor without Ray."""
    from ner_elmo.scaling.options import ScaleOptions
    from ner_elmo.scaling.pieces import cut, find_files
    from ner_elmo.scaling.places import Place
    from ner_elmo.scaling.shards import Output
    from ner_elmo.scaling.worker import Worker

    options = ["--actors", args.actors, "--cpus", args.cpus, "--shard-bytes", args.shard_bytes]
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, "-m", "ner_elmo", "scale", args.model, args.text, f"{folder}/out", *map(str, options)]
        says = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        (file,) = find_files(Place.of(args.text))
        begin = time.perf_counter()
        worker = Worker(args.model, Output(Place.of(f"{folder}/alone")), ScaleOptions(cpus=args.cpus))
        worker.load()
        loading = time.perf_counter() - begin
        worker.tag(cut(file, args.shard_bytes)[0])
        text = Path(args.text).read_bytes()
        Path(folder, "long.txt").write_bytes(text * (1 + 10**8 // len(text)))
        (file,) = find_files(Place.of(f"{folder}/long.txt"))
        begin = time.perf_counter()
        cut(file, 2**20)
        cutting = file.size / 10**6 / (time.perf_counter() - begin)
    n_tokens, seconds = (int(re.search(rf"([\d,]+) {unit}", says)[1].replace(",", "")) for unit in ("tokens", "s,"))
    return {
        "tokens_per_second": n_tokens / seconds,
        "seconds": seconds,
        "load_seconds": loading,
        "cut_mb_per_second": cutting,
    }


def data(args: argparse.Namespace) -> dict:
    """`python -m ner_elmo check` or `convert` to JSONL of an annotated file, ten times over, on one core, start included."""
    from ner_elmo.readers import read_sentences as read_annotated

    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    n_tokens = 10 * sum(len(sentence.tokens) for sentence in read_annotated([args.annotated]))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"long{Path(args.annotated).suffix}"
        source.write_bytes((Path(args.annotated).read_bytes().rstrip() + b"\n\n") * 10)
        call = {"check": ["check", source], "convert": ["convert", source, Path(folder) / "long.jsonl"]}[args.what]
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "ner_elmo", *map(str, call)], capture_output=True, check=False)
        seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return {"tokens_per_second": n_tokens / seconds, "seconds": seconds}


def command(args: argparse.Namespace) -> dict:
    """A whole command: seconds, and its peak memory."""
    begin = time.perf_counter()
    subprocess.run(args.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return {"tokens_per_second": 1 / seconds, "seconds": seconds, "peak_mb": peak}
