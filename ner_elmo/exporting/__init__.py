"""A tagger for others to run: SavedModel and ONNX."""
