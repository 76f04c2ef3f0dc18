"""Ray, and actors that take jobs from a queue: one that is lost loses nothing but the time of its last job."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from biLM.errors import InputError, Stopped

MAX_DEATHS = 4  # of actors at one job; machines are taken away now and then, but hardly so often at the same piece
OBJECT_STORE_BYTES = 100 * 2**20  # pieces are read and written by actors: little goes through it
Job = tuple[str, Any]  # name of a method, its argument
LOAD = "load"


@contextmanager
def ray_started(address: str | None, cpus: int, gpus: float) -> Iterator[Any]:
    """Gives the module `ray`: on this machine alone, or joined to a cluster.

    SIGTERM raises Stopped meanwhile. Raises InputError where the cluster cannot be joined.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:  # Ray listens on all interfaces: nobody without this token may use it
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if address is None:
        alone: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "object_store_memory": OBJECT_STORE_BYTES}
        ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **alone, **quiet)
    else:
        try:
            ray.init(address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            says = " ".join(str(error).split())
            raise InputError(f"{address}: cannot join this Ray cluster: {says}") from error
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with redirect_stdout(sys.stderr):  # where Ray says that a node is gone
            yield ray
    finally:
        signal.signal(signal.SIGTERM, before)
        ray.shutdown()


def _stop(number: int, frame: Any) -> None:
    raise Stopped("stopped. The same command goes on from here.")


def work(ray: Any, start: Callable[[], Any], n_actors: int, jobs: deque[Job]) -> Iterator[tuple[Job, Any]]:
    """Yields each job with its result when it is done. `jobs` may grow meanwhile.

    start: makes an actor. One that dies is replaced, as soon as there is room for it, and its job done by another.
    Raises: what a job raises, and InputError for a job at which several actors died.
    """
    deaths: Counter[str] = Counter()
    idle: list[Any] = []
    busy = _loading([start() for _ in range(n_actors)])
    while jobs or any(method != LOAD for _, (method, _) in busy.values()):
        while jobs and idle:
            actor, job = idle.pop(), jobs.popleft()
            busy[getattr(actor, job[0]).remote(job[1])] = actor, job
        (ready,), _ = ray.wait(list(busy))
        actor, job = busy.pop(ready)
        try:
            result = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            _count_death(deaths, job, error)
            busy |= _loading([start()])
            if job[0] != LOAD:
                jobs.appendleft(job)
            continue
        idle.append(actor)
        if job[0] == LOAD:
            deaths.pop(LOAD, None)
        else:
            yield job, result


def _loading(actors: list[Any]) -> dict[Any, tuple[Any, Job]]:
    return {actor.load.remote(): (actor, (LOAD, "the model")) for actor in actors}


def _count_death(deaths: Counter[str], job: Job, error: Exception) -> None:
    method, argument = job
    key = LOAD if method == LOAD else f"{method} {argument}"
    deaths[key] += 1
    if deaths[key] >= MAX_DEATHS:
        says = " ".join(str(error).split())[:300]
        raise InputError(f"{argument}: {MAX_DEATHS} actors died at it. Is there memory enough? {says}") from error
