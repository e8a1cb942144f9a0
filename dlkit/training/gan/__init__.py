"""Train a generator against a critic."""
