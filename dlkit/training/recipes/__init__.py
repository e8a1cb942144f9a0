"""One file a recipe; each provides ``RECIPE``. The file's name is the recipe's."""
