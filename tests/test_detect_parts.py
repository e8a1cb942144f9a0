"""The parts of detecting: simulated scans, what is asked of training, decoding, scores."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import dlkit
from dlkit.errors import UsageError
from dlkit.evaluation.dark_regions import dark_regions
from dlkit.evaluation.gaps import alarmed, gaps_of
from dlkit.mmwave.concealment import CONCEALMENT, LEAST_CHANGE, Observed, box_around, observe
from dlkit.tasks.detect.decode import decode, mask_of, overlap
from dlkit.tasks.detect.scans import (
    EVALUATION_SEED,
    HELD_OUT_SEED,
    PROOF_SEED,
    THRESHOLD_SEED,
    boxes_of,
    first_seed,
    held_out_scans,
)
from dlkit.tasks.detect.score import (
    at_false_alarms,
    at_threshold,
    average_precision,
    match,
    strict_precision,
)
from dlkit.training.detect.maps import cropped, draw, mirrored
from dlkit.training.detect.recipe import DetectRecipe
from dlkit.training.detect.trainer import DetectTrainer
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.loop import Moment
from dlkit.training.engine.run import Run
from dlkit.training.recipe import RECIPES

CPU = open_compute(Hardware("cpu"))


@pytest.fixture(scope="module")
def observed() -> list[Observed]:
    return held_out_scans(EVALUATION_SEED + 900_000, 16)


# --- the simulator ---


def test_boxes_are_what_shows_before_the_body(observed: list[Observed]) -> None:
    assert sum(len(one.hidden) for one in observed) > 10
    for one in observed:
        assert one.noisy.shape == one.labels.shape == one.body.shape == (678, 384)
        assert not (one.labels > 0)[~one.body].any()
        for number, thing in enumerate(one.hidden, start=1):
            rows, columns = np.nonzero(one.labels == number)
            left, top, width, height = thing.box
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() + 1 - left, rows.max() + 1 - top) == (width, height)


@pytest.mark.long
def test_the_same_seed_gives_the_same_scan_with_all_kinds() -> None:
    first, again = observe(5, (170, 96)), observe(5, (170, 96))
    assert np.array_equal(first.noisy, again.noisy)
    assert first.hidden == again.hidden
    things = [thing for seed in range(150) for thing in observe(seed, (170, 96)).hidden]
    assert {thing.place for thing in things} == {"trunk", "limb", "outline"}
    assert any(thing.contrast < 0 for thing in things)
    assert any(0 < thing.contrast < 0.58 for thing in things)
    assert {"plate", "pistol"} <= {thing.kind for thing in things}


def test_what_nobody_can_see_is_not_asked_for() -> None:
    # an object of no contrast changes nothing
    alike = replace(CONCEALMENT, metal_contrast=(0.0, 0.0), dielectric_contrast=(0.0, 0.0),
                    faint_share=0.0, bright_share=0.0, object_counts=(0.0, 0.0, 1.0))  # fmt: skip
    black = replace(alike, metal_contrast=(1.0, 1.0), dielectric_contrast=(1.0, 1.0))
    unseen = [observe(seed, (340, 192), alike) for seed in range(12)]
    assert sum(one.unseen for one in unseen) > 12
    assert not any(len(one.hidden) or one.labels.any() for one in unseen)
    seen = [observe(seed, (340, 192), black) for seed in range(12)]
    assert sum(len(one.hidden) for one in seen) > 3 * sum(one.unseen for one in seen)
    assert all(thing.change >= LEAST_CHANGE for one in seen for thing in one.hidden)


def test_dark_objects_are_darker_than_the_body_around_them(observed: list[Observed]) -> None:
    for one in observed:
        for number, thing in enumerate(one.hidden, start=1):
            here = one.labels == number
            near = cv2.dilate(here.astype(np.uint8), np.ones((41, 41))) > 0
            around = near & one.body & (one.labels == 0)
            if thing.place == "trunk" and here.sum() > 800 and abs(thing.contrast) > 0.4:
                darker = float(one.noisy[around].mean()) - float(one.noisy[here].mean())
                assert (darker > 0) == (thing.contrast > 0)


def test_seeds_of_training_and_of_what_is_kept_out_never_meet() -> None:
    kept_out = sorted((HELD_OUT_SEED, PROOF_SEED, THRESHOLD_SEED, EVALUATION_SEED))
    assert first_seed(99, 1000) + 1000 <= kept_out[0]
    assert all(b - a >= 100_000 for a, b in itertools.pairwise(kept_out))
    for seed, count in ((100, 1), (-1, 1), (0, 20_000_000)):
        with pytest.raises(UsageError, match="would take those of others"):
            first_seed(seed, count)


# --- decoding ---


def maps(*things: tuple[float, float, float, float, float]) -> np.ndarray[Any, Any]:
    """Maps of a scan of 128 x 96 with these boxes, left, top, width, height, and chances."""
    answer = np.zeros((6, 32, 24), np.float32)
    for left, top, width, height, chance in things:
        row, column = int((top + height / 2) / 4), int((left + width / 2) / 4)
        x, y = (column + 0.5) * 4, (row + 0.5) * 4
        sides = (x - left, y - top, left + width - x, top + height - y)
        answer[0, row, column] = chance
        answer[2:, row, column] = np.log(np.array(sides) / 16)
        answer[
            1, int(top / 4) : int((top + height) / 4), int(left / 4) : int((left + width) / 4)
        ] = 1
    return answer


def test_boxes_come_back_from_maps() -> None:
    answer = maps((10, 20, 30, 17, 0.9), (60, 80, 12, 40, 0.4))
    answer[1] = 0
    found = decode(answer, (128, 96))
    expected = [[10, 20, 30, 17, 0.9], [60, 80, 12, 40, 0.4]]
    assert np.allclose(found, expected, atol=1e-3)
    assert found.dtype == np.float32


def test_a_mask_draws_the_box_towards_its_sides() -> None:
    answer = maps((16, 16, 40, 60, 0.9))
    answer[2:] += 0.3 * (answer[0] > 0)  # a third too large
    alone = answer.copy()
    alone[1] = 0
    truth = boxes((16, 16, 40, 60))
    without, found = (decode(one, (128, 96))[:, :4] for one in (alone, answer))
    assert overlap(without, truth)[0, 0] < 0.7
    assert overlap(found, truth)[0, 0] > overlap(without, truth)[0, 0] + 0.1


def test_what_is_padded_is_cut_off_and_twice_the_same_is_one() -> None:
    answer = maps((60, 80, 30, 40, 0.8), (60, 84, 30, 40, 0.5))
    answer[1] = 0
    found = decode(answer, (100, 80))
    assert len(found) == 1
    assert np.allclose(found[0], [60, 80, 20, 20, 0.8], atol=1e-3)
    assert len(decode(answer, (128, 96), least=0.9)) == 0
    assert decode(np.zeros((6, 8, 8), np.float32), (32, 32)).shape == (0, 5)


def test_masks_lie_where_the_map_says() -> None:
    answer = maps((16, 20, 24, 16, 0.9))
    mask = mask_of(answer, (8, 12, 40, 32))
    expected = np.zeros((32, 40), bool)
    expected[8:24, 8:32] = True
    assert mask.shape == (32, 40)
    assert float((mask != expected).mean()) < 0.02  # corners are round


def test_a_plateau_is_one_peak_and_peaks_are_not_endless() -> None:
    flat = np.zeros((6, 300, 300), np.float32)
    flat[0], flat[2:] = 0.5, -4
    assert len(decode(flat, (1200, 1200))) == 1
    flat[0] = 0
    flat[0, ::2, ::2] = np.linspace(0.1, 0.9, 150 * 150).reshape(150, 150)
    found = decode(flat, (1200, 1200))
    assert len(found) == 1000
    assert found[0, 4] == pytest.approx(0.9)


# --- training ---


def test_what_training_asks_for_is_what_decoding_gives(observed: list[Observed]) -> None:
    asked = draw(observed, 32)
    answers = np.concatenate([asked.heat[:, None], asked.mask[:, None], asked.sides], axis=1)
    found = [decode(answer, (678, 384), least=0.99) for answer in answers]
    truth = [boxes_of(one) for one in observed]
    assert average_precision(match(found, truth)) > 0.95
    assert strict_precision(found, truth) > 0.7


def test_crops_keep_what_shows_and_forget_the_rest(observed: list[Observed]) -> None:
    random = np.random.default_rng(0)
    for one in observed:
        cut = cropped(random, one, 288)
        assert cut.noisy.shape == cut.body.shape == (678, 288)
        assert len(cut.hidden) == len(set(np.unique(cut.labels).tolist()) - {0})
        for thing in cut.hidden:
            left, _, width, _ = thing.box
            assert 0 <= left < left + width <= 288
        assert cropped(random, one, 0) is one


def test_what_a_crop_cuts_to_less_than_half_is_hidden_no_more(observed: list[Observed]) -> None:
    random = np.random.default_rng(1)
    for one in observed:
        cut = cropped(random, one, 96)
        assert len(cut.hidden) <= len(one.hidden)
        for number, thing in enumerate(cut.hidden, start=1):
            assert thing.box == box_around(cut.labels == number)


def test_mirrored_twice_is_as_before(observed: list[Observed]) -> None:
    for one in observed:
        other = mirrored(one)
        for number, thing in enumerate(other.hidden, start=1):
            assert thing.box == box_around(other.labels == number)
        again = mirrored(other)
        assert np.array_equal(again.noisy, one.noisy)
        assert again.hidden == one.hidden


def test_a_step_has_the_same_scans_after_a_resume() -> None:
    recipe = RECIPES.load("detector")
    assert isinstance(recipe, DetectRecipe)
    recipe = replace(recipe, steps=40, epochs=1, held_out=1, thresholds=1, smaller_share=1.0)
    whole, resumed = (DetectTrainer(recipe, "simulated", CPU) for _ in range(2))
    for number in range(2):
        whole._drawn(number)
    late = whole._drawn(32), resumed._drawn(32)
    for one, other in zip(*late, strict=True):
        assert np.array_equal(one, other)
    kept = {number: whole.kept[number] for number in (0, 32)}
    assert np.array_equal(late[0].pixels.shape[1:], whole._drawn(0).pixels.shape[1:])
    assert len(kept[0]) == len(kept[32]) == 2
    assert max(len(trainer.kept) for trainer in (whole, resumed)) <= 34


@pytest.mark.long
def test_training_resumes_exactly(tmp_path: Path) -> None:
    few = {"steps": 4, "epochs": 2, "batch_size": 2, "held_out": 1, "thresholds": 1,
           "smaller_share": 1.0}  # fmt: skip

    def interrupt(now: Moment) -> None:
        if now.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    assert dlkit.train("detector", out=tmp_path / "whole", **few).finished
    cut = tmp_path / "cut"
    assert not dlkit.train("detector", out=cut, watch=interrupt, **few).finished
    assert dlkit.train("detector", out=cut, resume=True, **few).finished
    one, other = (Run(path).load_checkpoint()["network"] for path in (tmp_path / "whole", cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.long
def test_a_short_training_goes_the_whole_way(tmp_path: Path) -> None:
    few = {"steps": 2, "epochs": 1, "batch_size": 1, "held_out": 1, "thresholds": 2}
    run = dlkit.train("detector", out=tmp_path / "run", **few)
    assert run.finished
    bundle = dlkit.export(run)
    with dlkit.load(bundle, task="detect", device="cpu") as loaded:
        assert set(loaded.thresholds) == {"high", "normal", "low"}
        assert len(loaded.detect([observe(3, (170, 96)).noisy])) == 1
    with pytest.raises(UsageError, match="simulated"):
        dlkit.train("detector", data=str(tmp_path), out=tmp_path / "other", **few)


# --- scores ---


def boxes(*rows: tuple[float, ...]) -> np.ndarray[Any, Any]:
    return np.array(rows, np.float32).reshape(len(rows), -1)


def test_average_precision_of_known_answers() -> None:
    truth = [boxes((0, 0, 10, 10), (50, 50, 10, 10)), np.zeros((0, 4), np.float32)]
    perfect = [boxes((0, 0, 10, 10, 0.9), (50, 50, 10, 10, 0.8)), np.zeros((0, 5), np.float32)]
    assert average_precision(match(perfect, truth)) == pytest.approx(1)
    assert strict_precision(perfect, truth) == pytest.approx(1)
    twice = [boxes((0, 0, 10, 10, 0.9), (0, 1, 10, 10, 0.85), (50, 50, 10, 10, 0.8)), perfect[1]]
    matched = match(twice, truth)
    assert matched.right.tolist() == [True, False, True]
    # recalls up to a half at precision 1, the others at 2 of 3
    assert average_precision(matched) == pytest.approx((51 + 50 * 2 / 3) / 101)
    moved = [boxes((4, 0, 10, 10, 0.9)), perfect[1]]  # 60 of 140 shared
    assert not match(moved, truth).right.any()
    assert match(moved, truth, 0.4).right.all()
    assert average_precision(match([perfect[1]] * 2, truth)) == 0
    assert overlap(boxes((0, 0, 10, 10)), boxes((5, 0, 10, 10)))[0, 0] == pytest.approx(1 / 3)


def test_thresholds_by_false_alarms() -> None:
    truth = [boxes((0, 0, 10, 10))] * 10
    found = [boxes((0, 0, 10, 10, 0.9 - 0.01 * k), (50, 50, 9, 9, 0.5 + 0.01 * k))
             for k in range(10)]  # fmt: skip
    matched = match(found, truth)
    strict = at_false_alarms(matched, 0.0)
    assert (strict.recall, strict.false_alarms) == (1.0, 0.0)
    assert strict.threshold == pytest.approx(0.81)
    some = at_false_alarms(matched, 0.3)
    assert some.false_alarms == pytest.approx(0.3)
    assert at_threshold(matched, 0.85).recall == pytest.approx(0.6)


# --- classical, and gaps ---


def test_dark_regions_inside_a_bright_person() -> None:
    cleaned = np.zeros((200, 120), np.uint8)
    cleaned[20:180, 30:90] = 255
    cleaned[80:100, 50:70] = 0
    found = dark_regions(cleaned)
    assert len(found) == 1
    assert found[0, :4].tolist() == [50, 80, 20, 20]
    assert 0 < found[0, 4] < 1
    assert len(dark_regions(np.zeros((50, 50), np.uint8))) == 0


def test_gaps_are_what_body_surrounds() -> None:
    body = np.zeros((200, 160), bool)
    body[20:180, 40:120] = True
    body[60:120, 60:76] = False  # between arm and trunk
    gaps = gaps_of(body)
    assert gaps.max() == 1
    assert gaps[90, 68] == 1
    assert gaps[10, 10] == 0
    assert alarmed(boxes((60, 70, 16, 30, 0.9)), gaps) == 1
    assert alarmed(boxes((90, 70, 16, 30, 0.9)), gaps) == 0
    assert alarmed(np.zeros((0, 5), np.float32), gaps) == 0
