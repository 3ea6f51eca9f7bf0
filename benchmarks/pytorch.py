"""The optimisation of a texture beside PyTorch: one evaluation, and the time to an equal loss.

python benchmarks/pytorch.py [--sizes 128 256 512] [--equal 256] [--evaluations 100]

Needs `pip install torch`. PyTorch computes the same loss with the same weights (channels last, all
cores) and minimises it with its own L-BFGS (strong Wolfe line search); ours is what `synthesize`
runs, coarse to fine. Both are warmed up first; evaluations are taken in turn in one process. On a
GPU PyTorch runs compiled, too, with TF32. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from jaxface import load_database, load_vgg, vgg_features
from jaxface.features.correlations import CorrelationConfig, _window, correlate, resize
from jaxface.synthesis import CompositionConfig, SynthesisConfig
from jaxface.synthesis import optimize as ours
from jaxface.synthesis.objective import loss
from jaxface.types import Correlations

CORRELATION, CONFIG = CorrelationConfig(), SynthesisConfig()
TONE_SIGMA = 2 * CompositionConfig().tone_sigma  # texels of 512
_FAR = CONFIG.replace(levels=((0.25, 16), (0.5, 16), (1.0, 8)), smooth=0.6)
_PAIRS = (0, 5), (3, 9), (10, 2)  # faces: the start's, the target's
_LEAST = 64  # texels a side: cells of the deepest layer
_LAYERS = (2, 2, 3, 2)  # convolutions of the blocks up to relu4_1, above the content layer


class Problem:
    """A database face, half of it free, that is to get another face's correlations."""

    def __init__(self, size: int, vgg: Any, pair: tuple[int, int] = _PAIRS[0]) -> None:
        faces = load_database(size=size).textures
        self.size, self.vgg = size, vgg
        self.start = jnp.asarray(faces[pair[0]], jnp.float32) / 255.0
        self.other = jnp.asarray(faces[pair[1]], jnp.float32) / 255.0
        self.free = (jnp.arange(size) > size // 2).astype(jnp.float32)[None, :, None]
        self.free = jnp.broadcast_to(self.free, (size, size, 1))
        self.target = self.correlations(size)

    def correlations(self, side: int) -> Correlations:
        """Returns the target at a side."""
        return _complete(resize(self.other, side), self.vgg)

    def level(self, side: int, variable: jax.Array) -> tuple[Any, Any]:
        return ours._begin(
            *(self.start, self.free, variable, self.correlations(side), self.vgg),
            jnp.asarray(TONE_SIGMA), CORRELATION, CONFIG,
            side=side,
        )  # fmt: skip

    def ours(self) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
        """Returns value and gradient of our loss at full size."""
        level, _ = self.level(self.size, jnp.zeros((8, 8, 3)))
        value = jax.jit(jax.value_and_grad(lambda x: loss(x, level, self.vgg, CORRELATION, CONFIG)))
        return lambda x: jax.block_until_ready(value(x))


@jax.jit
def _complete(image: jax.Array, vgg: Any) -> Correlations:
    return correlate(image, jnp.ones(image.shape[:2]), vgg, CORRELATION)


class Torch:
    """The same loss in PyTorch."""

    def __init__(self, problem: Problem, device: str) -> None:
        def tensor(array: Any) -> torch.Tensor:
            return torch.from_numpy(np.array(array, np.float32)).to(device)

        self.kernels = []
        for block, count in enumerate(_LAYERS, start=1):
            for index in range(1, count + 1):
                one = problem.vgg[f"conv{block}_{index}"]
                kernel = tensor(one["kernel"]).permute(3, 2, 0, 1)
                kernel = kernel.contiguous(memory_format=torch.channels_last)
                self.kernels.append((block, index, kernel, tensor(one["bias"])))
        at = np.arange(problem.size)
        sigma = TONE_SIGMA * problem.size / 512.0
        blur = np.exp(-0.5 * ((at[:, None] - at) / sigma) ** 2)
        self.blur = tensor(blur / blur.sum(1, keepdims=True))
        self.start, self.free = tensor(problem.start), tensor(problem.free)
        self.target = [tensor(value) for value in problem.target.values]
        window = _window(CORRELATION.cells)
        self.window = tensor(window)
        self.mean, self.deviation = (
            tensor(x) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        content = vgg_features(problem.vgg, problem.start, (CONFIG.content_layer,))
        self.content = tensor(content[CONFIG.content_layer])
        if device == "cuda":
            self.loss = torch.compile(self.loss)

    def features(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        x = ((image - self.mean) / self.deviation).permute(2, 0, 1)[None]
        x = x.contiguous(memory_format=torch.channels_last)
        found = {}
        for block, index, kernel, bias in self.kernels:
            if index == 1 and block > 1:
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, kernel, bias, padding=1))
            found[f"relu{block}_{index}"] = x
            if (block, index) == (4, 1):
                break
        return found

    def loss(self, change: torch.Tensor) -> torch.Tensor:
        change = change * self.free
        low = torch.einsum("st,htc->hsc", self.blur, torch.einsum("ij,jkc->ikc", self.blur, change))
        found = self.features(self.start + change - low * self.free)
        apart = (found[CONFIG.content_layer][0].permute(1, 2, 0) - self.content) ** 2
        content = apart.mean() / ((self.content**2).mean() + 1e-12)
        total = 0.0
        for layer, goal in zip(CORRELATION.layers, self.target, strict=True):
            x = found[layer][0].permute(1, 2, 0)
            count, side = 2 * CORRELATION.cells, x.shape[0] // (2 * CORRELATION.cells)
            blocks = x.reshape(count, side, count, side, -1).permute(0, 2, 1, 3, 4)
            blocks = blocks.reshape(count**2, side**2, -1)
            mixed = self.window / (self.window.sum(1, keepdim=True) * side**2)
            grams = torch.bmm(blocks.transpose(1, 2), blocks)
            values = torch.einsum("rb,bcd->rcd", mixed, grams)
            mean = mixed @ blocks.sum(1)
            values = values - mean[:, :, None] * mean[:, None, :]
            energy = (goal**2).sum((1, 2))
            distance = ((values - goal) ** 2).sum((1, 2)) / (energy + 0.05 * energy.mean() + 1e-12)
            total = total + distance.mean()
        return content + CONFIG.alpha * total / len(self.target)

    def evaluate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.detach().requires_grad_()
        loss = self.loss(x)
        loss.backward()
        if x.is_cuda:
            torch.cuda.synchronize()
        return loss.detach(), x.grad


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def one_evaluation(size: int, vgg: Any, device: str, rounds: int) -> dict[str, float]:
    """Returns median seconds of one value and gradient, ours and PyTorch's, taken in turn.

    Raises:
        RuntimeError: the two do not compute the same.
    """
    problem = Problem(size, vgg)
    rng = np.random.default_rng(0)
    point = 0.02 * rng.standard_normal((size, size, 3)).astype(np.float32)
    mine, theirs = problem.ours(), Torch(problem, device)
    x, y = jnp.asarray(point), torch.from_numpy(point).to(device)
    (loss, slope), (other, grad) = mine(x), theirs.evaluate(y)
    off = np.abs(np.asarray(slope) - grad.cpu().numpy()).max() / np.abs(np.asarray(slope)).max()
    if abs(float(loss) - float(other)) > 1e-3 * float(loss) or off > 0.02:
        raise RuntimeError(f"The losses differ: {float(loss)}, {float(other)}; slopes by {off}.")
    times = [(seconds(mine, x), seconds(theirs.evaluate, y)) for _ in range(rounds)]
    return dict(
        zip(("ours", "pytorch"), map(statistics.median, zip(*times, strict=True)), strict=True)
    )


def to_equal_loss(
    size: int, pair: tuple[int, int], vgg: Any, device: str, evaluations: int
) -> dict[str, float]:
    """Returns the loss that PyTorch's L-BFGS reaches, and the seconds that it and ours take."""
    problem = Problem(size, vgg, pair)
    theirs = Torch(problem, device)
    x = torch.zeros((size, size, 3), device=device, requires_grad=True)
    best, count = [float("inf")], 0

    def closure() -> torch.Tensor:
        nonlocal count
        x.grad = None
        loss = theirs.loss(x)
        loss.backward()
        count += 1
        best.append(min(best[-1], float(loss.detach())))
        return loss

    theirs.evaluate(x)  # warm
    optimiser = torch.optim.LBFGS(
        [x], max_iter=evaluations, max_eval=evaluations, history_size=CONFIG.memory,
        line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip
    start = time.perf_counter()
    optimiser.step(closure)
    taken = time.perf_counter() - start

    def run(limit: float) -> tuple[float, float, int]:
        variable, number = jnp.zeros((8, 8, 3)), 0
        begin = time.perf_counter()
        for share, steps in _FAR.levels:
            if size * share < _LEAST:
                continue
            level, state = problem.level(int(size * share), variable)
            last = share == 1.0
            for _ in range(10 * evaluations if last else steps):
                state = ours._step(level, state, vgg, CORRELATION, _FAR)
                number += 1
                if last and float(state.best_loss) <= limit:
                    break
            variable = state.best
        jax.block_until_ready(variable)
        return time.perf_counter() - begin, float(state.best_loss), number

    run(float("inf"))  # compiles
    mine, loss, steps = run(best[-1])
    return {"loss": best[-1], "pytorch": taken, "evaluations": count,
            "ours": mine, "our loss": loss, "our steps": steps}  # fmt: skip


def main() -> None:
    """Prints a Markdown table and the time to an equal loss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256, 512])
    parser.add_argument("--equal", type=int, nargs="*", default=[256], help="sizes")
    parser.add_argument("--evaluations", type=int, default=100, help="of PyTorch's L-BFGS")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    vgg = load_vgg()
    print(f"{jax.devices()[0]}; torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| side | ours s | PyTorch s | ratio |\n| --- | --- | --- | --- |")
    for size in args.sizes:
        row = one_evaluation(size, vgg, device, args.rounds)
        ratio = row["ours"] / row["pytorch"]
        print(f"| {size} | {row['ours']:.3f} | {row['pytorch']:.3f} | {ratio:.2f} |", flush=True)
    for size, pair in itertools.product(args.equal, _PAIRS):
        row = to_equal_loss(size, pair, vgg, device, args.evaluations)
        print(
            f"{size}, faces {pair}: PyTorch reaches {row['loss']:.5f} in {row['pytorch']:.1f} s "
            f"and {row['evaluations']} evaluations, ours {row['our loss']:.5f} in "
            f"{row['ours']:.1f} s and {row['our steps']} steps: "
            f"ratio {row['ours'] / row['pytorch']:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
