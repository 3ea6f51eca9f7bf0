"""Learning what of a residual is pigment: light at vertices, the fit, gains, their map."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from building import delighting
from building.delighting import Sample
from building.people import vertices
from building.people.parts import FACE, OTHER, Part, plain
from jaxface.evaluation.light import irradiance
from jaxface.evaluation.scene import head_rotation
from jaxface.unwrapping.delight import BANDS, FEATURES


@pytest.fixture(scope="module")
def surface(model):
    return delighting.surface_of(model)


def people(surface, rng: np.random.Generator, gains: np.ndarray, count: int) -> list[Sample]:
    """Residual bands at random, with pigment `bands gains`."""
    found = []
    for _ in range(count):
        bands = rng.standard_normal((len(surface.area), FEATURES)).astype(np.float32)
        pigment = np.einsum("vf,vfc->vc", bands, gains)
        found.append(Sample(bands, pigment, 1.0 * surface.unwrapped))
    return found


def test_gains_are_those_that_made_the_data(surface, rng):
    half = 0.5 * delighting.gains_of(None, surface.model)
    samples = people(surface, rng, half, 3)
    gains = delighting.learn(samples, surface)
    np.testing.assert_allclose(gains, half, atol=4 * delighting.NOISE**2)
    found = delighting.errors(samples, gains, surface)
    assert found["error"] < 1e-2 and found["dark kept"] == pytest.approx(1, abs=1e-2)
    zero = delighting.errors(samples, 0 * gains, surface)
    assert zero["error"] == pytest.approx(np.sqrt(3 * BANDS) / 2, rel=0.02)


def test_gains_are_symmetric_and_differ_between_places(surface, rng):
    y = np.asarray(surface.model.mean, float)[:, 1]
    place = np.where(y > -0.03, 0.8, 0.2)[:, None, None]
    gains = place * delighting.gains_of(None, surface.model)
    learnt = delighting.learn(people(surface, rng, gains, 6), surface)
    mirror = np.asarray(surface.model.mirror)
    np.testing.assert_allclose(learnt, learnt[mirror], atol=1e-9)
    grey = learnt[surface.unwrapped, 0, 0]
    height = y[surface.unwrapped]
    assert np.median(grey[height > 0.03]) > 0.6
    assert np.median(grey[height < -0.06]) < 0.4


def test_a_map_has_the_vertices_gains_and_goes_on_beside_them(surface):
    y = np.asarray(surface.model.mean, float)[:, 1]
    gains = (1 + 5 * y)[:, None, None] * np.ones((1, FEATURES, 3))
    texture = delighting.gain_map(gains, surface, 24)
    assert texture.shape == (24, 24, FEATURES, 3)
    found = delighting.gains_of(texture, surface.model)
    error = np.abs(found - gains)[surface.unwrapped]
    assert np.sqrt((error**2).mean()) < 0.02
    flat = delighting.gain_map(np.ones_like(gains), surface, 24)
    np.testing.assert_allclose(flat, 1, atol=1e-4)


def frontal_normals(surface) -> np.ndarray:
    """Normals of the mean face that looks into the camera, camera space."""
    mean, triangles = np.asarray(surface.model.mean), np.asarray(surface.model.triangles)
    normals = trimesh.Trimesh(mean, triangles, process=False).vertex_normals
    return normals @ head_rotation(0).T


def test_the_fit_finds_light_and_albedo_of_a_rendered_face(surface, rng):
    normals = frontal_normals(surface)
    light = np.zeros((9, 3))
    light[0], light[2], light[3] = 2.2, -0.7, 0.4
    coefficients = 0.5 * rng.standard_normal(len(surface.albedo_basis))
    albedo = np.exp(surface.albedo_mean + np.tensordot(coefficients, surface.albedo_basis, 1))
    colour = albedo * irradiance(normals, light)
    weight = surface.area * (normals[:, 2] < -0.2)
    found, lit = delighting.fit_light(colour, normals, weight, surface)
    again = np.exp(surface.albedo_mean + np.tensordot(found, surface.albedo_basis, 1))
    again = again * irradiance(normals, lit)
    seen = surface.fitted & (normals[:, 2] < -0.4)
    assert np.median(np.abs(np.log(again[seen] / colour[seen]))) < 0.02


def test_light_samples_have_the_flux_of_the_map(rng):
    radiance = np.ones((256, 512, 3)) * [1.0, 2.0, 3.0]
    total = np.mean([vertices.light_samples(radiance, rng)[1].sum(0) for _ in range(60)], 0)
    assert total[0] > 4 * np.pi  # lamps and uniform light are added
    towards, flux = vertices.light_samples(radiance, rng)
    assert towards.shape == flux.shape == (vertices.RAYS, 3)
    np.testing.assert_allclose(np.linalg.norm(towards, axis=1), 1, rtol=1e-9)


def test_what_is_near_hides_the_environment_and_reflects():
    pytest.importorskip("embreex", reason="rays need embreex (the evaluation extra)")
    from building.people.picture import World

    corners = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1.0]])
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    floor = Part(FACE, corners, faces, plain((0.5, 0.5, 0.5)))
    roof = Part(OTHER, 50 * corners + [0, 0.2, 0], faces, plain((0.4, 0.2, 0.1)))
    point, up = np.array([[0.0, 1e-3, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    towards = np.array([[0, 0.8, 0.6], [0, -0.8, 0.6]])
    flux = np.pi * np.ones((2, 3))
    for parts, free in (([floor], True), ([floor, roof], False)):
        world = World(parts)
        lit = vertices.unoccluded(world, point, towards, up @ towards.T > 0)
        assert lit.tolist() == [[free, False]]
        back = vertices.bounce(world, point, up, np.zeros((4, 3)), towards, flux)
        # Below, the roof faces what comes from below; it fills the whole hemisphere.
        wanted = 0.0 if free else 0.8 * vertices.OTHERS_LIT * np.array([0.4, 0.2, 0.1])
        np.testing.assert_allclose(back[0], np.broadcast_to(wanted, 3), rtol=0.05)
