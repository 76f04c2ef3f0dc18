"""Shards -> sentences -> packed batches."""

import gzip
import json
import lzma
from itertools import islice

import numpy as np
import pytest
from conftest import vocabulary_of
from small_runs import TEXT

from biLM import InputError, corpus
from biLM.corpus import PackedBatches, SentenceStream, find_files, read_sentences


def test_rows_hold_the_sentences_in_order_and_both_directions_the_same_ones():
    vocabulary = vocabulary_of(TEXT)
    rows = {0: ([], []), 1: ([], [])}
    for batch in PackedBatches(iter(TEXT * 3), vocabulary, batch_size=2, unroll_steps=4):
        inputs = ["", "<S>", "</S>", *batch.tokens]
        assert batch.token_index.shape == batch.targets.shape == (2, 2, 4)
        for row in (0, 1):
            for direction in (0, 1):
                tokens = [inputs[k] for k in batch.token_index[row, direction]]
                targets = [vocabulary.words[k] for k in batch.targets[row, direction]]
                rows[row][direction].extend(zip(tokens, targets, strict=True))
    for row in (0, 1):
        forward, backward = rows[row]
        for pairs, begin, end in ((forward, "<S>", "</S>"), (backward, "</S>", "<S>")):
            assert pairs[0][0] == begin
            assert end not in [token for token, _ in pairs]  # never an input of this direction
            for (_, target), (token, _) in zip(pairs, pairs[1:], strict=False):
                assert token == (begin if target == end else target)
    first = next(iter(TEXT))
    assert [token for token, _ in rows[0][0]][1 : len(first) + 1] == first
    assert [token for token, _ in rows[0][1]][1 : len(first) + 1] == first[::-1]


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Three shards, one of them compressed, that are read in several blocks."""
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 100)
    for number, name in enumerate(("a.txt", "b.txt.gz", "c.txt.xz")):
        lines = "".join(f"sentence {number} {k}\n" + "\n" * (k % 3 == 0) for k in range(20 + number))
        with {"txt": open, "gz": gzip.open, "xz": lzma.open}[name.split(".")[-1]](tmp_path / name, "wt") as file:
            file.write(lines)
    return find_files([str(tmp_path / "*")])


def test_shards_are_shuffled_by_seed_and_lose_nothing(shards):
    expected = sorted(read_sentences(shards))
    assert len(expected) == 63
    one = list(islice(SentenceStream(shards, seed=1), 126))
    assert one == list(islice(SentenceStream(shards, seed=1), 126))
    assert sorted(one[:63]) == sorted(one[63:]) == expected
    assert one[:63] != one[63:]
    assert any(list(islice(SentenceStream(shards, seed=s), 63)) != one[:63] for s in range(2, 6))


def test_a_stream_goes_on_from_any_position(shards):
    stream = SentenceStream(shards, seed=1)
    given = [(next(stream), stream.position) for _ in range(140)]
    for number, (_, position) in enumerate(given[:130]):
        again = SentenceStream(shards, 1, position)
        assert list(islice(again, 3)) == [sentence for sentence, _ in given[number + 1 : number + 4]]


def test_batches_go_on_from_their_state(shards):
    vocabulary = vocabulary_of(read_sentences(shards))
    batches = PackedBatches(SentenceStream(shards, seed=4), vocabulary, batch_size=3, unroll_steps=5)
    for _ in range(7):
        next(batches)
    position, rows = batches.sentences.position, json.loads(json.dumps(batches.rows))
    expected = [next(batches) for _ in range(20)]
    resumed = PackedBatches(SentenceStream(shards, 4, position), vocabulary, 3, 5)
    resumed.rows = rows
    for batch, again in zip(expected, resumed, strict=False):
        assert batch.tokens == again.tokens
        np.testing.assert_array_equal(batch.token_index, again.token_index)
        np.testing.assert_array_equal(batch.targets, again.targets)


def test_a_line_of_a_megabyte_is_cut_into_windows_like_others(tmp_path):
    """Of many tokens, and of one. What a checkpoint keeps of it is text again."""
    long, wide = [f"{k % 7}" for k in range(500_000)], ["w" * 10**6]
    (tmp_path / "long.txt").write_text("\n".join(map(" ".join, [long, wide, *TEXT])) + "\n")
    sentences = list(read_sentences([tmp_path / "long.txt"]))
    assert sentences == [long, wide, *TEXT]
    batches = PackedBatches(iter(sentences), vocabulary_of(TEXT), batch_size=1, unroll_steps=20)
    for number in range(3):
        tokens = ["", "<S>", "</S>", *(batch := next(batches)).tokens]
        assert [tokens[k] for k in batch.token_index[0, 0]] == ["<S>", *long][20 * number :][:20]
    assert json.loads(json.dumps(batches.rows)) == batches.rows


def test_shards_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        find_files([str(tmp_path / "*.gz")])
    with pytest.raises(InputError, match="no such file"):
        find_files([str(tmp_path)])
    (tmp_path / "data[1].txt").write_text("a name may look like a pattern\n")
    assert find_files([str(tmp_path / "data[1].txt")]) == [tmp_path / "data[1].txt"]
    (tmp_path / "link.txt").symlink_to(tmp_path / "data[1].txt")
    assert find_files([str(tmp_path / "*.txt"), str(tmp_path / "data[1].txt")]) == [tmp_path / "data[1].txt"]  # each once
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(InputError, match="latin.txt:1: must be UTF-8"):
        list(read_sentences([tmp_path / "latin.txt"]))
    (tmp_path / "latin2.txt").write_bytes(b"tea\n" + "café\n".encode("latin-1"))
    with pytest.raises(InputError, match="latin2.txt:2: must be UTF-8"):
        next(SentenceStream([tmp_path / "latin2.txt"], 0))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a b c\n" * 1000)[:-20])
    with pytest.raises(InputError, match="cut.gz: a damaged archive"):
        list(read_sentences([tmp_path / "cut.gz"]))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="no sentence in the training text"):
        next(SentenceStream([tmp_path / "empty.txt"], 0))
