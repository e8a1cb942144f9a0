"""The proof that what is deployed computes what the network computes."""
