import numpy as np

import dlkit

number: int = dlkit.load("digits").recognize([np.zeros((28, 28), np.uint8)])
