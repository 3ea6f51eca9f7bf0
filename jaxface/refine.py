"""The paper's optimisation of the texture, an optional stage after `infer`."""

from __future__ import annotations

import jax

from jaxface.config import ReconstructConfig
from jaxface.infer import finish
from jaxface.precision import jit
from jaxface.synthesis.optimize import Callback, synthesize
from jaxface.types import Assets, Database, Reconstruction


def refine(
    result: Reconstruction,
    database: Database,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    stepwise: bool = False,
    callback: Callback | None = None,
) -> Reconstruction:
    """Returns the reconstruction with its texture optimised for the blended correlations.

    Saito et al. (CVPR 2017), section 5. With `config.method` "paper" from the low-frequency albedo,
    else from the composition, of which it changes unseen texels by less than 0.1 of 255 levels on
    average. Pure and unbatched unless `stepwise`: works under `jit`, `vmap` and `grad`.
    Differentiable as `config.synthesis.derivative` says.

    Args:
        result: from `infer` with the same `database`, `assets` and `config`.
        database: as given to `infer`.
        assets: as given to `infer`.
        config: settings.
        stepwise: loop in Python over jitted steps, twice as fast on a CPU; not to be traced.
        callback: with `stepwise`: called with the least loss so far and the fraction done.

    Example:
        >>> refine(result, assets.database, assets).synthesis.losses[-1]  # doctest: +SKIP
        Array(0.0037, dtype=float32)
    """
    seen = result.unwrapped
    found = synthesize(
        jax.random.key(config.seed),
        seen.low_frequency,
        seen.partial,
        seen.skin_mask,
        database.textures,
        result.blend.weights,
        assets.vgg,
        painted=assets.painted,
        bare_skin=assets.bare_skin,
        pixels_per_texel=seen.pixels_per_texel,
        correlation=config.correlation,
        composition=config.composition,
        config=config.synthesis,
        stepwise=stepwise,
        callback=callback,
    )
    texture, maps = _finish(found.texture, seen, result.blend, database, assets, config)
    return result.replace(synthesis=found.replace(texture=texture), materials=maps)


_finish = jit(finish)
