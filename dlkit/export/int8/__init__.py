"""int8: ranges from training images, the quantised graph, and the search for what to leave out."""
