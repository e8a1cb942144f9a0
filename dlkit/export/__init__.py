"""Export: a run into a bundle, a bundle into an engine, and the proof that they agree."""
