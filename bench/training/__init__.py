"""Accuracy: data, training, evaluation, and the cells that ask for them."""
