"""Train a network that restores images, on pairs of noisy and clean ones."""
