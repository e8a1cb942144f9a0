"""One file a network; each provides ``ARCHITECTURE``. See ``dlkit.training.architecture``."""
