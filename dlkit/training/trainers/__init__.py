"""One file a way to train; each provides ``RECIPE`` and ``TRAINER``."""
