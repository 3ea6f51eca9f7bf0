"""Faces as the stages take them, alone and in batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface import InputError, crop_face
from jaxface.config import ReconstructConfig
from jaxface.database import DiskDatabase
from jaxface.reconstruct import _select_faces_from_disk, _sharded_vmap, device_mesh, round_up, stack
from jaxface.rendering.color import luminance, srgb_to_linear
from jaxface.types import Database, Observation, UnwrapResult


def test_faces_of_any_photo_have_few_sizes() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (478, 2)).astype(np.float32)
    small = crop_face(np.zeros((200, 300, 3)), 100 * points + 40, focal=400.0)
    assert small.srgb.shape == (512, 512, 3) and float(small.crop.scale) == 1.0
    large = crop_face(np.zeros((900, 1000, 3)), 800 * points)
    assert large.srgb.shape == (1024, 1024, 3) and 0 < float(large.crop.scale) < 1
    middle = large.crop.points_to_photo(large.principal)
    np.testing.assert_allclose(middle, [500, 450], atol=1e-3)
    assert np.isnan(large.focal) and float(small.focal) == 400.0


def test_the_irises_of_468_landmarks_are_missing() -> None:
    points = np.random.default_rng(0).uniform(40, 160, (478, 2)).astype(np.float32)
    face = crop_face(np.zeros((200, 300, 3)), points[:468])
    assert face.landmarks.shape == (478, 2)
    assert np.isnan(np.asarray(face.landmarks)[468:]).all()
    assert np.isfinite(np.asarray(face.landmarks)[:468]).all()


def test_missing_landmarks_do_not_move_the_square() -> None:
    points = np.random.default_rng(0).uniform(40, 160, (478, 2)).astype(np.float32)
    points[0], points[1] = (40, 40), (160, 160)
    missing = points.copy()
    missing[468:] = np.nan
    photo = np.random.default_rng(1).uniform(0, 1, (200, 300, 3))
    whole, part = crop_face(photo, points), crop_face(photo, missing)
    np.testing.assert_array_equal(whole.srgb, part.srgb)
    assert np.isnan(np.asarray(part.landmarks)[468:]).all()
    with pytest.raises(InputError, match="478, 468 or 68"):
        crop_face(photo, points[:100])
    with pytest.raises(InputError, match="three"):
        crop_face(photo, np.full((68, 2), np.nan))


def test_a_batch_is_filled_up_with_its_last_face() -> None:
    points = np.random.default_rng(0).uniform(40, 160, (478, 2)).astype(np.float32)
    photos = np.random.default_rng(1).uniform(0, 1, (2, 200, 300, 3))
    faces = [crop_face(photo, points) for photo in photos]
    batch = stack(faces, round_up(3, 4))
    assert batch.srgb.shape == (4, 512, 512, 3)
    for row, face in enumerate((faces[0], faces[1], faces[1], faces[1])):
        np.testing.assert_array_equal(batch.srgb[row], face.srgb)


def test_each_face_has_its_own_part_of_a_large_database() -> None:
    """Whose textures then lie along the face axis, and whose indices say which they are."""

    class Large(DiskDatabase):
        def __init__(self) -> None:
            pass

        def nearest(self, texture: np.ndarray, mask: np.ndarray, **_: int) -> np.ndarray:
            return np.full(3, round(float(texture.mean()) * 10))

        def take(self, faces: np.ndarray) -> Database:
            textures = np.full((3, 8, 8, 3), faces[0], np.uint8)
            return Database(textures, textures[..., 0], np.asarray(faces, np.int32))

    rows = np.array([0.2, 0.7]).reshape(2, 1, 1, 1) * np.ones((2, 8, 8, 3))
    ones = jnp.ones((2, 8, 8))
    partial = srgb_to_linear(rows)
    seen = UnwrapResult(partial, partial, partial, ones, ones, ones, partial)
    mesh = device_mesh(jax.devices()[:1])
    observation, config = Observation(None, seen), ReconstructConfig()
    found = _select_faces_from_disk(observation, Large(), None, config, mesh)
    np.testing.assert_array_equal(np.asarray(found.indices)[:, 0], [2, 7])
    weights = np.array([[1.0, 0, 0], [0, 0, 1.0]], np.float32)

    def mixed(database: Database, weights: jax.Array) -> jax.Array:
        return jnp.tensordot(weights, database.textures * 1.0, 1)

    own = _sharded_vmap(mixed, (0, 0), mesh)(found, weights)
    np.testing.assert_allclose(np.asarray(own)[:, 0, 0, 0], [2, 7])
    small = Database(jnp.ones((3, 8, 8, 3)), jnp.ones((3, 8, 8)), jnp.arange(3))
    assert _sharded_vmap(mixed, (None, 0), mesh)(small, weights).shape == (2, 8, 8, 3)


def test_a_photo_without_colours_gets_the_hue_of_skin() -> None:
    points = np.random.default_rng(0).uniform(200, 400, (478, 2))
    grey = np.random.default_rng(1).uniform(0.1, 0.5, (600, 600, 1)).repeat(3, -1)
    ashen, red = (np.asarray(crop_face(x, points).srgb) for x in (grey, grey * [1, 0.9, 0.9]))
    assert np.isfinite(ashen).all() and (ashen[..., 0] > 1.2 * ashen[..., 2]).all()
    np.testing.assert_allclose(red[..., 1], red[..., 2], atol=1e-6)
    level = np.asarray(luminance(srgb_to_linear(jnp.asarray(ashen)))) / (red[..., 1] / 0.9) ** 2.2
    assert level.std() < 0.05 * level.mean()  # as bright as it was
