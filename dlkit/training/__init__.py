"""Training: recipes, networks and data. torch lives here."""
