"""A job from beginning to end: find the input, skip what is done, have the rest cut and tagged."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biLM.errors import InputError
from ner_elmo.scaling.options import ScaleOptions
from ner_elmo.scaling.pieces import find_files
from ner_elmo.scaling.places import Place
from ner_elmo.scaling.pool import Job, ray_started, work
from ner_elmo.scaling.shards import Output, fingerprint
from ner_elmo.scaling.worker import Counts, Worker

Show = Callable[[int, int, int], None]  # bytes of the input done, of all input, tokens tagged in this run


@dataclass(frozen=True)
class Summary:
    """What a run did. skipped: shards that were there already; seconds: with the start of Ray and loading the model."""

    files: int
    shards: int
    skipped: int
    counts: Counts
    seconds: float


def scale(model: Path, source: str, target: str, options: ScaleOptions, n_cores: int, show: Show) -> Summary:
    """Tags `source` into `target`; goes on where a run before was cut off. n_cores: of this machine."""
    begin = time.monotonic()
    place, output = Place.of(source), Output(Place.of(target))
    if f"{output.place.path}/".startswith(f"{place.path}/"):
        raise InputError(f"{output.place.name}: must not be inside of the input, {place.name}. Name another OUTPUT.")
    files = find_files(place)
    with output.held():
        settings = {"field": options.field, "min_confidence": options.min_confidence}
        output.begin({"input": place.name if "://" in source else place.path, "model": fingerprint(model)} | settings)
        uncut, waiting, done = output.pieces(files)
        jobs: deque[Job] = deque([*(("cut", file) for file in uncut), *(("tag", piece) for piece in waiting)])
        n_bytes, n_all = sum(piece.size for piece in done), sum(file.size for file in files)
        counts, n_shards = Counts(), 0
        if jobs:
            with ray_started(options.address, *_resources(options, n_cores)) as ray:
                start, n_actors = _starter(ray, model, output, options)
                for (method, argument), result in work(ray, start, n_actors, jobs):
                    if method == "cut":
                        jobs.extend(("tag", piece) for piece in result)
                    else:
                        counts, n_shards, n_bytes = counts + result, n_shards + 1, n_bytes + argument.size
                    show(n_bytes, n_all, counts.tokens)
        output.clean()
    return Summary(len(files), n_shards, len(done), counts, time.monotonic() - begin)


def _resources(options: ScaleOptions, n_cores: int) -> tuple[int, float]:
    """Cores and GPUs that a Ray of our own is told to have: as many as the actors need."""
    n_actors = options.actors or max(1, n_cores // options.cpus)
    return n_actors * options.cpus, n_actors * options.gpus


def _starter(ray: Any, model: Path, output: Output, options: ScaleOptions) -> tuple[Callable[[], Any], int]:
    """What makes an actor, and how many of them there shall be."""
    actor = ray.remote(Worker).options(num_cpus=options.cpus, num_gpus=options.gpus, max_restarts=0)
    there = ray.cluster_resources()
    fit = there.get("CPU", 0) // options.cpus
    if options.gpus:
        fit = min(fit, there.get("GPU", 0) // options.gpus)
    n_actors = options.actors or int(fit)
    if not n_actors:
        raise InputError(f"no node has {options.cpus} cores and {options.gpus:g} GPUs for an actor. Received: {there}.")
    return lambda: actor.remote(str(model.absolute()), output, options), n_actors
