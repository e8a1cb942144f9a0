"""A bundle on a backend of dlkit, one scan a call; every call after the first is timed."""

import json
import sys
import time

import numpy as np

import dlkit

scans, model, out, backend = sys.argv[1:5]
pixels = np.load(scans)
session = dlkit.load(model, backend=backend, device="cpu").opened.session
session(pixels[:1])

begun = time.perf_counter()
cleaned = [session(pixels[at : at + 1]) for at in range(len(pixels))]
work_s = time.perf_counter() - begun

np.save(out, np.concatenate(cleaned))
print(json.dumps({"work_s": work_s}))
