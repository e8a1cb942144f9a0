"""Labelled images in memory: MNIST and its like, class folders, IDX files, arrays.

What ``load_labelled`` takes:

    mnist-mini              bundled: 6,000 + 1,000 digits of MNIST
    mnist, fashion-mnist    downloaded once through torchvision
    FOLDER of IDX files     MNIST's four names, gzipped or not, there or in MNIST/raw below it; any
                            number of classes; ``*mapping*.txt`` (EMNIST's form) names them
    FOLDER of class folders train/ and test/ (or validation/), each with a folder a class; or the
                            class folders at once
    FILE.npz                ``images`` and ``labels``; or ``x_train``, ``y_train``, ``x_test``,
                            ``y_test``; ``classes`` may name the classes, which are numbers from 0
                            on without: places among the labels of a bundle that has names

Where nothing is trained, a test part alone is enough: test/, or ``x_test`` and ``y_test``.

What was not split is split by class, a sixth for testing, the same way each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import InputError
from dlkit.spec import is_one_line
from dlkit.tasks.recognize.class_folders import read_class_folders
from dlkit.tasks.recognize.label_files import read_idx_folder, read_npz
from dlkit.tasks.recognize.labelled import Labelled, split

MINI = Path(__file__).parent / "mnist_mini"
NAMES = ("mnist-mini", "mnist", "fashion-mnist")

_FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # torchvision's names
_FAINT = 16  # the brightest pixel of images that nobody scaled: 0 and 1, or 0 to 16
_EMPTY = 0.5  # so many images without any ink are no accident


def load_labelled(
    data: str,
    size: tuple[int, int] | None = None,
    resize: str = "stretch",
    to_test: bool = False,
) -> Labelled:
    """Load a dataset; see the module's text for what ``data`` may be.

    Args:
        size: height and width that images of files are brought to; None takes them as they are,
            which needs them to be of one size.
        resize: how, one of ``dlkit.spec.RESIZES``.
        to_test: nobody trains on it: a test part may stand alone (``test/``; ``x_test`` and
            ``y_test``), and is taken whole.

    Raises:
        InputError: it cannot be found, downloaded or read; or it is none of these forms.
    """
    if data == "mnist-mini":
        return _with_notes(read_idx_folder(MINI, data))
    if data in _FOLDERS:
        return _with_notes(read_idx_folder(_download(data), data))
    path = Path(data)
    if path.is_file() and path.suffix.lower() == ".npz":
        return _with_notes(read_npz(path, to_test))
    if not path.is_dir():
        raise InputError(
            f"there is no dataset, folder or .npz file '{data}'",
            f"Known by name: {', '.join(NAMES)}",
        )
    found = [name for name in _FOLDERS.values() if (path / name / "raw").is_dir()]
    if len(found) > 1:
        raise InputError(f"{path} holds {' and '.join(found)}", "Name one of its subfolders")
    place = path / found[0] if found else path.resolve()
    for raw in (place, place / "raw"):
        if any(raw.glob("*-ubyte*")):
            known = {folder: name for name, folder in _FOLDERS.items()}
            return _with_notes(read_idx_folder(raw, known.get(place.name, place.name)))
    folders = read_class_folders(path, size, resize, to_test)
    pictures, labels = (np.concatenate(side) for side in zip(*folders.parts, strict=True))
    cut = len(folders.parts[0][0]) if len(folders.parts) > 1 else None
    name = path.resolve().name
    parted = split(name, pictures, labels, folders.classes, cut, folders.notes, to_test=to_test)
    return _with_notes(parted)


def _with_notes(data: Labelled) -> Labelled:
    """Note what makes a training senseless, though it would run.

    Raises:
        InputError: a class has a name that no bundle takes.
    """
    for name in data.classes:
        if not is_one_line(name):
            raise InputError(
                f"{data.name} has a class called {name!r}, expected text in one line without "
                "control characters"
            )
    seen = np.unique(data.train_labels)
    if not len(seen):
        return data
    if len(seen) == 1:
        data.notes.append(
            f"all {len(data.train_labels)} training labels of {data.name} are "
            f"'{data.classes[seen[0]]}': nothing can be learnt from them"
        )
    flat = data.train_images.reshape(len(data.train_images), -1)
    empty = int((flat.min(axis=1) == flat.max(axis=1)).sum())
    if empty >= _EMPTY * len(flat):
        data.notes.append(
            f"{empty} of {len(flat)} training images of {data.name} are empty (all pixels the same)"
        )
    tested = np.unique(data.test_labels)
    if absent := sorted(set(range(len(data.classes))) - set(seen) - set(tested)):
        names = ", ".join(data.classes[one] for one in absent[:5])
        data.notes.append(
            f"{len(absent)} of {len(data.classes)} classes of {data.name} have no image: {names}"
        )
    if unseen := sorted(set(tested) - set(seen)):
        names = ", ".join(data.classes[one] for one in unseen[:5])
        data.notes.append(
            f"{len(unseen)} classes of {data.name} are only in the test part: {names}"
        )
    trained = set(_hashes(data.train_images))
    if known := sum(one in trained for one in _hashes(data.test_images)):
        data.notes.append(
            f"{known} of {len(data.test_images)} test images of {data.name} are among its training "
            "images: the test accuracy says less of others"
        )
    train_most, test_most = (int(part.max()) for part in (data.train_images, data.test_images))
    if (most := max(train_most, test_most)) <= _FAINT:
        data.notes.append(
            f"no pixel of {data.name} is above {most} of 255: if that is white, multiply by "
            f"{255 // max(most, 1)}"
        )
    elif min(train_most, test_most) <= _FAINT:
        data.notes.append(
            f"training images of {data.name} go up to {train_most}, test images to {test_most}: "
            "scale both alike"
        )
    return data


def _hashes(pictures: NDArray[np.uint8]) -> Iterator[int]:
    return (hash(one.tobytes()) for one in pictures)


def _download(name: str) -> Path:
    import platformdirs
    import torchvision

    root = Path(platformdirs.user_cache_dir("dlkit"))
    dataset = getattr(torchvision.datasets, _FOLDERS[name])
    try:
        root.mkdir(parents=True, exist_ok=True)
        dataset(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name} cannot be downloaded ({str(error).partition(chr(10))[0]})",
            "Use --data mnist-mini, which comes with dlkit, or --data FOLDER with the files",
        ) from error
    return root / _FOLDERS[name] / "raw"
