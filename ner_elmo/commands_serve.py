"""`python -m ner_elmo serve`: a model as an HTTP API and a demo page."""

from __future__ import annotations

import argparse
import errno
import socket
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from biLM.errors import InputError
from biLM.flags import add_flags, given
from biLM.startup import start_keras
from ner_elmo.model_directory import describe, last_model
from ner_elmo.serving.options import ServeOptions

BACKLOG = 2048  # connections that the system holds while the model is loaded, and when many come at once


def add(commands) -> None:
    serve = commands.add_parser("serve", help="HTTP API and demo page of a model")
    serve.add_argument("--model", type=Path, metavar="DIR", help="model directory; the one trained last when not given")
    serve.add_argument("--elmo", metavar="WEIGHTS", help="run the tagger on another biLM of the same width and depth")
    add_flags(serve, ServeOptions)
    serve.set_defaults(run=_serve)


def _serve(args: argparse.Namespace) -> None:
    options = ServeOptions(**given(args, ServeOptions))
    model = args.model or last_model()
    describe(model)
    _check_installed(options)
    listening = listen(options)
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    start_keras()
    from ner_elmo.predictor import Predictor
    from ner_elmo.serving.server import create_app, run

    tagger = Predictor.load(model, args.elmo)
    _warm_up(tagger)
    app = create_app(tagger, model, options)
    where = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{where}:{listening.getsockname()[1]}"
    run(app, listening, options, lambda: console.print(f"ready: {url} (API: {url}/docs; Ctrl-C ends it)"))


def _check_installed(options: ServeOptions) -> None:
    needed = ["fastapi", "fastapi_offline", "uvicorn"] + ["gradio"] * options.demo
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        hint = " or leave the page out with --no-demo" if missing == ["gradio"] else ""
        raise InputError(f'serve needs {", ".join(missing)}. Install the extra: pip install "ner-elmo[serve]"{hint}.')


def listen(options: ServeOptions) -> socket.socket:
    """The socket, taken before the model is loaded. Raises InputError where it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        # asyncio sets it only where the protocol is named; without it the body waits 40 ms for the ACK of the head
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        where = f"{options.host}, port {options.port}"
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"{where}: is in use already. Name another --port, or 0 for a free one.") from None
        raise InputError(f"{where}: cannot be listened on ({error.strerror}). Name another --host or --port.") from None


def _warm_up(tagger) -> None:
    """Batches that differ in sentences, tokens, distinct ones and characters: after them TensorFlow has compiled for any."""
    for size in (1, 2, 3):
        tagger.tag_sentences([[f"{'A' * 5 * size}{k}" for k in range(8 * size)]] * size)
    tagger.tag("The tokenizer is loaded with the first text.")
