"""One person is followed: by place, size and look from frame to frame, by identity over cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from jaxface.cli.person import doubt_of_person
from jaxface.errors import InputError
from jaxface.following import follow, overlapping
from jaxface.identity import distances, group, look, odd_ones
from jaxface.images import read_photo
from jaxface.landmarks.linking import FACE, THUMBNAIL, link, thumbnail

RATE = 25.0
RNG = np.random.default_rng(0)
LOOKS = RNG.standard_normal((4, THUMBNAIL, THUMBNAIL))  # of four persons
SHAPE = RNG.uniform(-0.5, 0.5, (478, 3))
Sighting = tuple[int, int, float, float, float]  # frame, person, centre x and y, size


def faces_at(sightings: list[Sighting]) -> np.ndarray:
    """Returns faces in pixels; every picture of a person differs a little."""
    rows = np.zeros(len(sightings), FACE)
    rng = np.random.default_rng(1)
    for row, (frame, person, x, y, size) in zip(rows, sorted(sightings), strict=True):
        row["frame"], row["seconds"] = frame, frame / RATE
        row["landmarks"] = size * SHAPE + [x, y, 0]
        look = LOOKS[person] + 0.3 * rng.standard_normal(LOOKS[person].shape)
        row["thumbnail"] = (look - look.mean()) / np.linalg.norm(look - look.mean())
    return rows


def person_of(faces: np.ndarray) -> np.ndarray:
    return (LOOKS.reshape(4, -1) @ faces["thumbnail"].reshape(len(faces), -1).T).argmax(0)


def followed(faces: np.ndarray, count: int):
    def distances(looks: list[np.ndarray]) -> np.ndarray:
        persons = np.array([person_of(faces[index]).max() for index in looks])
        return np.where(persons[:, None] == persons, 0.4, 1.6)

    return follow(faces, count, distances)


def test_a_larger_person_who_walks_in_does_not_take_over() -> None:
    first = [(frame, 0, 100.0 + frame, 200.0, 80.0) for frame in range(60)]
    second = [(frame, 1, 800.0 - 8 * frame, 250.0, 200.0) for frame in range(25, 60)]
    faces = faces_at(first + second)
    found = followed(faces, 60)
    assert (found.faces >= 0).all() and (person_of(faces[found.faces]) == 0).all()
    assert (found.shots == 0).all() and found.others == (35,)


def test_two_who_change_sides_keep_their_tracks() -> None:
    """Their boxes pass over each other; one is hidden for half a second."""
    steps = range(50)
    left = [(frame, 0, 100.0 + 6 * frame, 200.0, 100.0) for frame in steps]
    right = [(frame, 1, 400.0 - 6 * frame, 205.0, 100.0) for frame in steps if not 20 < frame < 32]
    faces = faces_at(left + right)
    tracks = link(faces)
    assert tracks.max() == 1
    assert all(len(set(person_of(faces[tracks == track]))) == 1 for track in (0, 1))


def test_a_change_of_person_in_the_same_place_is_a_cut() -> None:
    """A, then B in A's place, then A again: A is followed in two shots, and nothing is said of the
    frames between."""
    places = [(frame, int(20 <= frame < 35), 100.0, 100.0, 80.0) for frame in range(60)]
    found = followed(faces_at(places), 60)
    expected = np.where(np.arange(60) < 20, 0, np.where(np.arange(60) < 35, -1, 1))
    np.testing.assert_array_equal(found.shots, expected)
    assert ((found.faces >= 0) == (expected >= 0)).all() and found.others == (15,)


def test_another_camera_is_another_shot_of_the_same_person() -> None:
    places = [(frame, 0, 100.0, 100.0, 80.0) for frame in range(20)]
    places += [(frame, 0, 500.0, 300.0, 200.0) for frame in range(20, 40)]
    found = followed(faces_at(places), 40)
    np.testing.assert_array_equal(found.shots, np.arange(40) // 20)
    assert found.others == ()


def test_a_short_loss_is_bridged_and_a_long_one_is_not() -> None:
    frames = [frame for frame in range(120) if not 20 <= frame < 30 and not 50 <= frame < 90]
    found = followed(faces_at([(frame, 0, 100.0, 100.0, 80.0) for frame in frames]), 120)
    assert (found.shots[:50] == 0).all() and (found.faces[20:30] == -1).all()
    assert (found.shots[50:90] == -1).all() and (found.shots[90:] == 1).all()


def test_of_two_seen_as_long_the_larger_is_followed() -> None:
    places = [(frame, 0, 100.0, 100.0, 80.0) for frame in range(40)]
    places += [(frame, 1, 300.0, 100.0, 120.0) for frame in range(1, 40)]
    faces = faces_at(places)
    found = followed(faces, 40)
    assert set(person_of(faces[found.faces[1:]])) == {1} and found.others == (40,)


def test_a_film_without_faces_is_said() -> None:
    with pytest.raises(InputError, match="No frame"):
        followed(np.zeros(0, FACE), 10)


def test_those_seen_together_are_never_one_person() -> None:
    distances = np.array([[0.0, 0.1, 0.3], [0.1, 0.0, 0.4], [0.3, 0.4, 0.0]])
    apart = overlapping([np.array([0, 10]), np.array([10, 30]), np.array([31, 40])])
    assert apart.tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    labels = group(distances, apart, np.ones(3))
    assert labels[0] == labels[2] != labels[1]
    assert len(set(group(distances + 1, apart & False, np.ones(3)))) == 3


def test_a_thumbnail_moves_with_the_face() -> None:
    """Turned by 90 degrees and twice as large, the picture of a face is the same."""
    rng = np.random.default_rng(2)
    coarse = rng.uniform(size=(20, 20, 3)).repeat(8, 0).repeat(8, 1)
    points = np.zeros((478, 2))
    points[33], points[263] = (60, 60), (100, 60)
    turned, large = np.rot90(coarse, -1).repeat(2, 0).repeat(2, 1), points.copy()
    large[:, 0], large[:, 1] = 2 * (160 - points[:, 1]), 2 * points[:, 0]
    first, second = thumbnail(coarse, points), thumbnail(turned, large)
    assert abs(float((first * first).sum()) - 1) < 1e-5
    assert float((first * second).sum()) > 0.97
    assert float((first * thumbnail(coarse[::-1], points)).sum()) < 0.5


PHOTOS = ("obama", "biden", "astronaut")


@pytest.fixture(scope="module")
def portraits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Photos and MediaPipe's landmarks of them."""
    root = Path(__file__).parent
    with np.load(root / "data" / "landmarks.npz") as data:
        return {
            name: (read_photo(root.parent / "examples" / "photos" / f"{name}.jpg").srgb, data[name])
            for name in PHOTOS
        }


def test_looks_tell_strangers_apart_and_not_a_face_from_itself(portraits) -> None:
    """Turned, smaller, darker and in other colours, a face is still nearer to itself."""
    looks = [look(*portraits[name])[None] for name in PHOTOS]
    for name in PHOTOS:
        photo, points = portraits[name]
        angle, scale = np.radians(15), 0.6
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = points.mean(0)
        back = np.linalg.inv(turn)[::-1, ::-1]  # rows and columns for x and y
        smooth = ndimage.gaussian_filter(photo, (0.8, 0.8, 0))
        away = centre[::-1] - back @ centre[::-1]
        moved = [
            ndimage.affine_transform(smooth[..., c], back, away, order=1, mode="nearest")
            for c in range(3)
        ]
        dark = 0.8 * np.stack(moved, -1) ** 1.2 * np.array([1.1, 1.0, 0.9])
        looks.append(look(dark, (points - centre) @ turn.T + centre)[None])
    found = distances(looks)
    same = np.arange(6) % 3
    stranger = same[:, None] != same
    assert found[stranger].min() > 1.0 > found[~stranger].max()
    assert len(set(group(found, stranger & False, np.ones(6)))) == 3
    with_biden = [0, 3, 1]  # twice Obama
    odd = odd_ones(found[np.ix_(with_biden, with_biden)])
    assert odd == [2] and odd_ones(found[:1, :1]) == odd_ones(found[np.ix_([0, 3], [0, 3])]) == []
    assert "somebody else: c;" in doubt_of_person(["a", "b", "c"], odd)
    assert "little alike" in doubt_of_person(["a", "b"], odd_ones(found[:2, :2]))
