"""Digits on photographs and scanned pages: found, read, put in order.

colour.py       an image of any kind in one channel in which the ink shows
single.py       one digit on plain ground, by its levels alone
parts.py        areas of ink: which are one digit, and which are signs beside it
ground.py       what one digit is told from: pages, shadows, frames, noise
upright.py      images of the network's own size, which nearly all go to it as they are
blank.py        small images of nothing
square.py       a digit as MNIST has it: 28 x 28, bright on black
finder.py       where digits and other signs are: a network's answer, as boxes
ink.py          pieces of ink: what hangs together
crops.py        a sign with what is around it, as the network takes it that reads them
signs.py        digits and other signs: what both networks together say
unread.py       ink that neither of them has
lines.py        reading order
reading.py      all of it for one image
page.py         the answer
annotate.py     a picture of it
"""
