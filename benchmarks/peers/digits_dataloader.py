"""torch with a DataLoader of two workers, batch 256; eager or compiled."""

import argparse
import csv
import json
import time
from pathlib import Path

import network
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image

parser = argparse.ArgumentParser()
for name in ("folder", "model", "out"):
    parser.add_argument(name)
parser.add_argument("--decode", choices=("pil", "torchvision"), default="pil")
parser.add_argument("--compile", action="store_true")
options = parser.parse_args()


class Digits(Dataset):
    """Pixels and index of each file."""

    def __init__(self, folder: str) -> None:
        self.paths = sorted(Path(folder).glob("*.png"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path = self.paths[index]
        if options.decode == "torchvision":
            return decode_image(str(path), ImageReadMode.GRAY)[0], index
        from PIL import Image

        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert("L"))), index


model = network.load(options.model)
if options.compile:
    model = torch.compile(model, dynamic=True)
with torch.inference_mode():
    for size in (256, 200):  # compile before the clock starts
        model(torch.zeros(size, 28, 28, dtype=torch.uint8))

    begun = time.perf_counter()
    with open(options.out, "w", newline="") as file:  # noqa: PTH123
        writer = csv.writer(file)
        writer.writerow(["file", "digit"])
        data = Digits(options.folder)
        for pixels, indices in DataLoader(data, batch_size=256, num_workers=2):
            answers = model(pixels).argmax(dim=1)
            for index, answer in zip(indices.tolist(), answers.tolist(), strict=True):
                writer.writerow([data.paths[index].name, answer])
print(json.dumps({"work_s": time.perf_counter() - begun}))
