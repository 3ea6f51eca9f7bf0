"""Settings of the hair."""

from __future__ import annotations

from jaxface.pytrees import pytree, static

HAIR_STYLES = ("short01", "short02", "short04", "bob02", "long01", "afro01")
"""Names of the styles in `pretrained/hair.npz`, in their order."""

OVER_EARS = ("bob02", "long01")
"""Styles that cover the ears."""
LONG = ("long01",)
"""Styles that hang below the chin."""
COILY = ("afro01",)
"""Styles of coily hair, whose texture every style takes for it."""


@pytree
class HairConfig:
    """Settings of `dress`.

    Attributes:
        style: `auto`, a style's name, or `none`: then `load_assets` loads no styles.
        least: share of the visible scalp that is hair, below which the head stays bald.
        doubtful: overlap of the drawn hair with the photo's below which it does too.
        prior: added to each style's overlap before the greatest is taken.
        coily: added for coily styles where hair is coily, taken away where it is not.
        over_ears: added for styles that cover the ears where they are covered, taken away where
            they are not.
        long: added for long styles where hair hangs below the chin, taken away where it does not.
    """

    style: str = static(default="auto")
    least: float = 0.1
    doubtful: float = 0.4
    prior: tuple[float, ...] = (0.0, -0.02, -0.04, -0.05, -0.05, -0.06)
    coily: float = 0.1
    over_ears: float = 0.03
    long: float = 0.05
