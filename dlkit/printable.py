"""Texts from outside, e.g. names of files, on terminals and in documents."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without what steers a terminal, and without halves of pairs, which no encoding
    has: their codes stand in their place."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
