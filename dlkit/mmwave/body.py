"""The person: a pose, and from it the parts of a silhouette as polygons in reference pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dlkit.mmwave.fields import Points, chain, ellipse, uniform
from dlkit.mmwave.parameters import Parameters

Point = tuple[float, float]


@dataclass
class Part:
    """One part of the body: the union of its polygons, drawn over the parts before it."""

    name: str
    outlines: list[Points]
    garment: str  # which transmission applies: skin, hair, shirt, sleeve, trouser, shoe


@dataclass
class Figure:
    """A person. `parts` from back to front; lengths and rows in reference pixels."""

    height: float
    parts: list[Part] = field(default_factory=list)
    head: Point = (0.0, 0.0)
    chest: Point = (0.0, 0.0)
    waist: Point = (0.0, 0.0)
    crotch: Point = (0.0, 0.0)
    # Places where an object can be worn: (x, y, radius within which it may lie).
    spots: list[tuple[float, float, float]] = field(default_factory=list)
    limb_spots: int = 0  # so many of them, the first ones, are on arms and legs


def _blend(start: Point, end: Point, share: float) -> Point:
    """The point at `share` of the way from start to end."""
    return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)


def _limb(points: list[Point], radii: list[float]) -> list[Points]:
    """Hulls of a limb through the points, with a radius at each."""
    return chain([(x, y, max(radius, 1.0)) for (x, y), radius in zip(points, radii, strict=True)])


def _reach(start: Point, angle: float, length: float, side: float) -> Point:
    """Point at `length` from start; angle 0 hangs down, pi/2 points outwards, pi upwards."""
    return (start[0] + side * np.sin(angle) * length, start[1] + np.cos(angle) * length)


def _arm_angles(rng: np.random.Generator, pose: str) -> tuple[float, float, float]:
    """Angles of upper arm and forearm in radians, and the foreshortening of the forearm."""
    if pose == "down":
        upper = rng.uniform(0.02, 0.20)
        return upper, upper - rng.uniform(-0.05, 0.28), 1.0
    if pose == "away":
        upper = rng.uniform(0.20, 0.60)
        return upper, upper - rng.uniform(0.0, 0.50), 1.0
    if pose == "out":
        upper = rng.uniform(0.9, 1.7)
        return upper, upper + rng.uniform(-0.2, 0.9), rng.uniform(0.7, 1.0)
    if pose == "raised":
        upper = rng.uniform(1.6, 2.7)
        return upper, rng.uniform(2.6, 3.6), rng.uniform(0.6, 1.0)
    if pose == "hip":
        upper = rng.uniform(0.35, 0.85)
        return upper, -rng.uniform(0.25, 1.0), rng.uniform(0.75, 1.0)
    if pose == "front":
        upper = rng.uniform(0.0, 0.25)
        return upper, -rng.uniform(0.7, 2.3), rng.uniform(0.7, 1.0)
    if pose == "pocket":
        upper = rng.uniform(0.20, 0.50)
        return upper, -rng.uniform(0.10, 0.45), rng.uniform(0.85, 1.0)
    upper = rng.uniform(0.15, 0.45)  # behind the back
    return upper, -rng.uniform(0.3, 1.2), rng.uniform(0.6, 0.9)


def _torso(figure: Figure, axis: list[Point], halves: list[float]) -> Points:
    """Closed outline of the trunk from the half widths at the points of its axis."""
    rows = np.array([point[1] for point in axis])
    fine = np.linspace(rows[0], rows[-1], 24)
    half = np.interp(fine, rows, halves)
    half = np.convolve(np.pad(half, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    middle = np.interp(fine, rows, [point[0] for point in axis])
    left = np.stack([middle - half, fine], axis=1)
    right = np.stack([middle + half, fine], axis=1)[::-1]
    return np.concatenate([left, right]).astype(np.float32)


def draw_figure(
    rng: np.random.Generator, parameters: Parameters, centre: float, top: float
) -> Figure:
    """A person whose axis is near column `centre` and whose head begins at row `top`."""
    p = parameters
    tall = uniform(rng, p.figure_height)
    build = uniform(rng, p.build)
    wide = tall * build  # unit of widths of flesh
    bone = tall * np.sqrt(build)  # unit of widths of bone: shoulders and hips vary less
    lean = uniform(rng, p.lean)

    def at(across: float, down: float) -> Point:
        """Point at a share of the height, with the lean applied."""
        return (centre + across * tall + lean * (down - 0.5) * tall, top + down * tall)

    figure = Figure(height=tall)
    head_half = tall * uniform(rng, p.head_half_width) * build**0.25
    head_tall = tall * uniform(rng, p.head_half_height)
    tilt = float(rng.normal(0.0, 0.06))
    head = at(float(rng.normal(0.0, 0.008)), head_tall / tall)
    neck_row = 2.0 * head_tall / tall + float(rng.uniform(0.018, 0.042))
    shoulder_row = neck_row + float(rng.uniform(0.022, 0.045))
    crotch_row = shoulder_row + float(rng.uniform(0.305, 0.355))
    shoulder = uniform(rng, p.shoulder_half) * bone
    waist = uniform(rng, p.waist_half) * wide
    hip = uniform(rng, p.hip_half) * bone
    figure.head, figure.chest = head, at(0.0, shoulder_row + 0.09)
    figure.waist, figure.crotch = at(0.0, crotch_row - 0.13), at(0.0, crotch_row)

    axis = [at(0.0, neck_row - 0.002), at(0.0, shoulder_row - 0.014), at(0.0, shoulder_row + 0.02),
            at(0.0, shoulder_row + 0.10), at(0.0, crotch_row - 0.13), at(0.0, crotch_row - 0.04),
            at(0.0, crotch_row + 0.005)]  # fmt: skip
    neck_half = head_half * float(rng.uniform(0.62, 0.88))
    slope = float(rng.uniform(0.62, 0.86))
    halves = [neck_half, shoulder * slope, shoulder * 1.05, max(shoulder * 0.90, waist * 0.98),
              waist, hip, hip * 0.94]  # fmt: skip
    trunk = Part("torso", [_torso(figure, axis, halves)], "shirt")
    # The slope from the neck to the shoulders.
    root = at(0.0, neck_row + 0.012)
    joint_row = at(0.0, shoulder_row)

    # Arms: shoulder joint, elbow, wrist, finger tips, with the swelling of muscle in between.
    behind: list[Part] = []
    before: list[Part] = []
    poses = [name for name, _ in p.pose_weights]
    weights = np.array([weight for _, weight in p.pose_weights])
    pose = str(rng.choice(poses, p=weights / weights.sum()))
    arm = uniform(rng, p.arm_radius) * wide
    bare = rng.random() < 0.25  # short sleeves
    for side in (-1.0, 1.0):
        if rng.random() < 0.5:
            pose = str(rng.choice(poses, p=weights / weights.sum()))
        upper, lower, short = _arm_angles(rng, pose)
        joint = (joint_row[0] + side * (shoulder - arm * 0.35), joint_row[1] + arm * 0.75)
        elbow = _reach(joint, upper, 0.172 * tall * float(rng.uniform(0.85, 1.05)), side)
        wrist = _reach(elbow, lower, 0.148 * tall * short, side)
        bend = lower + float(rng.normal(0.0, 0.25))
        palm = _reach(wrist, bend, 0.040 * tall * short, side)
        tips = _reach(wrist, bend, 0.078 * tall * float(rng.uniform(0.7, 1.05)) * short, side)
        trunk.outlines += _limb([root, joint], [neck_half * 0.9, arm * 1.02])
        upper_arm = _limb([joint, _blend(joint, elbow, 0.45), elbow], [arm, arm * 0.98, arm * 0.80])
        fore_arm = _limb([elbow, _blend(elbow, wrist, 0.35), wrist],
                         [arm * 0.80, arm * 0.82, arm * 0.55])  # fmt: skip
        hand = _limb([wrist, palm, tips], [arm * 0.52, arm * 0.66, arm * 0.40])
        target = behind if pose == "behind" or (pose == "hip" and rng.random() < 0.4) else before
        target.append(Part("upper arm", upper_arm, "sleeve"))
        target.append(Part("forearm", fore_arm, "skin" if bare else "sleeve"))
        target.append(Part("hand", hand, "trouser" if pose == "pocket" else "skin"))
        figure.spots.append((*_blend(joint, elbow, 0.6), arm * 0.8))

    # Legs: hip joint, knee, ankle, foot.
    legs = []
    leg = uniform(rng, p.leg_radius) * wide**0.5 * tall**0.5
    stance = uniform(rng, p.stance_half) * tall
    for side in (-1.0, 1.0):
        axis_x = at(0.0, crotch_row)[0]
        hip_joint = (axis_x + side * (hip - leg * 0.92), at(0.0, crotch_row - 0.03)[1])
        foot_x = at(0.0, 0.96)[0] + side * stance * float(rng.uniform(0.85, 1.15))
        ankle = (foot_x, top + tall * float(rng.uniform(0.945, 0.965)))
        knee = _blend(hip_joint, ankle, 0.50)
        knee = (knee[0] + side * float(rng.normal(0.0, 0.008)) * tall, knee[1])
        thigh = _limb([hip_joint, _blend(hip_joint, knee, 0.5), knee],
                      [leg, leg * 0.93, leg * 0.70])  # fmt: skip
        calf = _limb([knee, _blend(knee, ankle, 0.35), ankle],
                     [leg * 0.70, leg * 0.72, leg * float(rng.uniform(0.46, 0.62))])  # fmt: skip
        turn = side * float(rng.uniform(0.0, 0.045)) * tall
        toe = (ankle[0] + turn, ankle[1] + 0.035 * tall)
        foot = _limb([ankle, _blend(ankle, toe, 0.6), toe], [leg * 0.50, leg * 0.58, leg * 0.46])
        legs += [Part("foot", foot, "shoe"), Part("calf", calf, "trouser"),
                 Part("thigh", thigh, "trouser")]  # fmt: skip
        figure.spots.append((*_blend(hip_joint, knee, 0.45), leg * 0.9))
        figure.spots.append((*_blend(knee, ankle, 0.5), leg * 0.6))

    chin = at(0.0, neck_row - 0.002)
    neck = Part("neck", _limb([(head[0], head[1] + head_tall * 0.3), chin,
                               at(0.0, shoulder_row)], [neck_half * 0.95, neck_half, neck_half]),
                "skin")  # fmt: skip
    skull = ellipse(head[0], head[1], head_half, head_tall, tilt, float(rng.uniform(2.0, 2.5)))
    jaw = ellipse(head[0], head[1] + head_tall * 0.32, head_half * float(rng.uniform(0.74, 0.92)),
                  head_tall * 0.68, tilt)  # fmt: skip
    face = [skull, jaw]
    if rng.random() < 0.5:
        face += [ellipse(head[0] + side * head_half, head[1] + head_tall * 0.1,
                         head_half * 0.14, head_tall * 0.2) for side in (-1.0, 1.0)]  # fmt: skip
    parts = [*behind, *legs, neck, trunk, Part("head", face, "skin")]
    if rng.random() < 0.6:
        drop = float(rng.uniform(0.25, 0.62))
        cap = ellipse(head[0], head[1] - head_tall * drop, head_half * 0.96, head_tall * 0.55, tilt)
        parts.append(Part("hair", [cap], "hair"))
    if rng.random() < 0.15:  # long hair beside the neck
        fall = _limb([head, at(0.0, shoulder_row + 0.03)], [head_half * 1.05, head_half * 1.1])
        parts.insert(0, Part("hair", fall, "hair"))
    figure.parts = [*parts, *before]
    figure.limb_spots = len(figure.spots)
    chest_reach, belly_reach = shoulder * 0.75, waist * 0.85
    figure.spots += [(*figure.chest, chest_reach)] * 3 + [(*figure.waist, belly_reach)] * 5
    figure.spots += [(*at(0.0, crotch_row - 0.06), hip * 0.9)] * 4
    return figure
