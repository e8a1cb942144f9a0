"""Every number of the simulator, as a named field with its unit, range and source.

A field that holds a pair is the range of a uniform draw, made anew for each scan. Lengths are in
*reference pixels*: pixels of a scan of 678 rows and 384 columns, where one is about 2.7 mm on the
person. Other sizes scale all lengths, so that the picture stays that of a person.

Sources, named in the comments:
  [measured]  taken from real scans of 678 x 384 pixels and the clean pictures made from them
  [radiometry] textbook values for passive imagers at 30 to 100 GHz: skin emissivity 0.65 to 0.95,
               thin dry clothing transmits 70 to 98 %, metal reflects nearly everything
  [anatomy]   drawing-book proportions and adult anthropometry (mean +- two standard deviations)
  [chosen]    no source; wide enough to cover what one can imagine
"""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Parameters:
    """Ranges of everything that is drawn for one scan. All pairs are (lowest, highest)."""

    # ---- the scene, in kelvin -------------------------------------------------------------
    # Surroundings that the body reflects and that the background shows. [radiometry] indoors
    surroundings_kelvin: Range = (288.0, 298.0)
    # Skin under clothing above the surroundings. [radiometry] 304 to 309 K skin
    skin_excess_kelvin: Range = (9.0, 15.0)
    # Emissivity of skin. [radiometry]
    skin_emissivity: Range = (0.70, 0.95)
    # Transmission of clothing, by garment; the rest is emitted at nearly room temperature.
    # [radiometry]
    shirt_transmission: Range = (0.80, 1.0)
    sleeve_transmission: Range = (0.74, 1.0)
    trouser_transmission: Range = (0.70, 0.98)
    shoe_transmission: Range = (0.55, 0.90)
    # Hair against bare skin, share of the skin's excess. [chosen]
    hair_transmission: Range = (0.80, 1.08)
    # Limb darkening: loss of excess at a part's rim, share, and its e-folding depth, pixels.
    # [radiometry] emissivity falls at grazing angles; [measured] legs look like cylinders
    rim_loss: Range = (0.10, 0.42)
    rim_depth: Range = (5.0, 16.0)
    # A flank of the trunk in the shadow of an arm, or turned away: probability for each side, loss
    # of excess, share, and its width, pixels. [measured] one of four flanks, 0.6 over 15 pixels
    flank_probability: float = 0.22
    flank_loss: Range = (0.25, 0.65)
    flank_width: Range = (6.0, 22.0)
    # Slow and fine texture of the clothed body, kelvin (standard deviation), and scales, pixels.
    # [measured] 16 to 17 and 12 to 13 grey levels, about 11 grey levels to the kelvin
    slow_texture_kelvin: Range = (0.35, 1.0)
    slow_texture_scale: Range = (22.0, 50.0)
    fine_texture_kelvin: Range = (0.2, 0.85)
    fine_texture_scale: Range = (4.0, 9.0)
    # Clothing and texture darken the body at most by this share of the skin's excess: darker means
    # that something is hidden. [chosen]
    darkest_detail: float = 0.28
    # Slow unevenness of the background, kelvin. [measured] 3 to 4 grey levels
    background_texture_kelvin: Range = (0.05, 0.35)
    # Background drop towards the floor, kelvin at the last row, and the row share where it begins.
    # [measured] 102 at row 300, 70 in the last row: 32 grey levels
    floor_drop_kelvin: Range = (0.4, 4.8)
    floor_begin: Range = (0.35, 0.62)
    # Share of the body's excess that is left at the last row. [measured] legs fade to 155
    floor_signal: Range = (0.66, 1.0)

    # ---- the person -----------------------------------------------------------------------
    empty_probability: float = 0.02  # a scan without a person. [chosen]
    figure_height: Range = (545.0, 735.0)  # head to sole, pixels; [measured] 605 and about 690
    head_top: Range = (30.0, 135.0)  # row of the top of the head; [measured] 58, 80, 88
    centre_shift: Range = (-55.0, 55.0)  # of the body's axis from the middle; [measured] +30, +50
    lean: Range = (-0.05, 0.05)  # sideways per unit of height [chosen]
    build: Range = (0.8, 1.26)  # all widths, relative to the mean adult [anatomy]
    shoulder_half: Range = (0.098, 0.124)  # joint to axis, share of the height [anatomy]
    waist_half: Range = (0.072, 0.100)  # [anatomy]
    hip_half: Range = (0.088, 0.112)  # [anatomy]
    head_half_width: Range = (0.043, 0.054)  # [anatomy]; [measured] 0.047 to 0.055
    head_half_height: Range = (0.062, 0.074)  # [anatomy]
    stance_half: Range = (0.045, 0.115)  # ankle to axis [chosen]; [measured] 0.07 to 0.10
    arm_radius: Range = (0.027, 0.038)  # upper arm, clothed [anatomy]
    leg_radius: Range = (0.046, 0.060)  # thigh [anatomy]
    # Relative weights of the arms' poses. [chosen]
    pose_weights: tuple[tuple[str, float], ...] = (
        ("down", 4.0),
        ("away", 3.0),
        ("out", 1.0),
        ("raised", 1.5),
        ("hip", 2.0),
        ("front", 2.5),
        ("behind", 1.2),
    )

    # ---- concealed objects ----------------------------------------------------------------
    # Probabilities of 0, 1, 2 and 3 objects. [chosen]
    object_counts: tuple[float, ...] = (0.25, 0.47, 0.20, 0.08)
    # Share of the way from the body's temperature to the surroundings' that an object goes.
    # [radiometry] metal 0.8 to 1.1 (it may mirror something colder); dielectrics less.
    # [measured] 115 to 143 grey where the body is near 213 and the background 100: 0.6 to 0.9
    metal_contrast: Range = (0.72, 1.10)
    dielectric_contrast: Range = (0.58, 0.92)
    object_scale: Range = (0.80, 1.35)  # relative to the kind's ordinary size [chosen]
    object_least_area: float = 200.0  # visible square pixels, below it another is drawn [chosen]
    object_least_share: float = 0.6  # of its area that lies before the body [chosen]
    # What detectors meet besides; `concealment` sets these, and 0 leaves each out. Shares of
    # objects that are drawn from further kinds, sit on the body's outline, are faint, or brighter
    # than the body (wet or warm), and the contrasts of the last two. [chosen]
    further_kinds: float = 0.0
    outline_share: float = 0.0
    faint_share: float = 0.0
    faint_contrast: Range = (0.42, 0.60)
    bright_share: float = 0.0
    bright_contrast: Range = (-0.50, -0.28)
    # Mean number of empty pockets, straps, prints and watches, which hide nothing. [chosen]
    clutter: float = 0.0

    # ---- the optics -----------------------------------------------------------------------
    # Gaussian point-spread function, sigma in pixels, across and down, in focus.
    # [measured] edges of 20 and 15 pixels, 10 to 90 %, limb darkening included
    psf_across: Range = (3.0, 6.3)
    psf_down: Range = (2.6, 5.2)
    defocus: Range = (1.0, 1.9)  # factor of sigma at the feet; [measured] legs are softer
    # Energy in the side lobes, and their sigma in pixels. [measured] 106 to 111 grey at 10 pixels
    # outside the silhouette and 97 to 102 at 20, where the far background is 93 to 97
    halo_share: Range = (0.03, 0.22)
    halo_sigma: Range = (10.0, 32.0)
    row_shift: Range = (0.0, 0.8)  # sideways jitter of rows, pixels (standard deviation) [measured]

    # ---- the receivers, in kelvin before normalisation ------------------------------------
    # Offset of columns: neighbours alike as white noise blurred with this sigma, pixels.
    # [measured] 3.5 to 4.3 grey levels; autocorrelation 0.95 0.82 0.64 0.43 fits 2.2 pixels
    column_sigma: Range = (1.9, 2.9)
    column_offset_kelvin: Range = (0.12, 0.40)
    column_drift_kelvin: Range = (0.10, 0.50)  # 1/f part over tens of pixels [measured]
    column_gain: Range = (0.006, 0.038)  # relative [measured] own stripes inside the body
    column_fading: Range = (
        0.08,
        0.40,
    )  # change of stripes down the scan; [measured] r 0.81 to 0.94
    spike_count: float = 2.5  # mean number of columns far off [measured]
    spike_kelvin: Range = (0.4, 1.6)  # [measured] up to 18 grey levels
    spike_gain: Range = (0.03, 0.14)  # relative, gain spikes show on the body alone [measured]
    dead_column_probability: float = 0.03  # [chosen]
    drift_kelvin: Range = (0.0, 0.45)  # slow drift along the scan, rows [chosen]
    row_kelvin: Range = (0.04, 0.16)  # row to row; [measured] 1.4 grey levels with the noise
    noise_kelvin: Range = (0.24, 0.58)  # [measured] 4.9 to 5.4 grey levels
    noise_across: Range = (2.2, 3.2)  # sigma, pixels [measured] 2.7
    noise_down: Range = (1.0, 1.6)  # sigma, pixels [measured] 1.3

    # ---- eight bits -----------------------------------------------------------------------
    grey_mean: float = 126.9  # of a scan [measured]
    grey_deviation: float = 50.3  # of a scan [measured]
    # The display's gain is limited, or an empty scan would become pure noise. Grey levels to the
    # kelvin. [chosen]; [measured] about 11 with a person
    greatest_gain: float = 24.0

    # ---- the clean picture, as people make it ----------------------------------------------
    # One levels curve from raw grey to clean grey. [measured]
    curve_raw: tuple[float, ...] = (
        126.0, 138.0, 146.0, 154.0, 162.0, 170.0, 182.0, 198.0, 210.0, 230.0, 240.0,
    )  # fmt: skip
    curve_clean: tuple[float, ...] = (
        0.0, 45.0, 85.0, 128.0, 170.0, 198.0, 222.0, 240.0, 248.0, 254.0, 255.0,
    )  # fmt: skip
    # Raw grey that becomes 128 where the body is bright: the picture's own draw, and how far it
    # follows the scan's own middle between background and body instead. [measured] 154 on all of
    # one scan, 150 to 154 on another, whatever the background; [chosen]
    threshold_grey: Range = (150.0, 156.5)
    threshold_follows: Range = (0.0, 0.20)
    steepness: Range = (0.92, 1.22)  # of the curve [measured] 0.95 to 1.2
    # Lift where the body is faint: grey levels of threshold for each grey level that the body lies
    # below `lift_below`, and its ceiling. [measured] beside a body of 190 the threshold is 150 to
    # 154, of 180 146 to 149, of 173 141 to 149, of 156 136 to 143
    lift_below: float = 192.0
    lift_rate: Range = (0.10, 0.36)
    lift_ceiling: Range = (7.0, 16.0)
    lift_steepness: Range = (0.005, 0.07)  # steeper curve for each level of lift [measured]
    # People see that a faint leg is a leg: the threshold stays this far below the body's own level,
    # grey levels, [measured] 6 to 34 below the middle of a leg, whose mean is some 8 lower,
    lift_margin: Range = (-6.0, 10.0)
    # as far as it takes no greater lift than this, grey levels. [chosen]
    lift_limit: Range = (13.0, 24.0)
    # Narrow gaps between limbs, filled by blur, are darkened so that they stay gaps: the threshold
    # rises this far above the gap's own level, grey levels, but at most by `gap_grey`. Wide gaps
    # are dark anyway. Gaps up to `gap_width` pixels count. [measured] gaps of raw 161 to 170 were
    # made black to 50; the borders of gaps below 145 cross 128 at 154 as outer edges do
    gap_margin: Range = (4.0, 24.0)
    gap_grey: Range = (0.0, 30.0)
    gap_width: float = 56.0
    # Dabs of a soft brush: number, radius in pixels, lift in grey levels. [chosen]
    dab_count: float = 3.0
    dab_radius: Range = (14.0, 42.0)
    dab_grey: Range = (-4.0, 6.0)
    # Inside the body what lacks to white is multiplied by this. [measured] 1.0 and about 0.4
    whitening: Range = (0.35, 0.95)
    # Dark spots well inside the body that hide nothing are painted over, at least to this grey.
    # [measured] buttons and prints vanished
    fill_grey: Range = (200.0, 248.0)
    # The hand-drawn mask: share of the body's coverage below which nothing is kept, its unevenness
    # and softness in pixels. [measured] nothing is left 6 to 8 pixels outside the half level
    mask_coverage: Range = (0.06, 0.22)
    mask_unevenness: Range = (0.0, 0.06)
    mask_softness: Range = (0.6, 1.6)
    # Objects follow the same curve: rise of the threshold in and around them, grey levels.
    # [measured] crossings at 154 and 156, where outer edges cross at 154 and 152
    burn_grey: Range = (-2.0, 5.0)
    # What hides surely is painted black besides, however faint: from this share of the object's
    # own strongest coverage, and over this span. [measured] the paint adds nothing to the area
    # that the curve makes dark already, for objects of full contrast
    object_paint: Range = (0.42, 0.64)
    object_paint_span: float = 0.25
    # Unevenness of that paint's outline, share of the coverage. [chosen]
    object_unevenness: Range = (0.02, 0.08)
    speck_probability: float = 0.3  # a few lone grey pixels stay in the background [measured]
