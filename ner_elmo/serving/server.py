"""The HTTP API: `POST /entities`, `GET /health`, `GET /model`, `GET /docs`, and the demo page at / if it is wanted.

No request body, and nothing that quotes one, is logged. No page loads anything from another machine.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ner_elmo.model_directory import describe, scores_of
from ner_elmo.output import json_line
from ner_elmo.predictor import Predictor
from ner_elmo.serving.middleware import BodyLimit, OwnOrigin
from ner_elmo.serving.options import ServeOptions
from ner_elmo.serving.request_queue import QueueFull, RequestQueue, TaggingFailed

Result = TypeVar("Result")
ABOUT = """Named entities of texts. The answer to one text is a row of `predict.py --format jsonl`; offsets count Unicode
code points, and `text[start:end]` is the entity."""


class EntitiesRequest(BaseModel):
    """One text or several, and which entities are wanted."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"example": {"text": "Ada Lund flew from Oslo to Nairobi."}}
    )
    text: str | None = Field(None, description="one text; the answer is one row")
    texts: list[str] | None = Field(None, description="several texts; the answer is a list of rows in their order")
    min_confidence: float = Field(0.0, ge=0, le=1, description="leaves out entities below this confidence")

    @model_validator(mode="after")
    def _one_of_both(self) -> EntitiesRequest:
        if (self.text is None) == (self.texts is None):
            raise ValueError("either text or texts must be given")
        return self


class FoundEntity(BaseModel):
    """An entity of a text."""

    type: str
    start: int
    end: int
    text: str
    confidence: float


class TaggedText(BaseModel):
    """A row: a text and its entities."""

    text: str
    entities: list[FoundEntity]


def create_app(tagger: Predictor, model: Path, options: ServeOptions) -> FastAPI:
    """The application. `model`: the directory that the tagger was loaded from."""
    queue = RequestQueue(tagger, options.max_waiting, options.window, options.batch_tokens)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with queue:
            yield

    app = FastAPIOffline(
        title="ner-elmo", version=version("ner-elmo"), description=ABOUT, lifespan=lifespan, redoc_url=None,
        swagger_ui_parameters={"validatorUrl": None},
    )  # fmt: skip
    app.add_middleware(BodyLimit, max_bytes=options.max_bytes, seconds=options.timeout)
    app.add_middleware(OwnOrigin)
    about = describe(model) | {"scores": scores_of(model)}
    refusals: dict[int | str, dict[str, Any]] = {
        413: {"description": f"more than {options.max_bytes} bytes"},
        422: {"description": "not what was asked for; `detail` is the reason in one line"},
        429: {"description": f"{options.max_waiting} requests are waiting; come back after `Retry-After` seconds"},
        503: {"description": f"not done within {options.timeout:g} seconds"},
    }
    body = {"required": True, "content": {"application/json": {"schema": EntitiesRequest.model_json_schema()}}}

    @app.post(
        "/entities",
        response_model=TaggedText | list[TaggedText],
        responses=refusals,
        openapi_extra={"requestBody": body},
        summary="Entities of a text or of several",
    )
    async def entities(request: Request) -> Response:
        asked = parse_request(await request.body())
        texts = [asked.text] if asked.text is not None else asked.texts or []
        found = await _while_connected(queue.tag(texts), request, options.timeout)
        rows = [
            json_line(text, [entity for entity in row if entity.confidence >= asked.min_confidence])
            for text, row in zip(texts, found, strict=True)
        ]
        return Response(rows[0] if asked.text is not None else f"[{', '.join(rows)}]", media_type="application/json")

    @app.get("/health", summary="Whether the server works, and how many requests it is working on")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "waiting": queue.waiting}

    @app.get("/model", summary="Types, scores, configuration and versions of the model")
    async def model_card() -> dict[str, Any]:
        return about

    if options.demo:
        from ner_elmo.serving.demo import mount_demo

        mount_demo(app, queue, about, options.timeout)
    return app


def parse_request(body: bytes) -> EntitiesRequest:
    """The request that a body holds. Raises HTTPException 422 with the reason in one line."""
    try:
        return EntitiesRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = " ".join(f"{where[:80]}: {first['msg']}".removeprefix(": ").split())
        raise HTTPException(
            422,
            'the body must be JSON, {"text": TEXT} or {"texts": [TEXT, ...]}, with "min_confidence" from 0 to 1 if wanted. '
            f"Received: {reason}.",
        ) from None


async def _while_connected(work: Coroutine[Any, Any, Result], request: Request, seconds: float) -> Result:
    """The result of the work, which is given up when its time is over or the client hangs up.

    Raises: HTTPException with 429, 500 or 503.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait([task, gone], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    except QueueFull as error:
        raise HTTPException(429, f"{error}. Try again in a second.", {"Retry-After": "1"}) from None
    except TaggingFailed as error:
        raise HTTPException(500, f"tagging failed ({error}). The server's log says where.") from None
    finally:
        task.cancel()
        gone.cancel()
    raise HTTPException(503, f"not done within {seconds:g} seconds. Send less text at once, or try again later.")


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Server(uvicorn.Server):
    """Says when it is ready."""

    ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready()


class _NoMessages(logging.Filter):
    """Exceptions lose their messages, which might quote a text."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0]:
            name = record.exc_info[0].__name__
            record.exc_info = (RuntimeError, RuntimeError(f"{name}, its message left out"), record.exc_info[2])
        return True


def run(app: FastAPI, listening: socket.socket, options: ServeOptions, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT; what has come in by then is still answered."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=int(options.timeout) + 2,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(_NoMessages())
    server = _Server(config)
    server.ready = ready
    server.run([listening])  # raises the signal again when all is done: it shall not end the process
    for number, handler in before.items():
        signal.signal(number, handler)
