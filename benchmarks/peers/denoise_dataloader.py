"""torch with a DataLoader of two workers, batch 4; eager or compiled; PNG by torchvision.io.

The scans must have one size, as a DataLoader stacks them.
"""

import argparse
import json
import time
from pathlib import Path

import network
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image, write_png

from dlkit.bundle import Bundle

parser = argparse.ArgumentParser()
for name in ("folder", "model", "out"):
    parser.add_argument(name)
parser.add_argument("--compile", action="store_true")
options = parser.parse_args()
multiple = Bundle.open(options.model).spec.multiple_of
out = Path(options.out)
out.mkdir()


class Scans(Dataset):
    """UInt8, padded by repeating the edge, and index of each file."""

    def __init__(self, folder: str) -> None:
        self.paths = sorted(Path(folder).glob("*.png"))
        self.height, self.width = decode_image(str(self.paths[0])).shape[1:]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        scan = decode_image(str(self.paths[index]), ImageReadMode.GRAY)
        edges = (0, -self.width % multiple, 0, -self.height % multiple)
        padded = F.pad(scan[None].float(), edges, mode="replicate")
        return padded[0, 0].to(torch.uint8), index


model = network.load(options.model)
data = Scans(options.folder)
if options.compile:
    model = torch.compile(model)
with torch.inference_mode():
    for count in {min(4, len(data)), len(data) % 4 or 4}:  # compile before the clock starts
        model(torch.stack([data[0][0]] * count))

    begun = time.perf_counter()
    for pixels, indices in DataLoader(data, batch_size=4, num_workers=2):
        cleaned = model(pixels)[:, : data.height, : data.width]
        for image, index in zip(cleaned, indices.tolist(), strict=True):
            write_png(image[None].contiguous(), str(out / data.paths[index].name))
print(json.dumps({"work_s": time.perf_counter() - begun}))
