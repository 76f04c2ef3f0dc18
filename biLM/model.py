"""`BiLM`: sentences -> activations, (L+1) layers of D = 2P numbers for each token.

The order of work: distinct tokens -> `CharacterEncoder` -> a forward and a backward `LSTMStack` -> layers.
Training has a module of its own; files are `biLM.weights`.

Source: Peters et al. 2018, and the reference implementations bilm-tf and AllenNLP. What differs: a sentence starts from
a fixed state (`initial_state`), so that its vectors depend on nothing but itself; the reference carries the state from
batch to batch, which `stateful=True` reproduces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from biLM.batching import few_counts, filled, in_order, require_finite, shape_step
from biLM.char_cnn import CharacterEncoder
from biLM.characters import BEGIN_TOKEN, END_TOKEN, N_FIXED_ROWS, CharacterInput, deduplicate, numbered, round_up
from biLM.errors import InputError
from biLM.lstm import LSTMStack, reverse
from biLM.options import BiLMOptions
from biLM.packing import large_batches, read_packed
from biLM.token_table import CAPACITY, TokenTable
from biLM.tracing import Axes, NamedInputs, by_name
from biLM.vocabulary import Vocabulary, WordInput
from biLM.word_encoder import WordEncoder

Sentence = Sequence[str]
States = list[list[list[Any]]]  # direction, layer, [h, c]

WARM_UP_SENTENCE, WARM_UP_RUNS = ("The", "end", "."), 8
TOKENS_AT_ONCE = 512  # encoded together, sorted by length: as fast as more of them, and little padding


@keras.saving.register_keras_serializable("biLM")
class BiLM(NamedInputs, keras.Model):
    """A bidirectional language model.

    Arguments:
        options: its shape.
        vocabulary: needed by `embed` of a word-id model, unused by one with character input.
        initial_state: what each sentence starts from. "warm": the state after `warm_up`, close to what a biLM trained
            with carried state has seen; "zero": zeros.
        stateful: carry the state from batch to batch, row by row, as the reference does. A sentence's vectors then
            depend on what was embedded before; `reset_states` starts again from zeros.
        top_layer: the highest layer that is wanted, from 0; those above are not computed, and L is this. None: all.

    Call: `{"characters": (U, C) int32, or a list of such, "token_index": (B, T+2) int32}` (see `encode`) ->
        `{"activations": (B, L+1, T, D) float32, "mask": (B, T) bool}`. Layer 0 is the token vector, twice; layer k is
        [forward_k ; backward_k]. Positions where the mask is False hold 0. A forward-only model has D = P.
        `"vectors"` (U, P), made before, may stand in the place of "characters"; without "token_index" the result is the
        vectors (U, P) of the characters. `{"x", "states"}` is what `biLM.packing` asks for.

    Example: `load_bilm("weights.hdf5").embed([["A", "sentence", "."]])[0].shape == (3, 3, 1024)`.
    """

    open_axes: ClassVar[Axes] = {n: (0, 1) for n in ("characters", "token_index", "x")} | {"vectors": (0,), "states": (0,)}

    def __init__(
        self,
        options: BiLMOptions | dict,
        vocabulary: Vocabulary | None = None,
        initial_state: str = "warm",
        stateful: bool = False,
        top_layer: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        within = {"dtype": self.dtype_policy}
        if isinstance(options, dict):
            options = BiLMOptions.from_dict(options)
        if initial_state not in ("warm", "zero"):
            raise InputError(f"`initial_state` must be 'warm' or 'zero'. Received: {initial_state!r}.")
        highest = options.lstm.n_layers
        self.top_layer = highest if top_layer is None else top_layer
        if not 0 <= self.top_layer <= highest:
            raise InputError(f"`top_layer` must be from 0 to {highest}, the biLM's layers. Received: {top_layer}.")
        self.options, self.vocabulary = options, vocabulary
        self.initial_state, self.stateful = initial_state, stateful
        lstm, projection_dim = options.lstm, options.lstm.projection_dim
        self.encoder: keras.layers.Layer
        if options.char_cnn:
            self.encoder = CharacterEncoder(options.char_cnn, projection_dim, name="encoder", **within)
        elif options.n_tokens_vocab:
            self.encoder = WordEncoder(options.n_tokens_vocab, projection_dim, name="encoder", **within)
        else:
            raise InputError("options: a model without char_cnn must hold n_tokens_vocab.")
        names = ("forward", "backward")[: options.n_directions]
        self.directions = [LSTMStack(lstm, options.dropout, name=name, **within) for name in names]
        self.jit_compile = keras.backend.backend() != "tensorflow"  # XLA compiles every batch shape anew
        self._carried: list[np.ndarray] | None = None
        self.build()

    def build(self, input_shape=None):
        lstm = self.options.lstm
        self.encoder.build((None, None) if self.options.char_cnn else (None,))
        for stack in self.directions:
            stack.build((None, None, lstm.projection_dim))
        self.initial_states = [
            [
                [
                    self.add_weight((lstm.projection_dim,), "zeros", trainable=False, name=f"{stack.name}_{layer}_h"),
                    self.add_weight((lstm.dim,), "zeros", trainable=False, name=f"{stack.name}_{layer}_c"),
                ]
                for layer in range(lstm.n_layers)
            ]
            for stack in self.directions
        ]
        self.built = True

    def get_config(self):
        return {"options": self.options.to_dict(), "initial_state": self.initial_state, "stateful": self.stateful,
                "top_layer": self.top_layer, "name": self.name, "dtype": self.dtype_policy.name}  # fmt: skip

    @property
    def n_layers(self) -> int:
        """L + 1: the LSTM layers that are wanted and the token layer."""
        return self.top_layer + 1

    @property
    def width(self) -> int:
        """D."""
        return self.options.width

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned, without those of a softmax."""
        return sum(part.count_params() for part in (self.encoder, *self.directions))

    # -- tensors -------------------------------------------------------------------------------------------------

    def call(self, inputs, training=False):
        inputs = by_name(inputs)
        if "x" in inputs:
            read = [stack(x, s) for stack, x, s in zip(self.directions, inputs["x"], inputs["states"], strict=False)]
            return {"layers": [outputs for outputs, _ in read], "states": [states for _, states in read]}
        vectors = inputs["vectors"] if "vectors" in inputs else self.encoder(inputs["characters"])
        if "token_index" not in inputs:
            return vectors
        token_index = inputs["token_index"]
        states = inputs.get("states")
        carry = states is not None
        if states is None:
            states = [layers[: self.top_layer] for layers in self.expand_states(ops.shape(token_index)[0])]
        indices, hold = (token_index, reverse(token_index)), token_index > 0
        if not carry:  # nobody asks for what follows the last token of a direction
            indices, hold = (token_index[:, :-1], reverse(token_index)[:, :-1]), None
        directions, final = self.read(vectors, indices, states, hold, training)
        lengths = ops.sum(ops.cast(token_index > 0, "int32"), axis=1, keepdims=True)  # (B, 1), marks included
        n_rows, n_positions = ops.shape(token_index)[0], ops.shape(token_index)[1]
        position = ops.expand_dims(ops.arange(1, n_positions - 1), 0)  # (1, T): without <S> and the last column
        mask = position < lengths - 1
        offset = ops.expand_dims(ops.arange(n_rows), 1) * ops.shape(indices[0])[1]
        turned_back = ops.maximum(lengths - 1 - position, 0) + offset  # (B, T) into the rows of all sentences
        layers = []
        for number in range(self.n_layers):
            parts = [directions[0][number][:, 1 : n_positions - 1]]
            if len(directions) == 2:
                backward = directions[1][number]
                flat = ops.reshape(backward, (-1, self.options.lstm.projection_dim))
                parts.append(ops.take(flat, turned_back, axis=0) if number else parts[0])
            layers.append(ops.concatenate(parts, axis=-1))
        activations = ops.stack(layers, axis=1)  # (B, L+1, T, D)
        activations = ops.where(mask[:, None, :, None], activations, 0.0)
        outputs = {"activations": activations, "mask": mask}
        return outputs | {"states": final} if carry else outputs

    def read(self, vectors, indices, states, mask=None, training=False):
        """Runs the directions, each in its own reading order.

        Arguments: token vectors (U, P), for each direction an index (B, N) into them, and the states to start from, of as
        many layers as are wanted; a mask where the states must stay, None where nobody needs the states at the end.
        Returns for each direction the list of its L+1 layers (B, N, P), and the final states.
        """
        directions, final = [], []
        for stack, state, index in zip(self.directions, states, indices, strict=False):
            x = ops.take(vectors, index, axis=0)  # (B, N, P)
            outputs, state = stack(x, state, mask, training=training) if state else ([], [])
            directions.append([x, *outputs])
            final.append(state)
        return directions, final

    def expand_states(self, n_rows) -> States:
        """The initial state for each of `n_rows` sentences."""
        return [
            [[ops.broadcast_to(v, (n_rows, v.shape[0])) for v in layer] for layer in direction]
            for direction in self.initial_states
        ]

    # -- sentences -----------------------------------------------------------------------------------------------

    def encode(self, sentences: Sequence[Sentence], rows_multiple_of: int = 1) -> dict[str, Any]:
        """The input of a batch: its distinct tokens, and where they stand."""
        return self.encode_tokens(*deduplicate(sentences, shape_step()), rows_multiple_of)

    def encode_tokens(self, tokens: Sequence[str], token_index: np.ndarray, rows_multiple_of: int = 1) -> dict[str, Any]:
        """The input for distinct tokens, in the order of `numbered`, and the rows (any shape) where they stand."""
        step = shape_step()
        rows_multiple_of = math.lcm(rows_multiple_of, 64 if step > 1 else 1)
        encoder = self.token_input()
        if isinstance(encoder, CharacterInput):
            groups, token_index = encoder.groups(tokens, token_index, step, rows_multiple_of)
            return {"characters": groups, "token_index": token_index}
        ids = encoder(tokens)
        return {"characters": np.pad(ids, (0, -len(ids) % rows_multiple_of)), "token_index": token_index}

    def token_vectors(self, tokens: Sequence[str]) -> np.ndarray:
        """Vectors of tokens without their context, layer 0. Shape: (len(tokens), P), float32."""
        row_of = numbered(tokens)
        by_length, encode = list(row_of)[2:], self.token_input()
        blocks = []
        for start in range(0, max(1, len(by_length)), TOKENS_AT_ONCE):
            rows = encode(by_length[start : start + TOKENS_AT_ONCE], shape_step())
            padding = [(0, few_counts(len(rows)) - len(rows)), *[(0, 0)] * (rows.ndim - 1)]
            vectors = self.predict_on_batch({"characters": np.pad(rows, padding)})[: len(rows)]
            blocks.append(vectors[N_FIXED_ROWS if start else 0 :])
        return np.concatenate(blocks)[[row_of[token] for token in tokens]]

    def token_table(self, capacity: int = CAPACITY) -> TokenTable:
        """A table of token vectors for `embed_in_batches`; good as long as the biLM's weights stay as they are."""
        return TokenTable(self.token_vectors, self.options.lstm.projection_dim, capacity)

    def embed(self, sentences: Sequence[Sentence], batch_size: int | None = None) -> list[np.ndarray]:
        """Activations of tokenised sentences, in their order: float32 (L+1, T, D) each; T = 0 gives an empty array."""
        return in_order(self.embed_in_batches(sentences, batch_size), sentences)

    def embed_in_batches(
        self, sentences: Sequence[Sentence], batch_size: int | None = None, table: TokenTable | None = None
    ) -> Iterator[tuple[list[int], Sequence[np.ndarray] | np.ndarray]]:
        """Yields (positions in `sentences`, activations (L+1, T, D) of each), shortest sentences first.

        Arguments:
            batch_size: a batch holds about `batch_size * 64` positions, marks included, or one sentence. None: 64, or
                dim / 8 where that is more: each step reads all weights, and many rows share the cost. With
                `stateful=True`: `batch_size` sentences, as they come; None: 64.
            table: of the vectors of tokens met before; a new one when None.
        """
        batch_size = batch_size or (64 if self.stateful else max(64, self.options.lstm.dim // 8))
        if self.stateful:
            for start in range(0, len(sentences), batch_size):
                positions = list(range(start, min(start + batch_size, len(sentences))))
                yield positions, self._embed_carrying([sentences[position] for position in positions])
            return
        table = self.token_table() if table is None else table
        table.add(list(dict.fromkeys(token for sentence in sentences for token in sentence)))
        for positions in large_batches(list(map(len, sentences)), batch_size):
            yield positions, self._embed_alone([sentences[position] for position in positions], table)

    def embed_batch(self, sentences: Sequence[Sentence], table: TokenTable) -> np.ndarray:
        """Activations of a batch, each sentence from the initial state, 0 in the padding. Shape: (B, L+1, T, D)."""
        n_tokens = round_up(max(map(len, sentences), default=0) + 2, shape_step()) - 2
        activations = np.zeros((len(sentences), self.n_layers, n_tokens, self.width), np.float32)
        starts = np.arange(len(sentences)) * self.n_layers * n_tokens
        self._embed(sentences, table, activations, starts, np.full(len(sentences), n_tokens))
        return require_finite(activations, sentences)

    def _embed_alone(self, sentences: Sequence[Sentence], table: TokenTable) -> list[np.ndarray]:
        """Activations (L+1, T, D) of each sentence, without padding."""
        lengths = np.array(list(map(len, sentences)), int)
        ends = np.cumsum(self.n_layers * lengths)
        activations = np.empty((int(ends[-1]), self.width), np.float32)
        self._embed(sentences, table, activations, ends - self.n_layers * lengths, lengths)
        parts = zip(np.split(activations, ends[:-1]), lengths, strict=True)
        return require_finite([part.reshape(self.n_layers, length, self.width) for part, length in parts], sentences)

    def _embed(
        self, sentences: Sequence[Sentence], table: TokenTable, out: np.ndarray, starts: np.ndarray, stride: np.ndarray
    ) -> None:
        """Writes activations into `out`, taken as rows of D: layer k of token t of sentence s is row
        `starts[s] + k * stride[s] + t`."""
        order = np.array(sorted(range(len(sentences)), key=lambda position: -len(sentences[position])), int)
        inputs = self.look_up([sentences[position] for position in order], table)
        vectors, token_index = inputs["vectors"], inputs["token_index"]
        rows = out.reshape(-1, self.options.n_directions, self.options.lstm.projection_dim)
        sentence, token = np.nonzero(token_index[:, 2:])
        rows[starts[order[sentence]] + token] = vectors[token_index[sentence, token + 1]][:, None]
        if self.top_layer:
            states = [layers[: self.top_layer] for layers in self.expand_states(1)]
            for found in read_packed(self.predict_on_batch, vectors, token_index, states):
                sentence = order[found.row]
                rows[starts[sentence] + found.layer * stride[sentence] + found.token, found.direction] = found.values

    def look_up(self, sentences: Sequence[Sentence], table: TokenTable) -> dict[str, np.ndarray]:
        """The input of a batch, its vectors from a table; filled up with empty sentences to one of few shapes."""
        tokens, token_index = deduplicate(filled(sentences, ()), shape_step())
        vectors = table.vectors([BEGIN_TOKEN, END_TOKEN, *tokens])
        n_rows = token_index.size if shape_step() > 1 else 1 + len(vectors)
        padding = (1, n_rows - 1 - len(vectors))  # in front: no token
        return {"vectors": np.pad(vectors, [padding, (0, 0)]), "token_index": token_index}

    def token_input(self) -> CharacterInput | WordInput:
        """What turns distinct tokens into rows of `characters`."""
        if self.options.char_cnn:
            return CharacterInput(self.options.char_cnn.max_characters_per_token, self.options.char_cnn.widest)
        if self.vocabulary is None:
            raise InputError("a word-id biLM needs the vocabulary it was trained with: load_bilm(path, vocabulary=FILE).")
        return WordInput(self.vocabulary)

    # -- state ---------------------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Sets the initial state to what a short sentence, read eight times from zeros, leaves behind."""
        self.reset_states()
        for _ in range(WARM_UP_RUNS):
            self._embed_carrying([WARM_UP_SENTENCE])
        for variable, value in zip(keras.tree.flatten(self.initial_states), self._carried or [], strict=True):
            variable.assign(value[0])
        self.reset_states()

    def reset_states(self) -> None:
        """Forgets the carried state of a stateful model: the next batch starts from zeros."""
        self._carried = None

    def _nested(self, flat: Sequence[Any]) -> States:
        """Flat states as plain lists: direction, layer, [h, c]."""
        pairs = [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
        n_layers = self.options.lstm.n_layers
        return [pairs[start : start + n_layers] for start in range(0, len(pairs), n_layers)]

    def _embed_carrying(self, sentences: Sequence[Sentence]) -> np.ndarray:
        """Activations of a batch whose row r goes on from row r of the batch before."""
        shapes = [variable.shape[0] for variable in keras.tree.flatten(self.initial_states)]
        carried = self._carried or [np.zeros((0, size), np.float32) for size in shapes]
        missing = max(0, len(sentences) - len(carried[0]))
        carried = [np.pad(state, [(0, missing), (0, 0)]) for state in carried]
        current = [state[: len(sentences)] for state in carried]
        inputs = self.encode(sentences) | {"states": self._nested(current)}  # all layers: the state is theirs too
        outputs = self.predict_on_batch(inputs)
        for state, new in zip(carried, keras.tree.flatten(outputs["states"]), strict=True):
            state[: len(sentences)] = new
        self._carried = carried
        return require_finite(outputs["activations"], sentences)
