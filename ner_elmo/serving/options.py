"""`ServeOptions`: every option of the server, once, and its limits. Needs neither Keras nor FastAPI."""

from __future__ import annotations

from dataclasses import dataclass

from biLM.errors import require
from biLM.flags import option


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of `python -m ner_elmo serve`."""

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in")
    port: int = option(8000, "port to listen on; 0 picks a free one")
    demo: bool = option(True, "a page to try the model on, at /; without it the API alone is served")
    max_bytes: int = option(2**18, "bytes of a request's body at most; more is answered with 413")
    max_waiting: int = option(256, "requests that may wait or be worked on; one more is answered with 429")
    timeout: float = option(60.0, "seconds that a request may take; more is answered with 503")
    window: float = option(10.0, "milliseconds that a batch waits for more requests, or a quarter of the last batch's")
    batch_tokens: int = option(8192, "tokens of a batch of sentences from all requests; 1 tags each sentence alone")

    def __post_init__(self) -> None:
        require(0 <= self.port < 2**16, "port must be from 0 to 65535", self.port)
        for name in ("max_bytes", "max_waiting", "batch_tokens"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        require(0 < self.timeout < float("inf"), "timeout must be above 0", self.timeout)
        require(0 <= self.window <= 1000, "window must be from 0 to 1000 milliseconds", self.window)
