"""Shapes by name: the published ones, and a tiny one that trains on a laptop."""

from __future__ import annotations

from typing import Any

_LARGE_FILTERS = [[1, 32], [2, 32], [3, 64], [4, 128], [5, 256], [6, 512], [7, 1024]]
_TINY_FILTERS = _LARGE_FILTERS[:5]


def _shape(dim: int, projection_dim: int, n_highway: int, filters: list[list[int]]) -> dict[str, Any]:
    return {
        "lstm": {"dim": dim, "projection_dim": projection_dim, "n_layers": 2, "cell_clip": 3, "proj_clip": 3,
                 "use_skip_connections": True},
        "char_cnn": {"filters": filters, "embedding": {"dim": 16}, "activation": "relu", "n_highway": n_highway,
                     "n_characters": 262, "max_characters_per_token": 50},
    }  # fmt: skip


PRESETS = {
    "tiny": _shape(512, 128, 1, _TINY_FILTERS),  # 3.0 M parameters
    "small": _shape(1024, 128, 1, _LARGE_FILTERS),  # 13.6 M
    "medium": _shape(2048, 256, 1, _LARGE_FILTERS),  # 28.0 M
    "original": _shape(4096, 512, 2, _LARGE_FILTERS),  # 93.6 M
}
