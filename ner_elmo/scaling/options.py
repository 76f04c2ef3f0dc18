"""`ScaleOptions`: every option of `python -m ner_elmo scale`, once, and its limits. Needs neither Keras nor Ray."""

from __future__ import annotations

from dataclasses import dataclass

from biLM.errors import require
from biLM.flags import option


@dataclass(frozen=True, kw_only=True)
class ScaleOptions:
    """Options of `python -m ner_elmo scale`."""

    address: str | None = option(None, "Ray cluster to join, HOST:PORT or auto; without it this machine alone works")
    actors: int = option(0, "processes that hold the model and tag; 0: as many as the cores or GPUs suffice for")
    cpus: int = option(1, "cores of an actor")
    gpus: float = option(0.0, "GPUs of an actor, or the part of one")
    batch_tokens: int = option(2048, "tokens of a batch, padding included")
    shard_bytes: int = option(2**20, "bytes of input that become an output shard, counted up to the end of a line or row")
    field: str | None = option(None, "key or column of the text in rows. Default: text and the like")
    min_confidence: float = option(0.0, "leave out entities below")

    def __post_init__(self) -> None:
        require(self.actors >= 0, "actors must be at least 0", self.actors)
        for name in ("cpus", "batch_tokens", "shard_bytes"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        require(0 <= self.gpus < float("inf"), "gpus must be at least 0", self.gpus)
        require(0 <= self.min_confidence <= 1, "min_confidence must be from 0 to 1", self.min_confidence)
