"""The same for every way to train: loop, checkpoint, run, log, hardware."""
