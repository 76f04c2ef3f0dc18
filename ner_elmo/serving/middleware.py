"""What holds for every part of the application: `BodyLimit`, no larger body gets into memory; `OwnOrigin`, pages load
nothing from elsewhere."""

from __future__ import annotations

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware: bodies are read whole before the application sees them; 413 where one is too large, 408 where it
    does not come.

    Arguments: max_bytes of a body; seconds in which it must have come.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float):
        self.app, self.max_bytes, self.seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self.seconds):
                body = await self._read(scope, receive)
        except TimeoutError:
            refusal = JSONResponse({"detail": f"the body did not come within {self.seconds:g} seconds."}, 408)
            await refusal(scope, receive, send)
            return
        if body is None:
            refusal = JSONResponse({"detail": f"a body may hold {self.max_bytes} bytes. Send the text in parts."}, 413)
            await refusal(scope, receive, send)
            return
        await self.app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None where it is too large: at once if its header says so."""
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(int(value) > self.max_bytes for value in lengths):
            return None
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self.max_bytes:
                return None
            more = message.get("more_body", False)
        return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed


class OwnOrigin:
    """ASGI middleware: browsers are told to load scripts, styles, fonts, pictures and data from this server alone."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, send_with_policy)
