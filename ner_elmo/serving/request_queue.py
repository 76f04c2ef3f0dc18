"""`RequestQueue`: the texts of many requests -> shared batches of sentences -> the entities of each request.

Everything that waits lives on the event loop and needs no lock. One thread splits texts, one owns the network, one finds
the entities in what the network said while it is at the next batch.
Requests take turns, one sentence each, so that a short text never waits for the end of a long one.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from biLM.text import TextSentence
from ner_elmo.entities import Entity, Span
from ner_elmo.predictor import Predictor, entities_of

TURNS = 4  # of requests, that fill a batch
WAIT = 0.25  # of the time of the last batch, that one may wait for those whose requests were in it: few rows cost much
Found = list[tuple[Span, float]]
Result = TypeVar("Result")


class QueueFull(RuntimeError):
    """As many requests as may wait are waiting."""


class TaggingFailed(RuntimeError):
    """The network failed on a batch; the log says where, without the text."""


class _Request:
    """One request: its sentences in a row, and what was found in those that the network has seen."""

    def __init__(self) -> None:
        self.sentences: list[TextSentence] = []
        self.found: list[Found] = []
        self.positions = 0  # of those that no batch holds or held
        self.taken = 0  # sentences that a batch holds or held
        self.done: asyncio.Future[list[Found]] = asyncio.get_running_loop().create_future()

    def add(self, found: Found) -> None:
        """Takes the result of the next sentence: batches end in the order in which they were taken."""
        self.found.append(found)
        if len(self.found) == len(self.sentences) and not self.done.done():
            self.done.set_result(self.found)


class RequestQueue:
    """Tags texts for many callers at once; an asynchronous context manager.

    Arguments:
        tagger: nobody else may use it.
        max_waiting: requests that may wait or be worked on.
        window: milliseconds that a batch waits for more requests, at most: until as many wait as were there last time.
            A quarter of what the last batch took, where that is more.
        batch_tokens: tokens of a batch, the two marks of each sentence included; a longer sentence is a batch of its own.

    A tagger with `layer_norm` sees the whole batch when it looks at a sentence: it gets one sentence at a time.

    Example: `async with RequestQueue(tagger) as queue: await queue.tag(["Text with names."])`.
    """

    def __init__(self, tagger: Predictor, max_waiting: int = 256, window: float = 10.0, batch_tokens: int = 8192):
        self.tagger, self.max_waiting, self.window, self.batch_tokens = tagger, max_waiting, window, batch_tokens
        if getattr(tagger.tagger.elmo, "layer_norm", False):
            self.batch_tokens = 1
        self.waiting = 0  # requests
        self._requests: deque[_Request] = deque()  # with sentences that no batch holds
        self._taken = 0.0  # seconds, by the network for the last batch
        self._expected = max_waiting  # that the clients answered last will send again, and that wait
        self._arrived = asyncio.Event()
        self._splitter, self._network, self._decoder = (
            ThreadPoolExecutor(1, name) for name in ("splitter", "network", "decoder")
        )
        self._batches: asyncio.Task | None = None
        self._decoding: set[asyncio.Task] = set()

    async def __aenter__(self) -> RequestQueue:
        self._batches = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._batches is not None
        self._batches.cancel()
        await asyncio.wait([self._batches, *self._decoding])
        for thread in (self._splitter, self._network, self._decoder):
            thread.shutdown(wait=False, cancel_futures=True)

    async def tag(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text. A caller that is cancelled takes its sentences with it.

        Raises: QueueFull; TaggingFailed.
        """
        if self.waiting >= self.max_waiting:
            raise QueueFull(f"{self.waiting} requests are waiting")
        self.waiting += 1
        request = _Request()
        try:
            split = await self._in(self._splitter, self._split, request, texts)
            request.sentences = [sentence for sentences in split for sentence in sentences]
            request.positions = sum(len(sentence.tokens) + 2 for sentence in request.sentences)
            if request.sentences:
                self._requests.append(request)
                self._arrived.set()
                await request.done
        finally:
            request.done.cancel()
            self.waiting -= 1
        found = iter(request.found)
        return [
            [entity for sentence in sentences for entity in entities_of(text, sentence, next(found))]
            for text, sentences in zip(texts, split, strict=True)
        ]

    async def sentences(self, text: str) -> list[TextSentence]:
        """The sentences of a text, split as for `tag`."""
        return await self._in(self._splitter, self.tagger.tokenizer.sentences, text)

    async def with_network(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Runs `work` where nothing else uses the network."""
        return await self._in(self._network, work, *arguments)

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(thread, work, *arguments)

    def _split(self, request: _Request, texts: Sequence[str]) -> list[list[TextSentence]]:
        """The sentences of each text; stops when nobody waits for them any more."""
        return [self.tagger.tokenizer.sentences(text) for text in texts if not request.done.done()]

    async def _run(self) -> None:
        while True:
            await self._gather()
            batch = self._take()
            if batch:
                begin = asyncio.get_running_loop().time()
                await self._tag(batch)
                self._taken = asyncio.get_running_loop().time() - begin
                served = {request for request, _ in batch if request.taken == len(request.sentences)}
                self._expected = len(self._requests) + len(served)

    async def _gather(self) -> None:
        """Waits for a request, and then a little for those that may follow: a batch of few costs nearly as much."""
        while not self._requests:
            self._arrived.clear()
            await self._arrived.wait()
        loop = asyncio.get_running_loop()
        end = loop.time() + max(self.window / 1000, WAIT * self._taken)
        while not self._is_enough() and loop.time() < end:
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), end - loop.time())

    def _take(self) -> list[tuple[_Request, TextSentence]]:
        """The next batch: a sentence of each request in turn, as many as it may hold, and one at least."""
        batch: list[tuple[_Request, TextSentence]] = []
        room = self.batch_tokens
        while self._requests:
            request = self._requests.popleft()
            if request.done.done():  # its caller went away, or a batch of its failed
                continue
            turn = self.batch_tokens // TURNS
            while turn >= 0 and request.taken < len(request.sentences):
                sentence = request.sentences[request.taken]
                positions = len(sentence.tokens) + 2
                if batch and positions > room:
                    self._requests.appendleft(request)
                    return batch
                batch.append((request, sentence))
                request.taken, request.positions = request.taken + 1, request.positions - positions
                room, turn = room - positions, turn - positions
            if request.taken < len(request.sentences):
                self._requests.append(request)
        return batch

    def _is_enough(self) -> bool:
        """Whether a full batch waits, or all requests that can be expected."""
        waiting = sum(request.positions for request in self._requests)
        return waiting >= self.batch_tokens or len(self._requests) >= self._expected

    async def _tag(self, batch: list[tuple[_Request, TextSentence]]) -> None:
        """Returns when the network is free again; the batch is decoded meanwhile."""
        tokens = [sentence.tokens for _, sentence in batch]
        said = asyncio.ensure_future(self._in(self._network, self.tagger.emissions, tokens))
        await asyncio.wait([said])
        decoding = asyncio.create_task(self._decode(batch, said))
        self._decoding.add(decoding)
        decoding.add_done_callback(self._decoding.discard)

    async def _decode(self, batch: list[tuple[_Request, TextSentence]], said: asyncio.Future) -> None:
        last = said
        if said.exception() is None:
            last = asyncio.ensure_future(self._in(self._decoder, self.tagger.decode, said.result(), len(batch)))
            await asyncio.wait([last])
        error = last.exception()
        if error is not None:
            _report(error)
        for number, (request, _) in enumerate(batch):
            if error is None:
                request.add(last.result()[number])
            elif not request.done.done():
                request.done.set_exception(TaggingFailed(type(error).__name__))


def _report(error: BaseException) -> None:
    """Logs where a batch failed. The message is left out: it might quote the text."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logging.getLogger(__name__).error("a batch failed with %s at\n%s", type(error).__name__, where)
