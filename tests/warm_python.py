"""A Python that has loaded Keras already and runs commands one after another, as `python` would: loading takes ten seconds.

A small program called `python` hands its arguments, folder, environment and standard streams to the warm process, and
ends with the status of the command, so pipes and redirections of a shell work. One command at a time.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ADDRESS = "WARM_PYTHON"
ROOT = Path(__file__).resolve().parent.parent
STAND_IN = f"""#!{sys.executable} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as warm:
    warm.connect(os.environ["{ADDRESS}"])
    asked = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(warm, [json.dumps(asked).encode()], [0, 1, 2])
    answer = warm.recv(1)
sys.exit(answer[0] if answer else 70)
"""


class WarmPython:
    """The warm process, and the environment in which `python` means it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="warm")
        stand_in = Path(self.folder.name) / "python"
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
        place = self.folder.name
        path = {"PATH": f"{place}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self.environment = os.environ | path | {ADDRESS: f"{place}/socket", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)
        self.folder.cleanup()


def serve() -> None:
    """Runs what is asked for until the process is ended."""
    from biLM.startup import start_keras

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(os.environ[ADDRESS])
        listening.listen()
        start_keras()
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            with connection:
                message, descriptors, _, _ = socket.recv_fds(connection, 2**18, 3)
                connection.send(bytes([run(json.loads(message), descriptors)]))


def run(asked: dict, descriptors: list[int]) -> int:
    """The exit status of `python ARGUMENTS`, run in this process."""
    import keras

    kept, own = [os.dup(number) for number in range(3)], dict(os.environ)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    streams = [os.fdopen(os.dup(number), mode, encoding="utf-8") for number, mode in enumerate("rww")]
    sys.stdin, sys.stdout, sys.stderr = streams
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    try:
        return _status(asked["arguments"])
    finally:
        for stream in streams:
            stream.close()
        for number, descriptor in enumerate(kept):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(own)
        keras.utils.clear_session()
        gc.collect()


def _status(arguments: list[str]) -> int:
    path = list(sys.path)
    try:
        _start(arguments)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:  # noqa: BLE001 - whatever a command dies of, as Python itself would
        traceback.print_exc()
        return 1
    finally:
        sys.path[:] = path
    return 0


def _start(arguments: list[str]) -> None:
    first, *rest = arguments
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        exec(compile(rest[0], "<python>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    serve()
