"""What a model is worth, on paper: `data` measures, `page` and `model_card` write."""
