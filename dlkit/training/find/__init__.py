"""Train a finder of digits on simulated paper."""
