"""Derivatives of every stage beside central differences in float64.

`python tests/gradient_checks.py [NAME ...]` measures all of `CHECKS`, or those, and writes their
rows of the table in `docs/gradients.md`; `test_gradients.py` holds each to its bound.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradient_problems as problems
import jax
import jax.numpy as jnp
import numpy as np
from fast import FAST


@dataclass(frozen=True)
class Check:
    """One row: a scalar function of named arguments, made by `build` under x64."""

    stage: str
    method: str
    build: Callable[[], problems.Problem]
    step: float = 1e-6
    slow: bool = False
    whole: bool = True  # compiled as one program; otherwise stage by stage
    tested: bool = True  # by the tests too, which have no time for the longest


def errors(check: Check) -> dict[str, float]:
    """Returns for each argument the larger relative error of forward and reverse mode."""
    with jax.enable_x64(True):
        function, arguments = check.build()
        values = tuple(arguments.values())
        still = jax.tree.map(jnp.zeros_like, values)
        moves = [
            (*still[:place], _direction(value, seed=place), *still[place + 1 :])
            for place, value in enumerate(values)
        ]

        def slopes(values: tuple, moves: list[tuple]) -> tuple[list, list]:
            value, line = jax.linearize(function, *values)
            gradient = jax.linear_transpose(line, *values)(jnp.ones_like(value))
            products = [jax.tree.map(jnp.vdot, gradient, move) for move in moves]
            reverse = [sum(jax.tree.leaves(product)) for product in products]
            return [line(*move) for move in moves], reverse

        compiled = partial(jax.jit, compiler_options=FAST) if check.whole else lambda f: f
        forward, reverse = compiled(slopes)(values, moves)
        plain = compiled(function)
        found = {}
        for name, move, *both in zip(arguments, moves, forward, reverse, strict=True):

            def moved(size: float, move: tuple = move) -> jax.Array:
                return plain(*jax.tree.map(lambda a, b: a + size * b, values, move))

            slope = float(moved(check.step) - moved(-check.step)) / (2 * check.step)
            found[name] = max(abs(float(one) - slope) for one in both) / abs(slope)
        return found


def _direction(value: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), value)


CHECKS = {
    "render": Check(
        "`render(smooth=True)`",
        "direct; silhouettes by `antialias`",
        problems.rendering,
        1e-8,
        slow=True,
    ),
    "landmarks": Check(
        "`detect_padded`", "direct, regions held", problems.landmarks, step=1e-9, slow=True
    ),
    # Plain backgrounds put max pooling on its kinks, where differences say little of the photo.
    "parse": Check("`parse`", "direct", problems.parsing, step=1e-9, tested=False),
    "hair": Check("`dress`, drawn", "direct", problems.hair, step=1e-7, slow=True),
    "fit": Check("`fit`", "implicit, exact Jacobian", problems.fitting, slow=True),
    "unrolled fit": Check(
        "`fit`, unrolled", "through the steps", problems.unrolled_fit, tested=False
    ),
    "person": Check("`fit_faces`", "implicit, exact Jacobian", problems.person, tested=False),
    "unrolled person": Check(
        "`fit_faces`, unrolled", "through the steps", problems.unrolled_person, tested=False
    ),
    "projection": Check("`project_simplex`", "exact on the active set", problems.projection),
    "blend": Check("`blend`", "implicit on the active set", problems.blending),
    "synthesis": Check(
        "`synthesize`", "unrolled, steps checkpointed", problems.synthesis, 1e-7, slow=True
    ),
    "optimum": Check(
        "`synthesize`, optimum",
        "implicit, conjugate gradients",
        problems.optimum,
        1e-5,
        slow=True,
        whole=False,
    ),
    "chain": Check(
        "`reconstruct_face`", "all of the above", problems.chain, 1e-7, whole=False, tested=False
    ),
}
PAGE = Path(__file__).resolve().parents[1] / "docs" / "gradients.md"
HEADER = "| stage | with respect to | method | error |\n| --- | --- | --- | --- |\n"


def published() -> dict[tuple[str, str], float]:
    """Returns the errors of the page's table by stage and argument."""
    rows = PAGE.read_text().split(HEADER)[1].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {(stage, argument): float(error) for stage, argument, _, error in cells}


def write(names: list[str]) -> None:
    """Measures these and writes the page's table; other rows stay."""
    known = published()
    rows = [
        f"| {check.stage} | {argument} | {check.method} | {error:.0e} |"
        for name, check in CHECKS.items()
        for argument, error in (
            errors(check)
            if name in names
            else {what: error for (stage, what), error in known.items() if stage == check.stage}
        ).items()
    ]
    before, rest = PAGE.read_text().split(HEADER)
    after = rest.split("\n\n", 1)[1]
    PAGE.write_text(before + HEADER + "\n".join(rows) + "\n\n" + after)


if __name__ == "__main__":
    write(sys.argv[1:] or list(CHECKS))
