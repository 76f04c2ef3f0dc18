"""The network: token vectors -> residual BiLSTM -> emissions, with a head that gives the loss.

Source: residual BiLSTM after Tran et al. 2017 and the "ELMo + residual LSTM" tutorials; CRF on top as in Lample et al.
2016. What differs: padding never enters the backward LSTM, and no dropout inside the recurrence, which would switch
cuDNN off.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from biLM import BiLM
from biLM.char_cnn import CharacterEncoder
from biLM.options import CharCNNOptions
from biLM.tracing import Axes, NamedInputs, by_name
from ner_elmo.config import NO_ELMO, TrainConfig
from ner_elmo.crf import CRF, SoftmaxHead
from ner_elmo.elmo import ElmoEmbedding, ScalarMix
from ner_elmo.lstm import LSTM

TOKEN_CHARACTERS = CharCNNOptions(filters=((1, 16), (2, 32), (3, 64), (4, 64)), activation="relu", n_highway=1)
TOKEN_CHARACTER_DIM = 64
CASING_DIM = 8


@keras.saving.register_keras_serializable("ner_elmo")
class BiLSTM(keras.layers.Layer):
    """A forward and a backward LSTM; the backward one reads each sentence from its own last token.

    Call: x (B, T, D), mask (B, T) bool, padding last -> (B, T, 2 * units). Positions in the padding hold 0.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.forward = LSTM(units, return_sequences=True, name="forward")
        self.backward = LSTM(units, return_sequences=True, name="backward")
        self.supports_masking = True

    def build(self, input_shape):
        self.forward.build(input_shape)
        self.backward.build(input_shape)

    def call(self, x, mask):
        source = _reversal(mask)
        backward = _gather(self.backward(_gather(x, source)), source)
        real = ops.cast(mask, x.dtype)[:, :, None]
        return ops.concatenate([self.forward(x), backward], axis=-1) * real

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], 2 * self.units)

    def get_config(self):
        return super().get_config() | {"units": self.units}


def _reversal(mask):
    """For each position of a sentence the one that mirrors it; the padding stays. Shape: (B, T) int32."""
    lengths = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
    position = ops.arange(ops.shape(mask)[1], dtype="int32")[None, :]
    return ops.where(position < lengths, lengths - 1 - position, position)


def _gather(x, source):
    """`x[b, source[b, t]]`: (B, T, D), (B, T) -> (B, T, D)."""
    n_rows, n_steps = ops.shape(x)[0], ops.shape(x)[1]
    offset = ops.arange(n_rows, dtype="int32")[:, None] * n_steps
    return ops.take(ops.reshape(x, (-1, x.shape[-1])), source + offset, axis=0)


@keras.saving.register_keras_serializable("ner_elmo")
class ResidualBiLSTM(keras.layers.Layer):
    """Blocks of `x = BiLSTM(x); x = x + BiLSTM(x)`, dropout before each BiLSTM.

    The dropout is variational: one mask a sentence, the same at every step.

    Arguments:
        units: of each LSTM. n_blocks: how many blocks. dropout: share dropped, in [0, 1).

    Call: x (B, T, D), mask (B, T) bool -> (B, T, 2 * units).
    """

    def __init__(self, units: int = 256, n_blocks: int = 1, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.n_blocks, self.rate = units, n_blocks, dropout
        self.bilstms = [BiLSTM(units, name=f"bilstm_{number}") for number in range(2 * n_blocks)]
        self.dropouts = [keras.layers.SpatialDropout1D(dropout) for _ in self.bilstms]
        self.supports_masking = True

    def build(self, input_shape):
        for number, bilstm in enumerate(self.bilstms):
            bilstm.build(input_shape if number == 0 else (*input_shape[:2], 2 * self.units))

    def call(self, x, mask, training=False):
        for number, (bilstm, dropout) in enumerate(zip(self.bilstms, self.dropouts, strict=True)):
            y = bilstm(dropout(x, training=training), mask)
            x = x + y if number % 2 else y
        return x

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], 2 * self.units)

    def get_config(self):
        return super().get_config() | {"units": self.units, "n_blocks": self.n_blocks, "dropout": self.rate}


@keras.saving.register_keras_serializable("ner_elmo")
class TokenEmbedding(keras.layers.Layer):
    """What a tagger knows of a token beside ELMo: learned word, character and casing vectors, and vectors from a file.

    Arguments:
        n_words: rows of the learned word table; 0: neither word nor character vectors are learned.
        word_dim: width of the word vectors. n_casings: classes of `ner_elmo.casing`, 0: none.
        word_vectors_width: of the vectors that come ready with the input.

    Call: `token_index` (B, T) and, of each distinct token once, those it was made for of `words` (U,), `characters`
        (U, C), `casing` (U,) and `vectors` (U, W) -> (B, T, width).
    In training distinct tokens become unknown with `word_dropout`: word 1, and a ready vector of zeros, which is what a word
    has that is in no table. Where the biLM's text holds the training sentences, training would meet no such word otherwise.
    """

    def __init__(
        self,
        n_words: int,
        word_dim: int,
        n_casings: int = 0,
        word_vectors_width: int = 0,
        word_dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.n_words, self.word_dim, self.word_dropout = n_words, word_dim, word_dropout
        self.n_casings, self.word_vectors_width = n_casings, word_vectors_width
        self.words = self.characters = self.casing = None
        if n_words:
            self.words = keras.layers.Embedding(n_words, word_dim, name="words")
            self.characters = CharacterEncoder(TOKEN_CHARACTERS, TOKEN_CHARACTER_DIM, name="characters")
        if n_casings:
            self.casing = keras.layers.Embedding(n_casings, CASING_DIM, name="casing")
        self.seed_generator = keras.random.SeedGenerator(0)

    @property
    def width(self) -> int:
        learned = self.word_dim + TOKEN_CHARACTER_DIM if self.n_words else 0
        return learned + (CASING_DIM if self.n_casings else 0) + self.word_vectors_width

    def build(self, token_index_shape=None, **kwargs):
        if self.words is not None:
            self.words.build((None,))
            self.characters.build((None, None))
        if self.casing is not None:
            self.casing.build((None,))

    def call(self, token_index, words=None, characters=None, casing=None, vectors=None, training=False):
        if training:
            of_tokens = next(each for each in (words, casing, vectors) if each is not None)
            kept = keras.random.uniform((ops.shape(of_tokens)[0],), seed=self.seed_generator) >= self.word_dropout
            words = None if words is None else ops.where(kept, words, 1)
            vectors = None if vectors is None else ops.where(kept[:, None], vectors, 0.0)
        parts = []
        if self.words is not None:
            parts += [self.words(words), self.characters(characters)]
        if self.casing is not None:
            parts.append(self.casing(casing))
        if self.word_vectors_width:
            parts.append(vectors)
        return ops.take(ops.concatenate(parts, axis=-1), token_index, axis=0)

    def compute_output_shape(self, token_index_shape, **kwargs):
        return (*token_index_shape, self.width)


@keras.saving.register_keras_serializable("ner_elmo")
class Tagger(NamedInputs, keras.Model):
    """Inputs of a batch -> emissions (B, T, K); the loss is the mean negative log-likelihood of a sentence, in nats.

    Arguments:
        elmo: `ScalarMix` of ready activations, `ElmoEmbedding` of token rows when the biLM is fine-tuned, or None.
        token_embedding: what is known of tokens beside ELMo, or None; their widths add up.
        network, head: `ResidualBiLSTM`; `CRF` or `SoftmaxHead`.
        output_elmo: a second `ScalarMix`, beside the network's output, or None. When the biLM is fine-tuned, it is the
            second of `elmo`'s own mixes.

    Call: a dictionary as `ner_elmo.batching.Prepared` gives it.
    """

    open_axes: ClassVar[Axes] = {
        "mask": (0, 1), "activations": (0, 2), "token_index": (0, 1), "characters": (0, 1), "words": (0,), "casing": (0,),
        "vectors": (0,), "gazetteers": (0, 1), "y": (0, 1),
    }  # fmt: skip

    def __init__(
        self,
        elmo: Any,
        token_embedding: TokenEmbedding | None,
        network: ResidualBiLSTM,
        head: Any,
        output_elmo: ScalarMix | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.elmo, self.token_embedding, self.network, self.head = elmo, token_embedding, network, head
        self.output_elmo = output_elmo
        self.emitter = keras.layers.Dense(len(head.tag_set), name="emitter")
        self.dropout = keras.layers.SpatialDropout1D(network.rate, name="dropout")

    def build_for(self, width: int, n_layers: int, gazetteers_width: int = 0) -> Tagger:
        """Makes all weights; `width` (D) and `n_layers` (L+1) are those of the biLM, 0 without one."""
        shape = (None, n_layers, None, width)
        if self.elmo is not None and not self.elmo.built:
            self.elmo.build(shape)
        token_width = self.token_embedding.width if self.token_embedding is not None else 0
        if self.token_embedding is not None:
            self.token_embedding.build((None, None))
        self.network.build((None, None, width + token_width + gazetteers_width))
        output_width = 2 * self.network.units
        if self.output_elmo is not None:
            self.output_elmo.build(shape)
        if self.output_elmo is not None or getattr(self.elmo, "n_mixes", 1) == 2:
            output_width += width
        self.emitter.build((None, None, output_width))
        self.dropout.build((None, None, output_width))
        self.head.build((None, None, len(self.head.tag_set)))
        self.built = True
        return self

    def call(self, inputs, training=False):
        inputs = by_name(inputs)
        mask, vectors, at_output = inputs["mask"], [], []
        if "activations" in inputs:
            vectors.append(self.elmo(inputs["activations"], mask))
            if self.output_elmo is not None:
                at_output.append(self.output_elmo(inputs["activations"], mask))
        if "rows" in inputs:
            rows = inputs["rows"]
            mixes = self.elmo([rows["characters"], rows["token_index"]], training=training)
            first, *at_output = mixes if isinstance(mixes, list) else [mixes]
            vectors.append(first)
        if "tokens" in inputs:
            vectors.append(self.token_embedding(**inputs["tokens"], training=training))
        if "gazetteers" in inputs:
            vectors.append(inputs["gazetteers"])
        x = self.network(_joined(vectors), mask, training=training)
        return self.emitter(self.dropout(_joined([x, *at_output]), training=training))  # (B, T, K)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return sum(self.losses, self.data_loss(x, y, y_pred, sample_weight))  # losses: the L2 of the mix

    def data_loss(self, inputs, tags, emissions, shares=None):
        """The mean of the sentences' losses; `shares` (B,), of each sentence in it: equal ones where none are given."""
        log_likelihood = self.head(emissions, tags, by_name(inputs)["mask"])
        return -ops.mean(log_likelihood) if shares is None else -ops.sum(log_likelihood * shares)


def _joined(vectors: list):
    return ops.concatenate(vectors, axis=-1) if len(vectors) > 1 else vectors[0]


def build_tagger(
    config: TrainConfig,
    types: list[str],
    width: int = 0,
    n_layers: int = 0,
    n_words: int = 0,
    n_casings: int = 0,
    word_vectors_width: int = 0,
    gazetteers_width: int = 0,
    bilm: BiLM | None = None,
) -> Tagger:
    """The tagger that a configuration describes.

    Arguments:
        types: entity types. width, n_layers: D and L + 1 of the biLM, 0 without one.
        n_words, n_casings, word_vectors_width, gazetteers_width: see `ner_elmo.batching.Features.sizes`.
        bilm: given to fine-tune it inside; None when ready activations come in.
    """
    mix: dict[str, Any] = {"l2": config.l2, "layers": config.layers, "layer_norm": config.layer_norm, "name": "elmo"}
    elmo: keras.layers.Layer | None = None
    output_elmo = None
    if config.elmo != NO_ELMO and bilm is not None:
        elmo = ElmoEmbedding(bilm, train_bilm=True, n_mixes=2 if config.output_mix else 1, **mix)
    elif config.elmo != NO_ELMO:
        elmo = ScalarMix(**mix)
        output_elmo = ScalarMix(**mix | {"name": "output_elmo"}) if config.output_mix else None
    embedding = None
    if n_words or n_casings or word_vectors_width:
        embedding = TokenEmbedding(
            n_words, config.word_dim, n_casings, word_vectors_width, config.word_dropout, name="token_embedding"
        )
    network = ResidualBiLSTM(config.hidden_size, config.n_blocks, config.dropout, name="network")
    head = CRF(types, name="head") if config.head == "crf" else SoftmaxHead(types, name="head")
    tagger = Tagger(elmo, embedding, network, head, output_elmo)
    tagger.jit_compile = keras.backend.backend() != "tensorflow"
    return tagger.build_for(width, n_layers, gazetteers_width)
