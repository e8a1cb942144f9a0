"""torch eager in float32, one scan a call; every call after the first is timed."""

import json
import sys
import time

import network
import numpy as np
import torch

scans, model, out = sys.argv[1:4]
pixels = torch.from_numpy(np.load(scans))
with torch.inference_mode():
    cleaner = network.load(model)
    cleaner(pixels[:1])
    begun = time.perf_counter()
    cleaned = [cleaner(pixels[at : at + 1]) for at in range(len(pixels))]
    work_s = time.perf_counter() - begun
np.save(out, torch.cat(cleaned).numpy())
print(json.dumps({"work_s": work_s}))
