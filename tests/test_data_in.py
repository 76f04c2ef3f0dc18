"""Entities, tag schemes, readers, text and metrics."""

import itertools
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biLM import InputError
from biLM.text import Tokenizer, split_tokens
from ner_elmo import read_sentences
from ner_elmo.entities import Span, TagSet, detect_scheme, spans_of, tags_of
from ner_elmo.metrics import evaluate


@st.composite
def tagged(draw):
    """Non-overlapping spans over a sentence."""
    length = draw(st.integers(1, 12))
    borders = sorted(draw(st.sets(st.integers(0, length), max_size=6)))
    pairs = [(a, b) for a, b in itertools.pairwise(borders) if draw(st.booleans())]
    return length, tuple(Span(draw(st.sampled_from(["LOC", "PER"])), a, b) for a, b in pairs)


@given(tagged())
def test_spans_survive_tags_of_every_scheme(example):
    length, spans = example
    for scheme in ("IOB2", "BIOES"):
        assert spans_of(tags_of(spans, length, scheme), scheme) == spans
    tags = TagSet(["LOC", "PER"])
    ids = tags.encode(spans, length)
    assert tags.decode(ids) == spans
    assert tags.legal_start[ids[0]]
    assert tags.legal_end[ids[-1]]
    assert all(tags.legal[a, b] for a, b in itertools.pairwise(ids))


def test_legal_transitions_are_exactly_those_that_decode():
    tags = TagSet(["LOC", "PER"])
    for ids in itertools.product(range(len(tags)), repeat=3):
        legal = tags.legal_start[ids[0]] and tags.legal_end[ids[-1]]
        legal = legal and all(tags.legal[a, b] for a, b in itertools.pairwise(ids))
        if legal:
            spans = tags.decode(ids)
            assert tags.encode(spans, 3).tolist() == list(ids)
        else:
            with pytest.raises(InputError):
                tags.decode(ids)


@pytest.mark.parametrize(
    ("tags", "scheme", "spans"),
    [
        ("I-PER I-PER O I-LOC", "IOB1", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("I-PER B-PER I-PER I-LOC", "IOB1", [("PER", 0, 1), ("PER", 1, 3), ("LOC", 3, 4)]),
        ("B-PER I-PER B-PER O", "IOB2", [("PER", 0, 2), ("PER", 2, 3)]),
        ("S-PER B-LOC I-LOC E-LOC", "BIOES", [("PER", 0, 1), ("LOC", 1, 4)]),
        ("U-PER B-LOC L-LOC O", "BIOES", [("PER", 0, 1), ("LOC", 1, 3)]),
    ],
)
def test_schemes_are_detected_and_read(tags, scheme, spans):
    assert detect_scheme([tags.split()]) == scheme
    assert spans_of(tags.split(), scheme) == tuple(Span(*s) for s in spans)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"EU B-ORG\nrejects\n", r"x.conll:2: expected 2 columns or more, got 1: 'rejects'"),
        (b"EU B-ORG\n\nGerman FOO\n", r"x.conll:3: 'FOO' is no tag"),
        (b"EU B-\n", r"x.conll:1: 'B-' is no tag"),
        (b"\n\n  \n", r"x.conll: must hold at least one sentence. Received: none"),
        (b"", r"x.conll: must hold at least one sentence"),
        (
            b"a O\nb B-X\n\nEU I-ORG\nx O\nrejects B-PER\n",
            r"x.conll: mixed tag schemes: some entities begin with I-ORG",
        ),
        (b"a O\n\nEU B-ORG\nthe I-LOC\nx S-LOC\n", r"x.conll:3: 'I-LOC' at token 2 goes on from nothing, BIOES"),
        (b"EU B-ORG\nthe S-LOC\n", r"x.conll:1: the ORG entity before token 2 has no end tag, BIOES requires one"),
        ("a O\ncafé O\n".encode("latin-1"), r"x.conll:2: must be UTF-8. Received the byte 0xe9; convert it with"),
    ],
)
def test_bad_files_are_said_with_file_and_line(tmp_path, content, message):
    (tmp_path / "x.conll").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_sentences(tmp_path / "x.conll")
    assert "\n" not in str(caught.value)


def test_odd_but_good_files(tmp_path):
    text = (
        "\ufeff-DOCSTART- -X- O O\r\n\r\nEU NNP B-NP B-ORG\r\nrejects VBZ B-VP O\r\n\r\n\r\n😀\tx\tO\r\nx\u200b O\r\n"
        + "y" * 10_000
        + " O"
    )
    (tmp_path / "x.conll").write_bytes(text.encode())
    first, second = read_sentences(tmp_path / "x.conll")
    assert first.tokens == ("EU", "rejects")
    assert first.spans == (Span("ORG", 0, 1),)
    assert first.where.endswith("x.conll:3")
    assert second.tokens == ("😀", "x\u200b", "y" * 10_000)


def test_a_named_scheme_is_used(tmp_path):
    (tmp_path / "x.conll").write_text("a B-X\nb I-Y\n\nc I-X\n")
    assert [s.spans for s in read_sentences(tmp_path / "x.conll", "IOB1")] == [
        (Span("X", 0, 1), Span("Y", 1, 2)), (Span("X", 0, 1),),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"x.conll:1: 'I-Y' at token 2 goes on from nothing, IOB2 forbids that"):
        read_sentences(tmp_path / "x.conll", "IOB2")
    with pytest.raises(InputError, match="the tag scheme must be one of"):
        read_sentences(tmp_path / "x.conll", "BIO")


def test_the_reference_sets_are_read_whole(shared):
    counts = {"conll2003_en": 5648, "bc5cdr": 9809, "wnut17": 1079, "conll2002_es": 3559}
    for name, count in counts.items():
        sentences = read_sentences(shared / "data" / name / "test.txt")
        assert sum(len(s.spans) for s in sentences) == count


def test_the_sample_is_as_its_card_says():
    from ner_elmo.config import SAMPLE

    train, dev, test = (read_sentences(SAMPLE / f"{name}.conll") for name in ("train", "dev", "test"))
    sentences = [*train, *dev, *test]
    assert len(sentences) >= 800
    assert len({s.tokens for s in sentences}) == len(sentences)
    assert {len(s.tokens) for s in sentences} <= set(range(3, 51))
    assert {span.type for s in sentences for span in s.spans} == {"PER", "LOC", "ORG", "MISC"}
    seen = {" ".join(s.tokens[x.start : x.end]).lower() for s in train for x in s.spans}
    names = [" ".join(s.tokens[x.start : x.end]).lower() for s in test for x in s.spans]
    assert np.mean([name not in seen for name in names]) >= 0.5


@settings(deadline=None)
@given(st.text(max_size=200))
def test_offsets_are_exact_on_any_text(text):
    for sentences in (Tokenizer().sentences(text), [split_tokens(text)]):
        position = 0
        for sentence in sentences:
            for token, start, end in zip(sentence.tokens, sentence.starts, sentence.ends, strict=True):
                assert text[start:end] == token
                assert not text[position:start].strip()  # nothing but blanks between tokens
                position = end
        assert not text[position:].strip()


def test_text_is_split_into_sentences():
    found = Tokenizer().sentences("Mr. Lund's boat sank.  Nobody cried 😀.\tNext")
    assert [s.tokens for s in found] == [
        ("Mr.", "Lund", "'s", "boat", "sank", "."), ("Nobody", "cried", "😀", "."), ("Next",),
    ]  # fmt: skip
    with pytest.raises(InputError, match="no tokenizer for the language 'qq'"):
        Tokenizer("qq").sentences("x")


LANGUAGES = {  # a text of two sentences, and some tokens that only rules of the language give
    "de": ("Dr. Lund wohnt z.B. in Köln. Sie fährt Rad.", ["Dr.", "z.B."]),
    "fr": ("L'avion part aujourd'hui de l'île. Il pleut.", ["L'", "aujourd'hui", "l'", "île"]),
    "es": ("¿Dónde está la Sra. Lund? Está en Cádiz.", ["¿", "Dónde", "Sra."]),
    "it": ("L'aereo dell'ente parte da Bari. Piove.", ["L'", "dell'", "ente"]),
    "pl": ("Pani Łucja jest w Łodzi. Pada śnieg.", ["Łodzi", "."]),
    "ru": ("Ада живёт в Осло, т.е. на севере. Идёт снег.", ["Осло", ",", "т.е."]),
    "el": ("Η Άντα ζει στο Όσλο. Χιονίζει!", ["Όσλο", "Χιονίζει", "!"]),
    "tr": ("Ada Oslo'da yaşıyor. İstanbul'a gidecek.", ["Oslo'da", "İstanbul'a"]),
    "fi": ("Ada asuu Oslossa. Sataa lunta!", ["Oslossa", "lunta"]),
    "ar": ("تعيش آدا في أوسلو. هل يتساقط الثلج؟", ["أوسلو", "؟"]),
    "he": ("עדה גרה באוסלו. יורד שלג!", ["באוסלו", "שלג"]),
    "hi": ("अदा ओस्लो में रहती है। बर्फ़ गिर रही है।", ["ओस्लो", "।"]),
    "zh": ("艾达住在奥斯陆。正在下雪。", ["奥", "斯", "陆", "。"]),
    "xx": ("Ada læsir í Osló. Það snjóar!", ["Osló", "!"]),
}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_other_languages(lang):
    """Two sentences, every character but blanks in one token, and the language's own rules."""
    text, tokens = LANGUAGES[lang]
    sentences = Tokenizer(lang).sentences(text)
    assert len(sentences) == 2
    found = [token for sentence in sentences for token in sentence.tokens]
    assert set(tokens) <= set(found)
    assert "".join(found) == "".join(text.split())
    for sentence in sentences:
        assert [text[start:end] for start, end in zip(sentence.starts, sentence.ends, strict=True)] == list(sentence.tokens)


def test_a_language_that_needs_a_package_says_which():
    if find_spec("sudachipy"):
        pytest.skip("SudachiPy is installed here")
    with pytest.raises(InputError, match=r"no tokenizer for the language 'ja'.*SudachiPy"):
        Tokenizer("ja").sentences("x")


def test_scores_by_hand():
    gold = [[Span("PER", 0, 2), Span("LOC", 3, 4)], [Span("LOC", 0, 1)], []]
    predicted = [[Span("PER", 0, 1), Span("LOC", 3, 4)], [Span("ORG", 0, 1)], []]
    found = evaluate(gold, predicted, [5, 1, 3])
    assert (found.strict.precision, found.strict.recall, found.strict.support) == (pytest.approx(1 / 3),) * 2 + (3,)
    assert found.lenient == found.strict
    assert found.types["LOC"][0].f1 == pytest.approx(2 / 3)
    assert found.types["ORG"][0].support == 0
    assert "strict IOB2 (seqeval 1." in found.signature
    nothing = evaluate([[]], [[]], [3])
    assert (nothing.strict.f1, nothing.strict.support) == (0, 0)
    with pytest.raises(InputError, match="as many predictions as sentences"):
        evaluate(gold, predicted[:1], [5, 1, 3])


def test_scores_follow_conlleval_on_random_taggings():
    """conlleval's rules, written anew: count spans that are equal on both sides."""
    rng = np.random.default_rng(0)

    def random_spans():
        borders = np.unique(rng.integers(0, 10, 5))
        return [Span(rng.choice(["A", "B"]), int(a), int(b)) for a, b in itertools.pairwise(borders)][::2]

    gold, predicted = [random_spans() for _ in range(200)], [random_spans() for _ in range(200)]
    correct = sum(len(set(g) & set(p)) for g, p in zip(gold, predicted, strict=True))
    precision, recall = correct / sum(map(len, predicted)), correct / sum(map(len, gold))
    found = evaluate(gold, predicted, [10] * 200)
    for score in (found.strict, found.lenient):
        assert score.precision == pytest.approx(precision)
        assert score.recall == pytest.approx(recall)
        assert score.f1 == pytest.approx(2 * precision * recall / (precision + recall))
