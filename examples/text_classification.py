"""Sorts guests' notes into praise and complaint: a plain Keras model on `ElmoEmbedding`, nothing about entities.

`python examples/text_classification.py`, where ner-elmo is installed. It takes the small biLM that comes with it.
"""

import keras
import numpy as np

from biLM import batch_to_ids, load_bilm
from ner_elmo import ElmoEmbedding
from ner_elmo.config import BUNDLED_BILM

THINGS = ["soup", "room", "waiter", "bed", "breakfast", "view", "garden", "coffee", "shower", "boat trip"]
PRAISE = [
    "The {} was lovely .",
    "We liked the {} very much .",
    "A wonderful {} , thank you !",
    "The {} could not be better .",
]
COMPLAINT = ["The {} was awful .", "We hated the {} .", "A dreadful {} , never again !", "The {} could not be worse ."]


def notes(things: list[str]) -> tuple[list[list[str]], np.ndarray]:
    """Tokenised notes, and 1 for each that is praise."""
    texts = [
        (form.format(thing), label) for thing in things for label, forms in ((1, PRAISE), (0, COMPLAINT)) for form in forms
    ]
    return [text.split() for text, _ in texts], np.array([label for _, label in texts])


def build_classifier() -> keras.Model:
    ids = keras.Input((None, 50), dtype="int32", name="characters")
    vectors = ElmoEmbedding(load_bilm(BUNDLED_BILM), dropout=0.2)(ids)
    note = keras.layers.GlobalAveragePooling1D()(vectors)  # the mask goes along: padding does not count
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="praise")(note))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return model


def main() -> float:
    train, labels = notes(THINGS[:7])
    test, expected = notes(THINGS[7:])  # things that training never named
    model = build_classifier()
    model.summary()
    model.fit(batch_to_ids(train), labels, batch_size=14, epochs=10, verbose=2)
    accuracy = model.evaluate(batch_to_ids(test), expected, verbose=0)[1]
    print(f"accuracy on {len(test)} notes about other things: {accuracy:.2f}")
    return accuracy


if __name__ == "__main__":
    main()
