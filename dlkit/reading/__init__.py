"""Digits on photographs and scanned pages: found, put in order, made to look like MNIST's.

colour.py       an image of any kind in one channel in which the ink shows
ink.py          how strongly each pixel is ink: light, paper and polarity removed
components.py   connected strokes; specks dropped, broken strokes joined
deskew.py       the angle of the lines
lines.py        reading order
seams.py        where digits that touch may be cut
square.py       a digit as MNIST has it: 28 x 28, bright on black
reading.py      all of it for one image, and the answer from the network's
page.py         the answer
annotate.py     a picture of it
"""
