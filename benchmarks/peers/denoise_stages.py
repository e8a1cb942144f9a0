"""Processor seconds an image of each stage of dlkit denoise, one after the other."""

import json
import sys
import time
from pathlib import Path

import numpy as np

import dlkit
from dlkit import images
from dlkit.tasks import TASKS

folder, model, out = sys.argv[1:4]
denoiser = dlkit.load(model, device="cpu")
session = denoiser.opened.session
count = TASKS.load("denoise").batch["cpu"]  # as the command has it
paths = sorted(Path(folder).glob("*.png"))[:32]
images.read(paths[0])

begun = time.process_time()  # of all threads
scans = [images.read(path) for path in paths]
decode = (time.process_time() - begun) / len(scans)

batch = np.stack([denoiser.prepare(scan)[0] for scan in scans[:count]])
for _ in range(5):  # OpenVINO compiles a model for a shape that comes often
    session(batch)
begun = time.process_time()
for _ in range(32):
    session(batch)
inference = (time.process_time() - begun) / 32 / len(batch)

cleaned = denoiser.denoise(scans[:8])
begun = time.process_time()
for index, image in enumerate(cleaned):
    images.write(Path(out) / f"{index}.png", image)
encode = (time.process_time() - begun) / len(cleaned)

print(json.dumps({"decode": decode, "inference": inference, "encode": encode}))
