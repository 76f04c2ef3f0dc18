"""Commands in processes of their own that have imported everything already: a fork of a loaded process takes a tenth of a
second, a new Python ten. They can be killed like any other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([
    "biLM.commands_training", "biLM.training", "biLM.trained", "ner_elmo.experiment", "ner_elmo.crf_baseline",
    "ner_elmo.reporting.page", "ner_elmo.reporting.model_card", "ner_elmo.predictor", "tensorflow",
])  # fmt: skip


class Command:
    """`python -m MODULE ARGUMENTS`, running. Arguments: folder: the working directory. limit: of address space, in bytes."""

    def __init__(self, folder: Path, module: str, *arguments: object, limit: int | None = None):
        self.log = folder / f"{module}.log"
        self.log.touch()
        self.process = _CONTEXT.Process(
            target=_run, args=(str(folder), str(self.log), module, list(map(str, arguments)), limit)
        )
        self.process.start()

    @property
    def is_running(self) -> bool:
        return self.process.exitcode is None

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, happened: Callable[[], bool]) -> bool:
        """Whether it happened before the command ended."""
        while self.is_running:
            if happened():
                return True
            time.sleep(0.0005)
        return False

    def kill(self) -> bool:
        """Kills it without warning; says whether it had been running still."""
        self.process.kill()
        return self.end() == -9

    def send(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self) -> int:
        """Waits for its exit status."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode


def _run(folder: str, log: str, module: str, arguments: Sequence[str], limit: int | None) -> None:
    import importlib
    import resource

    from biLM.errors import run_command

    os.chdir(folder)
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, encoding="utf-8", closefd=False) for number in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, as the tests may be, ignores it
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    args = importlib.import_module(f"{module}.__main__").parser().parse_args(arguments)
    status = run_command(f"{module} {args.command}", lambda: args.run(args))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
