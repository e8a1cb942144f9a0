"""Bundles for others: a card that says what is known of one, and Hugging Face's hub."""
