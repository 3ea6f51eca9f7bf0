"""What a synthetic face is like: every property drawn independently of the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SkinParameters:
    """The parameters of one face; with the base skin they reproduce it.

    Attributes:
        seed: of everything that is drawn below the level of these parameters.
        base: name of the real skin that gives the low frequencies.
        mirrored: whether the base is turned over.
        melanin: standard deviations added to the base's.
        haemoglobin: as `melanin`.
        age: 0 (20 years) to 1 (75 years): depth and number of lines.
        relief: contrast of pores and furrows, 1 is usual.
        pores: share of the contrast that pores have on nose, cheeks and chin.
        mottling: unevenness of the pigments, 1 is usual.
        freckles: 0 to 1.
        moles: number.
        stubble: 0 to 1, density and length of a shaven beard.
        scalp: 0 to 1, density of shaven hair.
        brow: index of the eyebrow's picture.
        brow_density: 0 to 1.
        hair: linear RGB of brows, stubble and scalp.
        eye: colour of the iris.
        shadow: darkness under the eyes, 0 to 1.
        lips: haemoglobin and darkness added to the lips.
        make_up: 0, or how much rouge, eye shadow and lipstick.
        scars: number.
    """

    seed: int
    base: str
    mirrored: bool
    melanin: float
    haemoglobin: float
    age: float
    relief: float
    pores: float
    mottling: float
    freckles: float
    moles: int
    stubble: float
    scalp: float
    brow: int
    brow_density: float
    hair: tuple[float, float, float]
    eye: str
    shadow: float
    lips: float
    make_up: float
    scars: int


_IRISES = ("brown", "brown", "brown", "brownlight", "green", "blue", "grey", "bluegreen")
# Linear RGB from black over brown to blond and red; grey is mixed in with age.
_HAIR = ((0.010, 0.008, 0.007), (0.025, 0.016, 0.011), (0.055, 0.032, 0.018),
         (0.12, 0.075, 0.038), (0.10, 0.040, 0.016))  # fmt: skip
_GREY = np.array([0.20, 0.19, 0.18])


def draw(seed: int, base: str, *, dark: bool, man: bool, brows: int) -> SkinParameters:
    """Returns random parameters.

    Args:
        seed: of the draw.
        base: name of the real skin.
        dark: whether the base is dark, so that melanin is drawn around the middle of all tones.
        man: whether the base shows a man: a woman's has no stubble.
        brows: number of eyebrow pictures.
    """
    rng = np.random.default_rng(seed)
    age = rng.uniform()
    melanin = rng.uniform(-1.2, 0.4) if dark else rng.uniform(-0.4, 2.2)
    grey = np.clip(rng.normal(1.6 * age - 0.7, 0.25), 0, 1)
    tones = len(_HAIR) if not dark and melanin < 0.8 else 2
    hair = (1 - grey) * np.array(_HAIR[rng.integers(tones)]) + grey * _GREY
    return SkinParameters(
        seed=seed,
        base=base,
        mirrored=bool(rng.integers(2)),
        melanin=float(melanin),
        haemoglobin=float(np.clip(rng.normal(0, 0.5), -0.5, 0.4 if dark else 1.2)),
        age=float(age),
        relief=float(rng.uniform(0.7, 1.4)),
        pores=float(rng.uniform(0.3, 1.2)),
        mottling=float(rng.uniform(0.5, 1.6)),
        freckles=float(np.clip(rng.normal(-0.2, 0.5), 0, 1) * (melanin < 1.2)),
        moles=int(rng.poisson(2.0)),
        stubble=float(np.clip(rng.normal(0.4, 0.4), 0, 1)) if man else 0.0,
        scalp=float(rng.uniform(0.2, 1.0)),
        brow=int(rng.integers(brows)),
        brow_density=float(rng.uniform(0.7, 1.0)),
        hair=tuple(float(x) for x in hair),
        eye="brown" if dark or melanin > 1 else _IRISES[rng.integers(len(_IRISES))],
        shadow=float(np.clip(rng.normal(0.3, 0.3), 0, 1)),
        lips=float(rng.normal(0, 0.6)),
        make_up=float(rng.uniform(0.3, 1) if not man and rng.uniform() < 0.35 else 0),
        scars=int(rng.poisson(0.25)),
    )
