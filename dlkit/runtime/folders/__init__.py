"""Folders of files: what is to do, what was done, and the threads that do it."""
