"""Learns `pretrained/parser.npz` from rendered people: `python -m building.parser PICTURES`.

PICTURES is what `python -m building.people.dataset` made. Projections are the principal components
of VGG-16's features, each layer scaled to unit variance; the convolutions are learnt by Adam on the
cross-entropy with the share of each class in each pixel of a stage. Pictures held out are never
learnt from; the script prints on them what it prints while it learns.

    features    projected features of every picture, kept in PICTURES/features
    stages      the convolutions
    beard       logistic regression on the features of both stages, which stay
    brows       likewise with one hidden layer, on the features around a pixel
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
from scipy import ndimage, optimize, special

from building.people.dataset import is_held_out
from jaxface import assets
from jaxface.features.vgg import layer_stride, vgg_features
from jaxface.features.weights import load_vgg
from jaxface.parsing.classes import BEARD, CLASSES, FACE, FACIAL_HAIR, HAIR
from jaxface.parsing.files import FILE, weights_of
from jaxface.parsing.network import (
    BROWS_DILATION,
    DILATIONS,
    FINE_DILATIONS,
    FINE_LAYERS,
    FINE_STRIDE,
    LAYERS,
    STRIDE,
    ParserStage,
    ParserWeights,
    class_logits,
    parser_features,
)
from jaxface.parsing.parse import parse_square

COMPONENTS, CHANNELS = 96, 48
FINE_COMPONENTS = 24  # and channels of the fine stage
_PCA_PICTURES, _PCA_PIXELS = 64, 400
BATCH, CROP, RATE = 4, 64, 2e-3  # CROP: features of the coarse stage a side, of 96
BORDER, BORDER_WEIGHT = 6, 4.0
"""Pixels of the face so near to hair or other things, and those so near to it, weigh more: strands
and rims are thin, and cheeks are not."""
THIN = 2.0
"""Factor of the share of hair and other things in a pixel that is learnt: what covers half of it is
to be cut, though most rims and strands are no wider than that."""
BROW_WEIGHT = 4.0
"""Brows look like the tips of a fringe, and are few."""
BEARD_PIXELS = (900, 600, 200)  # of a picture: any of the face, of brows and beard, of its border
BEARD_RIDGE = 1e-4  # of the regression, on features of unit variance
BROWS_PIXELS = (450, 300, 100, 200)  # of a picture: likewise, and of the head's hair
BROWS_CHANNELS, BROWS_STEPS, BROWS_BATCH, BROWS_RATE = 32, 3000, 1024, 3e-3
BROWS_NOISE = 0.1  # added to features of unit variance
CHANGE = 0.01  # weight of the square of what the fine stage adds: nothing where little is gained


def principal_components(
    files: list[Path], vgg: dict, layers: tuple[str, ...], stride: int, count: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the projections `{layer: [C, count]}` and the offset `[count]`: whitened."""
    rng = np.random.default_rng(0)
    samples = []
    forward = jax.jit(partial(vgg_features, layers=layers))
    for file in files[:: max(1, len(files) // _PCA_PICTURES)][:_PCA_PICTURES]:
        image = jnp.asarray(np.load(file)["srgb"] / 255.0, jnp.float32)
        features = forward(vgg, image)
        at = rng.integers(0, image.shape[0] // 16, (_PCA_PIXELS, 2))
        rows = []
        for layer in layers:
            # The mean over the pixels of one feature, or the feature that lies there.
            values, own = np.asarray(features[layer]), layer_stride(layer)
            row, column = (at * (16 // own)).T
            block = max(1, stride // own)
            cells = [values[row + i, column + j] for i in range(block) for j in range(block)]
            rows.append(np.mean(cells, axis=0))
        samples.append(np.concatenate(rows, 1))
    data = np.concatenate(samples)
    mean = data.mean(0)
    widths = [len(np.asarray(vgg[f"conv{layer[4:]}"]["bias"])) for layer in layers]
    ends = np.cumsum([0, *widths])
    scale = np.concatenate(
        [np.full(b - a, 1 / np.sqrt(data[:, a:b].var(0).sum())) for a, b in pairwise(ends)]
    )
    scaled = (data - mean) * scale
    variance, axes = np.linalg.eigh(scaled.T @ scaled / len(scaled))  # ascending
    deviation = np.sqrt(variance[::-1][:count])
    # Not quite whitened: the last components would be noise of the size of the first.
    matrix = scale[:, None] * axes[:, ::-1][:, :count] / np.sqrt(deviation * deviation[0])
    offset = -mean @ matrix
    parts = {
        layer: np.asarray(matrix[a:b], np.float32)
        for layer, (a, b) in zip(layers, pairwise(ends), strict=True)
    }
    return parts, offset.astype(np.float32)


def start(files: list[Path], vgg: dict, key: jax.Array) -> ParserWeights:
    """Returns random weights (He et al. 2015) on principal components; the fine stage changes
    nothing yet."""
    learnt = [file for file in files if not is_held_out(int(file.stem))]
    keys = jax.random.split(key, 4)

    def stage(
        key: jax.Array, layers: tuple, stride: int, inner: int, outer: int, count: int, last: float
    ) -> ParserStage:
        parts, offset = principal_components(learnt, vgg, layers, stride, inner)
        widths = [inner, *[outer] * count]
        kernels = [
            jax.random.normal(part, (3, 3, a, b)) * jnp.sqrt(2 / (9 * a))
            for part, (a, b) in zip(jax.random.split(key, count), pairwise(widths), strict=True)
        ]
        return ParserStage(
            projections={layer: jnp.asarray(part) for layer, part in parts.items()},
            offset=jnp.asarray(offset),
            kernels=tuple(kernels),
            biases=tuple(jnp.zeros(outer) for _ in range(count)),
            classes_kernel=last * jax.random.normal(key, (outer, len(CLASSES))),
            classes_bias=jnp.zeros(len(CLASSES)),
        )

    fine = FINE_COMPONENTS
    return ParserWeights(
        coarse=stage(keys[0], LAYERS, STRIDE, COMPONENTS, CHANNELS, len(DILATIONS), 0.01),
        fine=stage(keys[1], FINE_LAYERS, FINE_STRIDE, fine, fine, len(FINE_DILATIONS), 0.0),
        bridge=jax.random.normal(keys[2], (CHANNELS, fine)) / jnp.sqrt(CHANNELS),
        beard_kernel=jnp.zeros(CHANNELS + COMPONENTS + 2 * fine),
        beard_bias=jnp.zeros(()),
        brows_kernels=(
            jnp.zeros((3, 3, CHANNELS + COMPONENTS + 2 * fine, BROWS_CHANNELS)),
            jnp.zeros(BROWS_CHANNELS),
        ),
        brows_biases=(jnp.zeros(BROWS_CHANNELS), jnp.zeros(())),
    )


def pixel_weight(share: np.ndarray, brows: np.ndarray) -> np.ndarray:
    """Returns how much pixels weigh, `[t, t]` from the share of each class and of brows in them."""
    face = share[..., FACE]
    before = share[..., HAIR] + share[..., CLASSES.index("other")]
    side = 2 * (BORDER // FINE_STRIDE) + 1
    near = face * ndimage.maximum_filter(before, side) + before * ndimage.maximum_filter(face, side)
    border = 1 + (BORDER_WEIGHT - 1) * np.clip(near, 0, 1)
    return np.maximum(border, 1 + (BROW_WEIGHT - 1) * brows)


def cautious(share: np.ndarray) -> np.ndarray:
    """Returns the shares `[t, t, K]` with more of hair and other things and less of the face."""
    before = [HAIR, CLASSES.index("other")]
    total, face = share[..., before].sum(-1), share[..., FACE]
    more = np.minimum((THIN - 1) * total, face)
    share = share.copy()
    share[..., FACE] -= more
    share[..., before] *= (1 + more / np.maximum(total, 1e-6))[..., None]
    return share


def features_of(files: list[Path], folder: Path, weights: ParserWeights, vgg: dict) -> None:
    """Writes the projected features of every picture, and what there is to see; resumable."""
    folder.mkdir(exist_ok=True)
    project = jax.jit(parser_features)
    for file in files:
        target = folder / f"{file.stem}.npz"
        if target.exists():
            continue
        with np.load(file) as picture:
            image = jnp.asarray(picture["srgb"] / 255.0, jnp.float32)
            classes, inside = picture["classes"] / np.float32(255), picture["inside"]
            brows = picture["brows"] / np.float32(255)
        side = len(image) // FINE_STRIDE
        blocks = (side, FINE_STRIDE, side, FINE_STRIDE)
        coarse, fine = project(image, vgg, weights)
        share = cautious(classes.reshape(*blocks, -1).mean((1, 3)))
        own_brows = brows.reshape(blocks).mean((1, 3))
        arrays = {
            "coarse": coarse,
            "fine": fine,
            "share": share,
            "weight": inside.reshape(blocks).mean((1, 3)) * pixel_weight(share, own_brows),
        }
        half = target.with_suffix(".tmp.npz")
        np.savez(half, **{name: np.asarray(a, np.float16) for name, a in arrays.items()})
        half.replace(target)


def loss(
    weights: ParserWeights,
    coarse: jax.Array,
    fine: jax.Array,
    share: jax.Array,
    weight: jax.Array,
    fine_only: bool,
) -> jax.Array:
    """Returns the weighted cross-entropy of the stages, of the arrays of `features_of`, `[B]`.

    The coarse stage learns from its own alone; that of the fine one, and the mean square of what it
    adds times `CHANGE`, do not reach it. `fine_only`: the coarse stage's is left out.
    """
    times = STRIDE // FINE_STRIDE

    def shrunk(a: jax.Array) -> jax.Array:
        count, side = a.shape[0], a.shape[1] // times
        return a.reshape(count, side, times, side, times, -1).mean((2, 4))

    def entropy(logits: jax.Array, share: jax.Array, weight: jax.Array) -> jax.Array:
        return jnp.sum(weight * optax.softmax_cross_entropy(logits, share)) / jnp.sum(weight)

    kept = weights.replace(coarse=jax.lax.stop_gradient(weights.coarse))
    first, last, _ = jax.vmap(lambda c, f: class_logits(c, f, kept))(coarse, fine)
    change = last - jax.image.resize(first, last.shape, "linear")
    change = change - change.mean(-1, keepdims=True)  # a common part changes no probability
    total = entropy(last, share, weight) + CHANGE * jnp.mean(jnp.sum(change**2, -1))
    if fine_only:
        return total
    first, _, _ = jax.vmap(lambda c, f: class_logits(c, f, weights))(coarse, fine)
    return total + entropy(first, shrunk(share), shrunk(weight)[..., 0])


def learn(
    files: list[Path],
    folder: Path,
    weights: ParserWeights,
    *,
    steps: int,
    rate: float = RATE,
    fine_only: bool = False,
    seed: int = 0,
) -> ParserWeights:
    """Returns weights learnt in some steps of Adam, with a cosine schedule; projections stay."""
    names = [folder / f"{file.stem}.npz" for file in files]
    learnt = [name for name in names if not is_held_out(int(name.stem))]
    held = [name for name in names if is_held_out(int(name.stem))]
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(rate, steps))
    )

    @jax.jit
    def step(weights: ParserWeights, state: tuple, *batch: jax.Array) -> tuple:
        # The loss depends on features, not on the projections: their slope is zero, and they stay.
        value, slope = jax.value_and_grad(loss)(weights, *batch, fine_only)
        update, state = optimiser.update(slope, state, weights)
        return optax.apply_updates(weights, update), state, value

    def batch(chosen: list[Path], mirrored: bool) -> list[np.ndarray]:
        rows = []
        for name in chosen:
            with np.load(name) as stored:
                rows.append([stored[key] for key in ("coarse", "fine", "share", "weight")])
        arrays = [np.stack(column).astype(np.float32) for column in zip(*rows, strict=True)]
        # Features of a mirror image are nearly the mirror image of the features.
        return [a[:, :, ::-1] if mirrored else a for a in arrays]

    measure = jax.jit(partial(loss, fine_only=fine_only))
    state, rng = optimiser.init(weights), np.random.default_rng(seed)
    running, begun = 0.0, time.time()
    for count in range(steps):
        chosen = [learnt[k] for k in rng.choice(len(learnt), BATCH, replace=False)]
        whole = batch(chosen, rng.random() < 0.5)
        row, column = rng.integers(0, whole[0].shape[1] - CROP + 1, 2)
        part = []
        for a in whole:
            times = a.shape[1] // whole[0].shape[1]
            rows, columns = (slice(times * k, times * (k + CROP)) for k in (row, column))
            part.append(a[:, rows, columns])
        weights, state, value = step(weights, state, *part)
        running += float(value)
        if (count + 1) % 250 == 0:
            apart = np.mean([float(measure(weights, *batch([name], False))) for name in held[:40]])
            minutes = (time.time() - begun) / 60
            print(
                f"{count + 1} {running / 250:.4f} held out {apart:.4f} {minutes:.1f} min",
                flush=True,
            )
            running = 0.0
    return weights


def facial_samples(
    kind: str, files: list[Path], folder: Path, weights: ParserWeights, vgg: dict
) -> list[Path]:
    """Writes features and share of `beard` or `brows` of some pixels of every picture; resumable.

    Of beard the features of the pixel, `[N, F]`, among the face's pixels; of brows those of the
    3 x 3 around it, `[N, 9, F]`, among the head's hair, too.
    """
    folder.mkdir(exist_ok=True)

    @jax.jit
    def features(image: jax.Array) -> jax.Array:
        return class_logits(*parser_features(image, vgg, weights), weights)[2]

    targets = [folder / file.name for file in files]
    for file, target in zip(files, targets, strict=True):
        if target.exists():
            continue
        with np.load(file) as picture:
            side = len(picture["srgb"]) // FINE_STRIDE
            blocks = (side, FINE_STRIDE, side, FINE_STRIDE)
            seen = np.asarray(features(jnp.asarray(picture["srgb"] / 255.0, jnp.float32)))
            inside = picture["inside"].reshape(blocks).mean((1, 3)) > 0.9
            classes = picture["classes"]
            layers = classes[..., FACE], classes[..., HAIR], picture["brows"], picture["beard"]
            face, hair, brows, beard = (
                (a / np.float32(255)).reshape(blocks).mean((1, 3)) for a in layers
            )
        whole = inside & (face > 0.8)
        kinds = [whole, whole & (np.maximum(brows, beard) > 0.3), inside & ~whole & (face > 0.05)]
        kinds += [inside & (hair > 0.8)] if kind == "brows" else []
        counts = BROWS_PIXELS if kind == "brows" else BEARD_PIXELS
        rng = np.random.default_rng(int(file.stem))
        at = [
            rng.permutation(np.flatnonzero(those))[:count]
            for those, count in zip(kinds, counts, strict=True)
        ]
        chosen = np.concatenate(at)
        if kind == "brows":
            reach = BROWS_DILATION
            padded = np.pad(seen, ((reach, reach), (reach, reach), (0, 0)))
            row, column = np.divmod(chosen, side)
            offsets = [(i, j) for i in (0, reach, 2 * reach) for j in (0, reach, 2 * reach)]
            x = np.stack([padded[row + i, column + j] for i, j in offsets], 1)
        else:
            x = seen.reshape(side * side, -1)[chosen]
        share = (brows if kind == "brows" else beard).ravel()[chosen]
        half = target.with_suffix(".tmp.npz")
        np.savez(half, x=x.astype(np.float16), share=share.astype(np.float16))
        half.replace(target)
    return targets


def _stacked(samples: list[Path], *, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns features (float16) and shares of `facial_samples`, of pictures held out or not."""
    rows = []
    for file in samples:
        if is_held_out(int(file.stem)) == held_out:
            with np.load(file) as stored:
                rows.append((stored["x"], stored["share"]))
    x, share = (np.concatenate(column) for column in zip(*rows, strict=True))
    return x, share.astype(np.float32)


def _judge(kind: str, logit: np.ndarray, share: np.ndarray) -> None:
    """Prints the chance that a pixel of that hair has a higher value than one without, and what is
    called that hair."""
    is_hair, bare = share > 0.5, share < 0.1
    rank = np.argsort(np.argsort(logit[is_hair | bare]))[is_hair[is_hair | bare]]
    higher = (rank.mean() - (len(rank) - 1) / 2) / bare.sum()
    print(f"{kind} higher {100 * higher:.1f} %")
    for name, those in ((kind, is_hair), ("the rest", bare)):
        print(f"{name} called {kind} {100 * (logit[those] > 0).mean():.1f} %")


def learn_beard(samples: list[Path], weights: ParserWeights) -> ParserWeights:
    """Returns weights with the regression of beard; prints how it does on pictures held out."""
    x, beard = _stacked(samples, held_out=False)
    x = x.astype(np.float32)
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    x = np.concatenate([(x - mean) / deviation, np.ones((len(x), 1), np.float32)], 1)

    def entropy(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w.astype(np.float32)
        value = (
            np.mean(np.logaddexp(0, z) - beard * z, dtype=np.float64) + BEARD_RIDGE * (w**2).sum()
        )
        return value, (special.expit(z) - beard) @ x / len(beard) + 2 * BEARD_RIDGE * w

    found = optimize.minimize(
        entropy, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 400}
    ).x
    kernel = found[:-1] / deviation
    bias = found[-1] - kernel @ mean
    apart, truth = _stacked(samples, held_out=True)
    _judge("beard", apart.astype(np.float32) @ kernel + bias, truth)
    return weights.replace(
        beard_kernel=jnp.asarray(kernel, jnp.float32), beard_bias=jnp.asarray(bias, jnp.float32)
    )


def learn_brows(samples: list[Path], weights: ParserWeights, seed: int = 0) -> ParserWeights:
    """Returns weights with the network of brows; prints how it does on pictures held out.

    Adam with a cosine schedule on the cross-entropy, on features of unit variance with noise.
    """
    x, brows = _stacked(samples, held_out=False)
    print(f"{100 * brows.mean():.1f} % of what brows are learnt from is brow")
    centre = x[:, x.shape[1] // 2].astype(np.float32)
    mean, deviation = centre.mean(0), centre.std(0) + 1e-3
    key, wide = jax.random.key(seed), 9 * len(mean)
    first = jax.random.normal(key, (wide, BROWS_CHANNELS)) * np.sqrt(2 / wide)
    learnt = (first, jnp.zeros(BROWS_CHANNELS), jnp.zeros(BROWS_CHANNELS), jnp.zeros(()))

    def entropy(learnt: tuple, x: jax.Array, share: jax.Array, key: jax.Array) -> jax.Array:
        kernel, bias, out, out_bias = learnt
        x = ((x.astype(jnp.float32) - mean) / deviation).reshape(len(x), -1)
        x = x + BROWS_NOISE * jax.random.normal(key, x.shape)
        logit = jax.nn.relu(x @ kernel + bias) @ out + out_bias
        ridge = BEARD_RIDGE * sum(jnp.sum(part**2) for part in learnt)
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logit, share)) + ridge

    optimiser = optax.adam(optax.cosine_decay_schedule(BROWS_RATE, BROWS_STEPS))

    @jax.jit
    def step(learnt: tuple, state: tuple, *batch: jax.Array) -> tuple:
        update, state = optimiser.update(jax.grad(entropy)(learnt, *batch), state)
        return optax.apply_updates(learnt, update), state

    state, rng = optimiser.init(learnt), np.random.default_rng(seed)
    for count in range(BROWS_STEPS):
        at = rng.integers(0, len(x), BROWS_BATCH)
        learnt, state = step(learnt, state, x[at], brows[at], jax.random.fold_in(key, count))
    kernel, bias, out, out_bias = map(np.asarray, learnt)
    kernel = kernel.reshape(3, 3, -1, BROWS_CHANNELS) / deviation[:, None]
    bias = bias - np.einsum("ijfo,f->o", kernel, mean)
    apart, truth = _stacked(samples, held_out=True)
    apart = apart.astype(np.float32).reshape(len(apart), -1)
    hidden = np.maximum(apart @ kernel.reshape(-1, BROWS_CHANNELS) + bias, 0)
    _judge("brows", hidden @ out + out_bias, truth)
    return weights.replace(
        brows_kernels=(jnp.asarray(kernel), jnp.asarray(out)),
        brows_biases=(jnp.asarray(bias), jnp.asarray(out_bias)),
    )


def measure(files: list[Path], weights: ParserWeights, vgg: dict) -> dict[str, float]:
    """Returns how much is judged rightly on the pictures held out, % of pixels inside the photo.

    `face kept`: of the pixels that show the face, those where it is the most probable; `hair cut`,
    `other cut`, `background cut`: of the pixels of that class, those where it is not. Pixels of
    which a class has less than nine tenths (borders) do not count. `thin cut`: likewise of pixels
    of hair and other things in which no square of 5 x 5 of such pixels lies.
    `border`: of the pixels within 4 pixels of the face's border, those that are judged to be the
    face if and only if it has more than half of them.
    """
    judge = jax.jit(lambda image: parse_square(image, vgg, weights)[..., :BEARD])
    found: dict[str, list[np.ndarray]] = {}
    for file in files:
        if not is_held_out(int(file.stem)):
            continue
        with np.load(file) as picture:
            image = jnp.asarray(picture["srgb"] / 255.0, jnp.float32)
            classes, inside = picture["classes"] / np.float32(255), picture["inside"]
            brows = picture["brows"] > 0.9 * 255
        kept = np.asarray(jnp.argmax(judge(image), -1)) == FACE
        for k, name in enumerate(CLASSES):
            right = kept if k == FACE else ~kept
            word = f"{name} {'kept' if k == FACE else 'cut'}"
            found.setdefault(word, []).append(right[inside & (classes[..., k] > 0.9)])
        found.setdefault("brows kept", []).append(kept[inside & brows])
        before = classes[..., HAIR] + classes[..., CLASSES.index("other")] > 0.5
        thin = before & ~ndimage.binary_opening(before, np.ones((5, 5)))
        found.setdefault("thin cut", []).append(~kept[inside & thin])
        face = classes[..., FACE] > 0.5
        away = ndimage.distance_transform_edt(face) + ndimage.distance_transform_edt(~face)
        found.setdefault("border", []).append((kept == face)[inside & (away <= 4)])
    return {word: 100 * float(np.concatenate(right).mean()) for word, right in found.items()}


def save(weights: ParserWeights, file: Path) -> None:
    """Writes the weights in float16."""
    arrays = {
        "bridge": weights.bridge,
        "beard_kernel": weights.beard_kernel,
        "beard_bias": weights.beard_bias,
        **{f"brows_kernel_{k}": a for k, a in enumerate(weights.brows_kernels)},
        **{f"brows_bias_{k}": a for k, a in enumerate(weights.brows_biases)},
    }
    for name, stage in (("coarse", weights.coarse), ("fine", weights.fine)):
        arrays |= {f"{name}_projection_{k}": a for k, a in stage.projections.items()}
        arrays |= {f"{name}_kernel_{k}": a for k, a in enumerate(stage.kernels)}
        arrays |= {f"{name}_bias_{k}": a for k, a in enumerate(stage.biases)}
        arrays |= {
            f"{name}_offset": stage.offset,
            f"{name}_classes_kernel": stage.classes_kernel,
            f"{name}_classes_bias": stage.classes_bias,
        }
    np.savez_compressed(file, **{k: np.asarray(a, np.float16) for k, a in arrays.items()})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--start", type=Path, help="weights to learn on from, with projections")
    parser.add_argument("--fine-only", action="store_true", help="the coarse stage stays")
    parser.add_argument("--only", choices=FACIAL_HAIR, help="learn this; the rest stays")
    parser.add_argument("--out", type=Path, help="another file than the embedded one")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=RATE, help="the first step's, of Adam")
    args = parser.parse_args()
    files = sorted(f for f in args.pictures.glob("?????.npz"))
    folder, vgg = args.pictures / "features", load_vgg()
    first = args.start or folder / "start.npz"
    if not first.exists():
        folder.mkdir(exist_ok=True)
        save(start(files, vgg, jax.random.key(0)), first)
    with np.load(first) as stored:
        weights = weights_of(stored)
    if args.only is None:
        features_of(files, folder, weights, vgg)
        weights = learn(
            files, folder, weights, steps=args.steps, rate=args.rate, fine_only=args.fine_only
        )
    for kind, learn_one in (("beard", learn_beard), ("brows", learn_brows)):
        if args.only in (None, kind):
            samples = facial_samples(kind, files, args.pictures / kind, weights, vgg)
            weights = learn_one(samples, weights)
    save(weights, args.out or assets.folder() / FILE)
    for name, percent in measure(files, weights, vgg).items():
        print(f"{name} {percent:.1f} %")


if __name__ == "__main__":
    main()
