"""Recognizer: a loaded bundle that says which class an image shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.errors import DlkitError, InputError, UsageError
from dlkit.reading import colour, reading
from dlkit.reading.blank import has_ink, is_blank
from dlkit.reading.page import Page
from dlkit.reading.upright import are_upright, is_upright, upright_square
from dlkit.tasks._door import Door, Reply
from dlkit.tasks._model import Answers, Model
from dlkit.tasks.recognize.paper import Paper
from dlkit.tasks.recognize.unscaled import full


class Prediction(NamedTuple):
    """What an image shows.

    Attributes:
        label: the class, e.g. ``7``.
        probability: of that class, 0 to 1.
    """

    label: str
    probability: float


class Recognizer(Model[images.Image, None, Prediction]):
    """A loaded bundle that recognizes classes of images.

    Attributes:
        size: height and width that the network takes.
        labels: what the classes are called.
    """

    suffixes = images.SUFFIXES
    door = Door(
        "Which class an image shows; digits also in photographs and on pages, with boxes.",
        "image",
        "application/json",
        {"mode": "page finds lines of digits, single one digit, auto (the default) either"},
    )

    def __init__(self, bundle: Bundle, opened: Answers) -> None:
        super().__init__(bundle, opened)
        spec = bundle.spec
        height, width = spec.input.shape[1:3]
        self.size = (int(height), int(width))
        classes = int(spec.output.shape[1])
        self.labels = spec.labels or tuple(map(str, range(classes)))
        self.paper = Paper(bundle, opened)

    @property
    def setting(self) -> str:
        """The networks for paper, where the bundle reads digits."""
        return self.paper.setting if self.bundle.spec.pages else ""

    @property
    def others(self) -> tuple[Bundle, ...]:
        """The networks for paper, where the bundle reads digits."""
        return self.paper.bundles if self.bundle.spec.pages else ()

    def recognize(self, images: Iterable[images.Image], batch: int = 256) -> list[Prediction]:
        """Recognize images in memory.

        Args:
            images: uint8 or uint16 arrays, full range, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA. Of
                the network's own size they go to it as they are. Of another size: where the bundle
                reads digits, one digit each, anywhere in the image, dark or bright; else the image
                is resized as the spec says.
            batch: images that are run together.

        Returns:
            A prediction for each image, in the same order.

        Raises:
            InputError: something is no image, an array's images may be along another axis than
                the first, or the model gave NaN.
        """
        samples = _listed(images)
        for sample in samples:
            self.check(sample)
        look = self.whole("single")
        sought = [look(sample) for sample in samples]
        prepared = [
            (one, None)
            for sample, whole in zip(samples, sought, strict=True)
            for one in ([self.prepare(sample)[0]] if whole is None else whole.squares)
        ]
        answers = iter(self._told(prepared, batch))
        found = []
        for whole in sought:
            if whole is None:
                found.append(next(answers))
            else:
                (digit,) = whole.page([next(answers) for _ in whole.squares]).digits
                found.append(Prediction(digit.label, digit.probability))
        return found

    def read(self, image: images.Image, mode: str = "auto", batch: int = 256) -> Page:
        """Read an image with any number of digits.

        Args:
            image: uint8 or uint16, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, upright.
            mode: ``page`` finds lines of digits, ``single`` one digit, ``auto`` either.
            batch: digits that are run together.

        Returns:
            digits by line, in reading order, with boxes in the image's pixels; no line where
            there is no digit.

        Raises:
            InputError: it is no image.
            UsageError: there is no such mode, or the bundle does not read digits.
        """
        self._check_pages()
        images.check(image)
        found = self._look(image, mode)
        return found.page(self._told([(one, None) for one in found.squares], batch))

    def decode(self, data: bytes, path: str) -> images.Image:
        """An image, upright, from the bytes of its file."""
        return images.decode(data, path, upright=True)

    def decode_all(self, data: bytes, path: str, frames: str) -> list[images.Image]:
        """All frames or pages, upright."""
        return images.decode_frames(data, path, upright=True, frames=frames)

    def check(self, sample: images.Image) -> None:
        """An image is an array of uint8 or uint16."""
        images.check(sample)

    def prepare(self, sample: images.Image) -> tuple[images.UInt8, None]:
        """The image as the graph takes it: of its size as it is, else the digit that it shows, or
        resized. Values 0 and 1, what is drawn by alpha, and a small digit in a corner are brought
        into MNIST's form where the bundle reads digits."""
        spec = self.bundle.spec
        if sample.shape[:2] == self.size:
            if not spec.pages:
                return images.colour(colour.on_paper(sample), spec.colour), None
            if is_upright(sample, self.size):
                return sample, None
            return upright_square(full(sample), self.size), None
        if spec.pages:
            grey = colour.channel(full(sample))
            return reading.whole(grey, self.size).squares[0], None
        pixels = images.colour(colour.on_paper(sample), spec.colour)
        return images.resize(pixels, *self.size, spec.resize), None

    def in_form(self, stack: images.UInt8) -> images.UInt8:
        """Many images of the network's own size, (N, H, W) or (N, H, W, 3), as ``prepare`` gives
        each; quickly, since nearly all stay as they are."""
        if not self.bundle.spec.pages or stack.ndim != 3:
            return stack
        others = np.flatnonzero(~are_upright(stack)).tolist()
        if not others:
            return stack
        stack = stack.copy()
        for index in others:
            stack[index] = self.prepare(stack[index])[0]
        return stack

    def reply(self, data: bytes, options: Mapping[str, str]) -> Reply:
        """An image in; JSON out: ``text``, and each label with probability and, where digits are
        looked for, its box (x, y, width and height in the upright image's pixels)."""
        mode = self.options(options).get("mode", "auto")
        found = self.decode_all(data, "the image", "all")
        if len(found) != 1:
            raise InputError(f"the image has {len(found)} frames or pages", "Send one each")
        height, width = found[0].shape[:2]
        sought = self.whole(mode)(found[0])
        if sought is None:
            (answer,) = self.answers(found, 1)
            rows: list[dict[str, Any]] = [answer._asdict()]
            text, single = answer.label, True
        else:
            page = sought.page(self._told([(one, None) for one in sought.squares], 256))
            rows = [{**one._asdict(), "box": one.box._asdict()} for one in page.digits]
            text, single = page.text, page.single
        body = {"text": text, "single": single, "width": width, "height": height, "found": rows}
        return Reply("application/json", json.dumps(body).encode())

    def whole(self, mode: str) -> Callable[[images.Image], reading.Reading | None]:
        """What tells which images are to be read in that mode; the others are recognized whole.

        Raises:
            UsageError: a bundle that does not read digits was asked for pages.
        """
        if mode not in reading.MODES:
            raise UsageError(f"there is no mode '{mode}'", f"Use one of {', '.join(reading.MODES)}")
        if mode == "page":
            self._check_pages()
        if not self.bundle.spec.pages:
            return lambda image: None

        def read(image: images.Image) -> reading.Reading | None:
            own = image.shape[:2] == self.size and mode != "page"
            if own and (mode == "single" or has_ink(image) or not is_blank(full(image))):
                return None
            return self._look(image, mode)

        return read

    def close(self) -> None:
        """Let go of memory and device; a second call does nothing."""
        self.paper.close()
        super().close()

    def finish(self, output: NDArray[Any], note: None) -> Prediction:
        """The most probable class."""
        (answer,) = self.finish_all(output[None], [note])
        if isinstance(answer, DlkitError):
            raise answer
        return answer

    def finish_all(
        self, outputs: NDArray[Any], notes: Sequence[None]
    ) -> Sequence[Prediction | DlkitError]:
        """The most probable class of each row."""
        best = outputs.argmax(axis=1)
        probabilities = outputs[np.arange(len(outputs)), best]
        return [
            Prediction(self.labels[index], probability) if probability == probability else _nan()
            for index, probability in zip(best.tolist(), probabilities.tolist(), strict=True)
        ]

    def output_name(self, name: str) -> str:
        """A JSON file for each image."""
        return f"{name}.json"

    def encode(self, answer: Prediction, name: str) -> bytes:
        """``{"label": "7", "probability": 0.9997}``"""
        return (json.dumps(answer._asdict()) + "\n").encode()

    def encode_all(self, answers: Sequence[Prediction], name: str) -> bytes:
        """One object, or a list of them for several frames."""
        if len(answers) == 1:
            return self.encode(answers[0], name)
        rows = [answer._asdict() for answer in answers]
        return (json.dumps(rows) + "\n").encode()

    def _look(self, image: images.Image, mode: str) -> reading.Reading:
        image = full(image)
        if mode == "auto" and is_blank(image):
            return reading.Reading([], known=Page(()))
        return reading.read(image, mode, self.paper, self.size)

    def _told(self, prepared: Sequence[tuple[images.UInt8, None]], batch: int) -> list[Prediction]:
        """Predictions for what the graph takes; an error of one is raised."""
        found = self.opened.answer(self, prepared, batch)
        for answer in found:
            if isinstance(answer, DlkitError):
                raise answer
        return found

    def _check_pages(self) -> None:
        if not self.bundle.spec.pages:
            raise UsageError(
                f"{self.bundle.path.name} does not read digits on pages: it recognizes "
                f"{', '.join(self.labels[:5])}{', ...' if len(self.labels) > 5 else ''}"
            )


def _listed(given: Iterable[images.Image]) -> list[images.Image]:
    if isinstance(given, np.ndarray) and given.ndim in (2, 3):
        why, mend = "it may be one image", "Put one image into a list: [x]"
        if given.ndim == 3 and given.shape[2] not in (1, 3, 4):
            why, mend = images.doubt(given.shape)
        if why:
            raise InputError(
                f"got an array {given.shape}: {why}; expected images (N, height, width)", mend
            )
    return list(given)


def _nan() -> InputError:
    return InputError("the model gave NaN", "Check it: dlkit verify")
