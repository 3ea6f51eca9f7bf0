"""Threads and spawned processes compute what one thread computes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from on_devices import PHOTO, SMALL, small_assets

from jaxface import detect, read_photo, reconstruct
from jaxface.types import Assets

CONFIG = replace(SMALL, refine=False)


def face(shift: int, assets: Assets | None = None) -> list[np.ndarray]:
    """Returns vertices and texture of the example photo's face, its photo moved to the right."""
    assets = assets or small_assets(3)
    photo = np.roll(read_photo(PHOTO).srgb, shift, 1)
    found = detect(photo, assets.networks)
    result = reconstruct(photo, found.landmarks[0], assets, CONFIG)
    return [np.asarray(result.fit.vertices), np.asarray(result.synthesis.texture)]


@pytest.mark.thorough
def test_threads_and_processes_give_what_one_thread_gives() -> None:
    assets = small_assets(3)
    with ThreadPoolExecutor(2) as pool:
        threads = list(pool.map(lambda shift: face(shift, assets), (0, 40)))
    single = [face(shift, assets) for shift in (0, 40)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        processes = pool.map(face, (0, 40))
    for one, thread, process in zip(single, threads, processes, strict=True):
        for array, by_thread, by_process in zip(one, thread, process, strict=True):
            np.testing.assert_array_equal(by_thread, array)
            np.testing.assert_allclose(by_process, array, atol=1e-4)
    assert np.abs(single[0][1] - single[1][1]).max() > 1e-3  # the comparison can fail
