"""An independent NumPy biLM, written from the published equations, one token and one step at a time.

It shares no code with the package: weights come as a dictionary named as in weights.hdf5, options as a plain dictionary.
"""

import numpy as np


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def character_ids(token: str, limit: int) -> list[int]:
    if token == "<S>":
        inner = [256]
    elif token == "</S>":
        inner = [257]
    else:
        inner = list(token.encode("utf-8"))[: limit - 2]
    ids = [258, *inner, 259]
    return ids + [260] * (limit - len(ids))


def token_vector(token: str, weights: dict, options: dict) -> np.ndarray:
    cnn = options["char_cnn"]
    limit = cnn["max_characters_per_token"]
    characters = weights["char_embed"][character_ids(token, limit)].astype(np.float64)  # (C, 16)
    found = []
    for number, (width, count) in enumerate(cnn["filters"]):
        kernel, bias = weights[f"CNN/W_cnn_{number}"][0], weights[f"CNN/b_cnn_{number}"]
        windows = np.lib.stride_tricks.sliding_window_view(characters, width, axis=0)  # (position, 16, width)
        sums = np.tensordot(windows, kernel, axes=([2, 1], [0, 1])) + bias
        activation = np.tanh if cnn["activation"] == "tanh" else lambda x: np.maximum(x, 0)
        found.append(activation(sums.max(axis=0)))
        assert found[-1].shape == (count,)
    x = np.concatenate(found)
    for number in range(cnn.get("n_highway") or 0):
        name = f"CNN_high_{number}/"
        gate = sigmoid(x @ weights[name + "W_carry"] + weights[name + "b_carry"])
        x = gate * np.maximum(x @ weights[name + "W_transform"] + weights[name + "b_transform"], 0) + (1 - gate) * x
    if "CNN_proj/W_proj" in weights:
        x = x @ weights["CNN_proj/W_proj"] + weights["CNN_proj/b_proj"]
    return x


def clip(x, limit):
    return np.clip(x, -limit, limit) if limit else x


class Direction:
    """One direction; keeps its state from sentence to sentence, as the reference does, unless it is set."""

    def __init__(self, number: int, weights: dict, options: dict):
        self.options, self.layers = options["lstm"], []
        n_layers = self.options.get("n_layers", 1)
        for layer in range(n_layers):
            cell = f"RNN_{number}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
            self.layers.append({k: weights.get(cell + k) for k in ("W_0", "B", "W_P_0")})
        dim, projection = self.options["dim"], self.options["projection_dim"]
        self.state = [(np.zeros(projection), np.zeros(dim)) for _ in range(n_layers)]

    def step(self, x):
        outputs = []
        for number, layer in enumerate(self.layers):
            h, c = self.state[number]
            i, j, f, o = np.split(np.concatenate([x, h]) @ layer["W_0"] + layer["B"], 4)
            c = clip(sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j), self.options.get("cell_clip"))
            h = sigmoid(o) * np.tanh(c)
            if layer["W_P_0"] is not None:
                h = clip(h @ layer["W_P_0"], self.options.get("proj_clip"))
            self.state[number] = h, c
            x = h + x if number and self.options.get("use_skip_connections") else h
            outputs.append(x)
        return outputs


class BiLMOracle:
    def __init__(self, weights: dict, options: dict, vocabulary: list[str] | None = None):
        self.weights, self.options, self.vocabulary = weights, options, vocabulary
        self.directions = [Direction(d, weights, options) for d in (0, 1) if any(w.startswith(f"RNN_{d}/") for w in weights)]

    def vector(self, token: str) -> np.ndarray:
        if self.vocabulary is None:
            return token_vector(token, self.weights, self.options)
        position = self.vocabulary.index(token) if token in self.vocabulary else self.vocabulary.index("<UNK>")
        return self.weights["embedding"][position]

    def embed(self, sentence: list[str]) -> np.ndarray:
        """Activations (L+1, T, D) of one sentence, going on from the carried state."""
        vectors = [self.vector(token) for token in ["<S>", *sentence, "</S>"]]
        parts = []
        for number, direction in enumerate(self.directions):
            order = vectors[::-1] if number else vectors
            steps = [np.stack([x, *direction.step(x)]) for x in order]
            parts.append(np.stack(steps[::-1] if number else steps, axis=1)[:, 1:-1])
        return np.concatenate(parts, axis=-1)

    def warm_up(self, sentence=("The", "end", "."), runs=8) -> list:
        for _ in range(runs):
            self.embed(list(sentence))
        return [list(direction.state) for direction in self.directions]


def random_options(**changes) -> dict:
    """A small shape; changes are `section__key=value`."""
    options = {
        "lstm": {
            "dim": 12, "projection_dim": 5, "n_layers": 2, "cell_clip": 3, "proj_clip": 3, "use_skip_connections": True,
        },
        "char_cnn": {
            "filters": [[1, 3], [2, 4], [4, 6]], "embedding": {"dim": 4}, "activation": "relu", "n_highway": 2,
            "n_characters": 262, "max_characters_per_token": 50,
        },
    }  # fmt: skip
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if not key:
            options[section] = value
        elif value is None:
            del options[section][key]
        else:
            options[section][key] = value
    return options


def random_weights(options: dict, seed: int = 0, n_words: int = 0, directions=(0, 1)) -> dict[str, np.ndarray]:
    """Weights that fit the options, large enough for clips and saturation to matter."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(0, 0.4, shape).astype(np.float32)

    lstm, cnn = options["lstm"], options.get("char_cnn")
    dim, projection = lstm["dim"], lstm["projection_dim"]
    weights = {}
    if cnn:
        width, n = cnn["embedding"]["dim"], sum(count for _, count in cnn["filters"])
        weights["char_embed"] = normal(261, width)
        for i, (size, count) in enumerate(cnn["filters"]):
            weights[f"CNN/W_cnn_{i}"], weights[f"CNN/b_cnn_{i}"] = normal(1, size, width, count), normal(count)
        for i in range(cnn.get("n_highway") or 0):
            for gate in ("carry", "transform"):
                weights[f"CNN_high_{i}/W_{gate}"], weights[f"CNN_high_{i}/b_{gate}"] = normal(n, n), normal(n)
        if n != projection:
            weights["CNN_proj/W_proj"], weights["CNN_proj/b_proj"] = normal(n, projection), normal(projection)
    else:
        weights["embedding"] = normal(n_words, projection)
    for d in directions:
        for layer in range(lstm.get("n_layers", 1)):
            cell = f"RNN_{d}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
            weights[cell + "W_0"], weights[cell + "B"] = normal(2 * projection, 4 * dim), normal(4 * dim)
            if projection != dim:
                weights[cell + "W_P_0"] = normal(dim, projection)
    return weights


def log_expected_count(ids, n_words: int, n_tries: int):
    """How often the log-uniform sampler is expected to have found a word after so many draws with replacement, as log."""
    p = (np.log(np.asarray(ids) + 2.0) - np.log(np.asarray(ids) + 1.0)) / np.log(n_words + 1.0)
    return np.log(1.0 - (1.0 - p) ** n_tries)


class TrainingOracle:
    """Training as the reference describes it, in float64, with gradients by central differences.

    weights: a dictionary named as in weights.hdf5, with `softmax/W` and `softmax/b`; changed by `step`.
    """

    def __init__(self, weights: dict, options: dict, learning_rate: float, clip_norm: float, unroll_steps: int):
        self.weights = {name: np.array(array, dtype=np.float64) for name, array in weights.items()}
        self.accumulators = {name: np.ones_like(array) for name, array in self.weights.items()}
        self.options, self.learning_rate = options, learning_rate
        self.clip_norm, self.unroll_steps = clip_norm, unroll_steps
        self.states: list | None = None

    def loss(self, inputs, targets, keep, candidates, n_tries, states=None) -> tuple[float, list]:
        """Half the sum of both directions' mean nats; inputs and targets: [row][direction] -> tokens, word ids; candidates,
        n_tries: of each direction."""
        w, b = self.weights["softmax/W"], self.weights["softmax/b"]
        vectors: dict = {}
        nats, final = [], []
        for row, directions in enumerate(inputs):
            final.append([])
            for d, tokens in enumerate(directions):
                reader = Direction(d, self.weights, self.options)
                if states is not None:
                    reader.state = [(h * keep[row], c * keep[row]) for h, c in states[row][d]]
                for token, target in zip(tokens, targets[row][d], strict=True):
                    if token not in vectors:
                        vectors[token] = token_vector(token, self.weights, self.options)
                    h = reader.step(vectors[token])[-1]
                    ids = [target, *(c for c in candidates[d] if c != target)]
                    logits = w[ids] @ h + b[ids] - log_expected_count(ids, len(w), n_tries[d])
                    nats.append(np.log(np.exp(logits).sum()) - logits[0])
                final[row].append(reader.state)
        return float(np.mean(nats)), final

    def step(self, inputs, targets, keep, candidates, n_tries, moving: dict) -> float:
        """One Adagrad step on the entries that `moving` marks (name -> boolean array), the only ones with a gradient."""
        batch = (inputs, targets, keep, candidates, n_tries)
        loss, final = self.loss(*batch, self.states)
        gradients = {}
        for name, mask in moving.items():
            gradients[name] = np.zeros_like(self.weights[name])
            for place in zip(*np.nonzero(mask), strict=True):
                value = self.weights[name][place]
                sides = []
                for side in (value + 1e-6, value - 1e-6):
                    self.weights[name][place] = side
                    sides.append(self.loss(*batch, self.states)[0])
                self.weights[name][place] = value
                gradients[name][place] = self.unroll_steps * (sides[0] - sides[1]) / 2e-6
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
        for name, gradient in gradients.items():
            gradient *= min(1.0, self.clip_norm / norm)
            self.accumulators[name] += gradient**2
            self.weights[name] -= self.learning_rate * gradient / np.sqrt(self.accumulators[name])
        self.states = final
        return loss
