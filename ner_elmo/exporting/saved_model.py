"""A tagger as a SavedModel that needs nothing of ours: strings in; tags, scores and spans out. For TensorFlow Serving.

    tokens            tokens (B, T) strings, padded with "", and lengths (B,) int32
    text              text (B,) strings, one sentence each, its tokens parted by blanks; gives `tokens` (B, T) too
    serving_default   text

What comes out is described in `ner_elmo.exporting.graph_decoding.decode`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from biLM.characters import N_FIXED_ROWS
from biLM.errors import InputError
from biLM.files import whole_directory
from biLM.graph import TokenReader, encode, lookup_table, mask_of, place
from biLM.tfhub import HubBiLM
from ner_elmo.batching import UNKNOWN_WORD, Features
from ner_elmo.entities import tags_of
from ner_elmo.exporting.check import check, sample_sentences
from ner_elmo.exporting.graph_decoding import Tables, decode
from ner_elmo.predictor import Predictor
from ner_elmo.tagger import TOKEN_CHARACTERS


class ServingModule(tf.Module):
    """The two signatures as functions."""

    def __init__(self, tagger: Predictor):
        super().__init__()
        features, network = tagger.features, tagger.tagger
        bilm = features.bilm
        self.tables = Tables.of(tagger.scores, tagger.tag_set, tagger.confidence)
        self.lookups = []
        read_bilm = TokenReader(bilm) if bilm is not None else None
        if read_bilm is not None and read_bilm.table is not None:
            self.lookups.append(read_bilm.table)
        read_tokens = TokenInputs(features)
        self.lookups += read_tokens.tables
        models = [model for model in (bilm, network) if model is not None]
        self.kept = [variable.value for model in models for variable in model.variables] + read_tokens.variables

        def emissions(tokens, lengths):
            mask = mask_of(tokens, lengths)
            inputs = {"mask": mask}
            if read_bilm is not None:
                inputs["activations"] = bilm(read_bilm(tokens, lengths))["activations"]
            if read_tokens.tables:
                inputs["tokens"] = read_tokens(tokens, mask)
            return network(inputs)

        self._emissions = emissions

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string), tf.TensorSpec([None], tf.int32)])
    def tokens(self, tokens, lengths):
        room = tf.maximum(1 - tf.shape(tokens)[1], 0)  # a batch of no tokens gets a column of padding
        padded = tf.pad(tokens, [[0, 0], [0, room]], constant_values="")
        lengths = tf.clip_by_value(lengths, 0, tf.shape(tokens)[1])
        found = decode(self._emissions(padded, lengths), mask_of(padded, lengths), self.tables)
        return found | {name: found[name][:, : tf.shape(tokens)[1]] for name in ("tags", "tag_scores")}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def text(self, text):
        split = tf.strings.split(text)
        tokens = split.to_tensor("")
        return self.tokens(tokens, tf.cast(split.row_lengths(), tf.int32)) | {"tokens": tokens}


class TokenInputs:
    """The input of `TokenEmbedding`, as `ner_elmo.batching.Prepared` makes it: of learned and of ready vectors.

    tables, variables: what its owner must keep.
    """

    def __init__(self, features: Features):
        self.words = self.rows = None
        self.tables, self.variables = [], []
        if features.words is not None:
            self.words = lookup_table(features.words.id_of, UNKNOWN_WORD)
            self.tables.append(self.words)
        if (vectors := features.word_vectors) is not None:
            self.rows = lookup_table({word: row + 1 for word, row in vectors.row_of.items()}, 0)
            self.vectors = tf.Variable(np.pad(vectors.table, [(1, 0), (0, 0)]), trainable=False)  # row 0: no vector
            self.tables.append(self.rows)
            self.variables.append(self.vectors)

    def __call__(self, tokens: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """tokens (B, T), mask (B, T) -> `token_index` (B, T), and of distinct tokens `characters`, `words` and `vectors`."""
        found, index = place(tokens, mask)
        inputs = {"token_index": index}
        lower = tf.strings.lower(found, encoding="utf-8")
        if self.words is not None:
            inputs["characters"] = encode(found, TOKEN_CHARACTERS.max_characters_per_token, TOKEN_CHARACTERS.widest)
            inputs["words"] = _after_marks(self.words.lookup(lower))
        if self.rows is not None:
            row = self.rows.lookup(found)
            for spelling in (lower, _capitalised(found)):
                row = tf.where(row > 0, row, self.rows.lookup(spelling))
            inputs["vectors"] = _after_marks(tf.cast(tf.gather(self.vectors, row), tf.float32))
        return inputs


def _capitalised(tokens: tf.Tensor) -> tf.Tensor:
    """The third spelling that `WordVectors` looks for."""
    first = tf.strings.substr(tokens, 0, 1, unit="UTF8_CHAR")
    rest = tf.strings.substr(tokens, tf.strings.length(first), tf.strings.length(tokens))
    return tf.strings.upper(first, encoding="utf-8") + tf.strings.lower(rest, encoding="utf-8")


def _after_marks(rows: tf.Tensor) -> tf.Tensor:
    return tf.pad(rows, [[N_FIXED_ROWS, 0], *[[0, 0]] * (rows.shape.rank - 1)])


def export_saved_model(tagger: Predictor, directory: Path) -> int:
    """Writes the SavedModel, reads it back and compares it with the tagger; it appears whole and right, or not at all.

    Returns how many sentences were compared. Raises: InputError where the directory holds something, for a tagger on a
    TF-Hub module or with casing or lists of names, and on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(f"a SavedModel is made on TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}.")
    if isinstance(tagger.features.bilm, HubBiLM):
        raise InputError("a tagger on a TF-Hub module cannot be put into a SavedModel. Train one on weights.")
    features = tagger.features
    if features.casing or features.gazetteers is not None:
        raise InputError(
            "a tagger with --casing or --gazetteer cannot be put into a SavedModel. Export it as ONNX, or train one without."
        )
    module = ServingModule(tagger)
    with whole_directory(directory) as partial:
        signatures = {"tokens": module.tokens, "text": module.text, "serving_default": module.text}
        tf.saved_model.save(module, str(partial), signatures)
        return _compare(tagger, tf.saved_model.load(str(partial)).signatures["tokens"])


def _compare(tagger: Predictor, signature: Any) -> int:
    sentences = sample_sentences(tagger.features.words)
    lengths = [len(sentence) for sentence in sentences]
    padded = [[*sentence, *[""] * (max(lengths) - len(sentence))] for sentence in sentences]
    outputs = signature(tokens=tf.constant(padded), lengths=tf.constant(lengths))
    found = {name: value.numpy() for name, value in outputs.items()}
    rows = []
    for row, count in enumerate(found["n_spans"]):
        names = ("span_type", "span_start", "span_end", "span_score")
        spans = zip(*(found[name][row, :count].tolist() for name in names), strict=True)
        rows.append([(kind.decode(), start, end, score) for kind, start, end, score in spans])
    expected = check(tagger, sentences, rows)
    for row, (sentence, entities) in enumerate(zip(sentences, expected, strict=True)):
        tags = [tag.decode() for tag in found["tags"][row]]
        wanted = tags_of([span for span, _ in entities], len(sentence), "IOB2") + [""] * (max(lengths) - len(sentence))
        if tags != wanted or not np.isfinite(found["tag_scores"][row]).all():
            raise RuntimeError(f"the exported model tags {' '.join(sentence)!r} with {tags}, the tagger with {wanted}")
    return len(sentences)
