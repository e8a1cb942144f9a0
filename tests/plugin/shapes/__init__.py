"""A package that is no part of dlkit: it finds discs in images, with a task of its own."""
