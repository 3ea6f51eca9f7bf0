"""Learns `pretrained/parser.npz` from rendered people: `python -m building.parser PICTURES`.

PICTURES is what `python -m building.people.dataset` made. Projections are the principal components
of VGG-16's features, each layer scaled to unit variance; the convolutions are learnt by Adam on the
cross-entropy with the share of each class in each 4 x 4 pixels. Pictures held out are never
learnt from; the script prints on them what it prints while it learns.

    features    projected features of every picture, kept in PICTURES/features
    head        the convolutions
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from building.people.dataset import is_held_out
from jaxface import assets
from jaxface.features.vgg import layer_stride, vgg_features
from jaxface.features.weights import load_vgg
from jaxface.parsing.classes import CLASSES
from jaxface.parsing.files import FILE
from jaxface.parsing.network import (
    DILATIONS,
    LAYERS,
    STRIDE,
    ParserWeights,
    class_logits,
    projected_features,
)
from jaxface.parsing.parse import parse_square

COMPONENTS, CHANNELS = 96, 48
_PCA_PICTURES, _PCA_PIXELS = 64, 400
BATCH, CROP, RATE = 4, 64, 2e-3  # CROP: features a side, of 96


def principal_components(files: list[Path], vgg: dict) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the projections `{layer: [C, P]}` and the offset `[P]`: whitened components."""
    rng = np.random.default_rng(0)
    samples = []
    forward = jax.jit(partial(vgg_features, layers=LAYERS))
    for file in files[:: max(1, len(files) // _PCA_PICTURES)][:_PCA_PICTURES]:
        image = jnp.asarray(np.load(file)["srgb"] / 255.0, jnp.float32)
        features = forward(vgg, image)
        at = rng.integers(0, image.shape[0] // 16, (_PCA_PIXELS, 2))
        rows = []
        for layer in LAYERS:
            # The mean over the 4 x 4 pixels, or the feature that lies there.
            values, stride = np.asarray(features[layer]), layer_stride(layer)
            step = 16 // stride
            block = max(1, STRIDE // stride)
            row, column = (at * step).T
            cells = [values[row + i, column + j] for i in range(block) for j in range(block)]
            rows.append(np.mean(cells, axis=0))
        samples.append(np.concatenate(rows, 1))
    data = np.concatenate(samples)
    mean = data.mean(0)
    widths = [len(np.asarray(vgg[f"conv{layer[4:]}"]["bias"])) for layer in LAYERS]
    ends = np.cumsum([0, *widths])
    scale = np.concatenate(
        [np.full(b - a, 1 / np.sqrt(data[:, a:b].var(0).sum())) for a, b in pairwise(ends)]
    )
    scaled = (data - mean) * scale
    variance, axes = np.linalg.eigh(scaled.T @ scaled / len(scaled))  # ascending
    deviation = np.sqrt(variance[::-1][:COMPONENTS])
    # Not quite whitened: the last components would be noise of the size of the first.
    matrix = scale[:, None] * axes[:, ::-1][:, :COMPONENTS] / np.sqrt(deviation * deviation[0])
    offset = -mean @ matrix
    parts = {
        layer: np.asarray(matrix[a:b], np.float32)
        for layer, (a, b) in zip(LAYERS, pairwise(ends), strict=True)
    }
    return parts, offset.astype(np.float32)


def features_of(files: list[Path], folder: Path, vgg: dict) -> None:
    """Writes the projections and the projected features of every picture; resumable."""
    folder.mkdir(exist_ok=True)
    kept = folder / "projections.npz"
    if not kept.exists():
        learnt = [file for file in files if not is_held_out(int(file.stem))]
        components, offset = principal_components(learnt, vgg)
        np.savez(kept, offset=offset, **components)
    with np.load(kept) as stored:
        parts = {layer: jnp.asarray(stored[layer]) for layer in LAYERS}
    project = jax.jit(projected_features)
    for file in files:
        target = folder / f"{file.stem}.npz"
        if target.exists():
            continue
        with np.load(file) as picture:
            image = jnp.asarray(picture["srgb"] / 255.0, jnp.float32)
            classes, inside = picture["classes"] / np.float32(255), picture["inside"]
        side = len(image) // STRIDE
        blocks = (side, STRIDE, side, STRIDE)
        features = np.asarray(project(image, vgg, parts), np.float16)
        share = classes.reshape(*blocks, -1).mean((1, 3)).astype(np.float16)
        weight = inside.reshape(blocks).mean((1, 3)).astype(np.float16)
        half = target.with_suffix(".tmp.npz")
        np.savez(half, features=features, share=share, weight=weight)
        half.replace(target)


def start(key: jax.Array, folder: Path) -> ParserWeights:
    """Returns random weights (He et al. 2015) on the stored projections."""
    with np.load(folder / "projections.npz") as stored:
        parts = {layer: jnp.asarray(stored[layer]) for layer in LAYERS}
        offset = jnp.asarray(stored["offset"])
    kernels, inner = [], COMPONENTS
    for part in jax.random.split(key, len(DILATIONS)):
        draw = jax.random.normal(part, (3, 3, inner, CHANNELS))
        kernels.append(draw * jnp.sqrt(2 / (9 * inner)))
        inner = CHANNELS
    return ParserWeights(
        projections=parts,
        offset=offset,
        kernels=tuple(kernels),
        biases=tuple(jnp.zeros(CHANNELS) for _ in DILATIONS),
        classes_kernel=0.01 * jax.random.normal(key, (CHANNELS, len(CLASSES))),
        classes_bias=jnp.zeros(len(CLASSES)),
    )


def learn(files: list[Path], folder: Path, *, steps: int, seed: int = 0) -> ParserWeights:
    """Returns weights learnt in some steps of Adam, with a cosine schedule."""
    names = [folder / f"{file.stem}.npz" for file in files]
    learnt = [name for name in names if not is_held_out(int(name.stem))]
    held = [name for name in names if is_held_out(int(name.stem))]
    weights = start(jax.random.key(seed), folder)
    fixed = {"projections": weights.projections, "offset": weights.offset}

    def loss(learnt: dict, features: jax.Array, share: jax.Array, weight: jax.Array) -> jax.Array:
        logits = jax.vmap(lambda f: class_logits(f, ParserWeights(**fixed, **learnt)))(features)
        return jnp.sum(weight * optax.softmax_cross_entropy(logits, share)) / jnp.sum(weight)

    schedule = optax.cosine_decay_schedule(RATE, steps)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-4)
    )
    free = {
        "kernels": weights.kernels,
        "biases": weights.biases,
        "classes_kernel": weights.classes_kernel,
        "classes_bias": weights.classes_bias,
    }

    @jax.jit
    def step(free: dict, state: tuple, *batch: jax.Array) -> tuple:
        value, slope = jax.value_and_grad(loss)(free, *batch)
        update, state = optimiser.update(slope, state, free)
        return optax.apply_updates(free, update), state, value

    def batch(chosen: list[Path], mirrored: bool) -> list[jax.Array]:
        rows = []
        for name in chosen:
            with np.load(name) as stored:
                rows.append([stored[key] for key in ("features", "share", "weight")])
        arrays = [np.stack(column).astype(np.float32) for column in zip(*rows, strict=True)]
        # Features of a mirror image are nearly the mirror image of the features.
        return [jnp.asarray(a[:, :, ::-1] if mirrored else a) for a in arrays]

    measure = jax.jit(loss)
    state, rng = optimiser.init(free), np.random.default_rng(seed)
    running, begun = 0.0, time.time()
    for count in range(steps):
        chosen = [learnt[k] for k in rng.choice(len(learnt), BATCH, replace=False)]
        whole = batch(chosen, rng.random() < 0.5)
        row, column = rng.integers(0, whole[0].shape[1] - CROP + 1, 2)
        part = [a[:, row : row + CROP, column : column + CROP] for a in whole]
        free, state, value = step(free, state, *part)
        running += float(value)
        if (count + 1) % 250 == 0:
            apart = np.mean([float(measure(free, *batch([name], False))) for name in held[:40]])
            minutes = (time.time() - begun) / 60
            print(
                f"{count + 1} {running / 250:.4f} held out {apart:.4f} {minutes:.1f} min",
                flush=True,
            )
            running = 0.0
    return ParserWeights(**fixed, **free)


def measure(files: list[Path], weights: ParserWeights, vgg: dict) -> dict[str, float]:
    """Returns how much of each class is judged rightly on the pictures held out, % of pixels.

    `face kept`: of the pixels that show the face, those where it is the most probable; `hair cut`,
    `other cut`, `background cut`: of the pixels of that class, those where it is not. Pixels of
    which a class has less than nine tenths (borders) and pixels outside the photo do not count.
    """
    judge = jax.jit(lambda image: parse_square(image, vgg, weights))
    right, total = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    for file in files:
        if not is_held_out(int(file.stem)):
            continue
        with np.load(file) as picture:
            image = jnp.asarray(picture["srgb"] / 255.0, jnp.float32)
            classes, inside = picture["classes"] >= 230, picture["inside"]
        kept = np.asarray(jnp.argmax(judge(image), -1)) == CLASSES.index("face")
        for k, name in enumerate(CLASSES):
            where = classes[..., k] & inside
            total[k] += where.sum()
            right[k] += (kept[where] if name == "face" else ~kept[where]).sum()
    words = [f"{name} {'kept' if name == 'face' else 'cut'}" for name in CLASSES]
    return dict(zip(words, (100 * right / np.maximum(total, 1)).tolist(), strict=True))


def save(weights: ParserWeights, file: Path) -> None:
    """Writes the weights in float16."""
    arrays = {f"projection_{layer}": weights.projections[layer] for layer in LAYERS}
    arrays |= {f"kernel_{k}": kernel for k, kernel in enumerate(weights.kernels)}
    arrays |= {f"bias_{k}": bias for k, bias in enumerate(weights.biases)}
    arrays |= {
        "offset": weights.offset,
        "classes_kernel": weights.classes_kernel,
        "classes_bias": weights.classes_bias,
    }
    np.savez_compressed(file, **{k: np.asarray(a, np.float16) for k, a in arrays.items()})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--out", type=Path, help="another file than the embedded one")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--features-only", action="store_true")
    args = parser.parse_args()
    files = sorted(f for f in args.pictures.glob("?????.npz"))
    folder = args.pictures / "features"
    features_of(files, folder, load_vgg())
    if not args.features_only:
        weights = learn(files, folder, steps=args.steps)
        save(weights, args.out or assets.folder() / FILE)
        for name, percent in measure(files, weights, load_vgg()).items():
            print(f"{name} {percent:.1f} %")


if __name__ == "__main__":
    main()
