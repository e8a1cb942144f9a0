"""Simulated paper: pages of handwritten digits, with what is written on them.

page.py       Page, Line, Sign; Digits to write with
strokes.py    middle lines of digits, to draw them anew
pens.py       the ink of a digit
marks.py      signs that are no digits
rules.py      what is printed: rules, squares, margins, boxes, words
writing.py    numbers put on a sheet
camera.py     desk, perspective, light, defocus, noise, JPEG
simulate.py   a page of a kind
"""

from dlkit.paper.page import OTHER, Digits, Line, Page, Sign
from dlkit.paper.pens import PENS
from dlkit.paper.simulate import KINDS, simulate

__all__ = ["KINDS", "OTHER", "PENS", "Digits", "Line", "Page", "Sign", "simulate"]
