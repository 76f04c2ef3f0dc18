"""Requests share batches, take turns, and never share results."""

import asyncio
import logging
import time

import pytest

from ner_elmo import NerTagger
from ner_elmo.serving.request_queue import QueueFull, RequestQueue, TaggingFailed

LONG = "Ada Lund left Oslo . " * 40  # a sentence each


class Watched:
    """A tagger that notes the batches that it gets; "SECRET" among the tokens is too much for it."""

    def __init__(self, tagger: NerTagger):
        self.tagger, self.tokenizer, self.inner, self.batches = tagger.tagger, tagger.tokenizer, tagger, []

    def emissions(self, sentences):
        self.batches.append([" ".join(tokens) for tokens in sentences])
        if any("SECRET" in tokens for tokens in sentences):
            raise MemoryError(f"no room for {sentences}")
        return self.inner.emissions(sentences)

    def decode(self, emissions, n_sentences):
        return self.inner.decode(emissions, n_sentences)


@pytest.fixture(scope="module")
def tagger(small_model):
    return NerTagger.load(small_model)


def in_queue(tagger, work, **options):
    """What `work(queue)` gives, and the batches."""
    watched = Watched(tagger)

    async def run():
        async with RequestQueue(watched, **{"window": 20.0} | options) as queue:
            result = await work(queue)
            assert queue.waiting == 0
            return result

    return asyncio.run(run()), watched.batches


def same(found, expected):
    """Equal but for rounding in the confidence."""
    assert [(e.type, e.start, e.end, e.text) for e in found] == [(e.type, e.start, e.end, e.text) for e in expected]
    assert [e.confidence for e in found] == pytest.approx([e.confidence for e in expected], abs=1e-4)


def test_requests_share_batches_and_get_their_own(tagger):
    texts = [f"Oslo called Ada {'again ' * n}." for n in range(20)]
    found, batches = in_queue(tagger, lambda queue: asyncio.gather(*(queue.tag([text]) for text in texts)))
    for text, (entities,) in zip(texts, found, strict=True):
        same(entities, tagger.tag(text))
        assert entities
    assert len(batches) < 5
    assert sum(map(len, batches)) == len(texts)


def test_a_batch_waits_for_those_who_were_answered_last(tagger, monkeypatch):
    """They send again when their answer is decoded, while the network is idle; a quarter of a batch's time is worth it."""
    tagger.tokenizer.sentences("Loaded now .")
    monkeypatch.setattr(Watched, "emissions", _slow(Watched.emissions, 0.8))
    monkeypatch.setattr(Watched, "decode", _slow(Watched.decode, 0.04))

    async def client(queue, number):
        await asyncio.sleep(0.2 * number)  # the first one is alone in a batch, the others meet in the next
        for _ in range(3):
            await queue.tag(["Oslo called Ada ."])

    _, batches = in_queue(tagger, lambda queue: asyncio.gather(*(client(queue, k) for k in range(4))), window=1.0)
    assert max(map(len, batches)) == 4


def _slow(work, seconds):
    def slow(*arguments):
        time.sleep(seconds)
        return work(*arguments)

    return slow


def test_texts_without_sentences_need_no_network(tagger):
    found, batches = in_queue(tagger, lambda queue: queue.tag(["", " \n", "\u00a0"]))
    assert found == [[], [], []]
    assert in_queue(tagger, lambda queue: queue.tag([]))[0] == []
    assert batches == []


def test_a_short_text_does_not_wait_for_the_end_of_a_long_one(tagger):
    async def work(queue):
        long = asyncio.ensure_future(queue.tag([LONG]))
        await asyncio.sleep(0)
        (short,) = await queue.tag(["Oslo called Ada ."])
        assert not long.done()
        return short, (await long)[0]

    (short, long), batches = in_queue(tagger, work, batch_tokens=30)
    same(short, tagger.tag("Oslo called Ada ."))
    same(long, tagger.tag(LONG))
    assert all(sum(len(sentence.split()) + 2 for sentence in batch) <= 30 for batch in batches)
    assert len(batches) > 5


def test_a_sentence_longer_than_a_batch_is_tagged_whole(tagger):
    text = "Oslo called Ada and " * 50
    ((entities,), batches) = in_queue(tagger, lambda queue: queue.tag([text]), batch_tokens=30)
    assert batches == [[text.strip()]]
    same(entities, tagger.tag(text))


def test_a_mix_that_looks_at_the_whole_batch_gets_one_sentence(tagger):
    tagger.tagger.elmo.layer_norm = True
    try:
        _, batches = in_queue(tagger, lambda queue: queue.tag(["Oslo called Ada . Nobody spoke ."] * 3))
    finally:
        tagger.tagger.elmo.layer_norm = False
    assert [len(batch) for batch in batches] == [1] * 6


def test_no_more_than_may_wait(tagger):
    async def work(queue):
        return await asyncio.gather(*(queue.tag(["Oslo called Ada ."]) for _ in range(5)), return_exceptions=True)

    found, _ = in_queue(tagger, work, max_waiting=3)
    assert [type(one) for one in found] == [list] * 3 + [QueueFull] * 2


def test_who_goes_away_takes_the_sentences_along(tagger):
    async def work(queue):
        gone = asyncio.ensure_future(queue.tag([LONG]))
        stays = asyncio.ensure_future(queue.tag(["Oslo called Ada ."]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        return (await stays)[0]

    found, batches = in_queue(tagger, work)
    same(found, tagger.tag("Oslo called Ada ."))
    assert batches == [["Oslo called Ada ."]]


def test_a_failure_ends_its_batch_alone_and_quotes_no_text(tagger, caplog):
    async def work(queue):
        with pytest.raises(TaggingFailed, match=r"^MemoryError$"):
            await queue.tag(["Fine so far . Then SECRET ."])
        return (await queue.tag(["Oslo called Ada ."]))[0]

    with caplog.at_level(logging.DEBUG):
        found, _ = in_queue(tagger, work)
    same(found, tagger.tag("Oslo called Ada ."))
    assert "a batch failed with MemoryError at" in caplog.text
    assert "in emissions" in caplog.text
    assert "SECRET" not in caplog.text
