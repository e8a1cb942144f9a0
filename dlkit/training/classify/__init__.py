"""Train a classifier of images with cross entropy."""
