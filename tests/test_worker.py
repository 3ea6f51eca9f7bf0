"""The worker of all roads from photo to folder, with the stages replaced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from conftest import PHOTOS

from jaxface import JaxfaceError
from jaxface.batch import FaceWorker, Item, faces, run_photo, run_photos
from jaxface.batch.faces import check_finite
from jaxface.batch.timing import StageTimer
from jaxface.cli.person import write_person
from jaxface.cli.progress import Progress
from jaxface.config import ReconstructConfig
from jaxface.export import PARAMETERS, whole_folder
from jaxface.images import Photo
from jaxface.types import Materials

CONFIG = ReconstructConfig.for_quality("draft")
PHOTO = PHOTOS / "astronaut.jpg"


def result(**values: Any) -> Any:
    """Returns what of a reconstruction is looked at before it is written."""
    ones = np.ones((4, 4), np.float32)
    parts = {
        "texture": np.ones((4, 4, 3), np.float32),
        "vertices": np.ones((5, 3), np.float32),
        "low_frequency": np.ones((4, 4, 3), np.float32),
        "roughness": ones,
    } | values
    return SimpleNamespace(
        fit=SimpleNamespace(
            vertices=parts["vertices"], landmark_error=np.float32(0.01), photometric_error=0.1
        ),
        hair=None,
        unwrapped=SimpleNamespace(skin_mask=ones, low_frequency=parts["low_frequency"]),
        synthesis=SimpleNamespace(texture=parts["texture"], losses=np.zeros(0)),
        materials=Materials(
            height=ones,
            normal=np.ones((4, 4, 3), np.float32),
            roughness=parts["roughness"],
            specular=ones,
        ),
    )


def damaged(name: str, value: float) -> Any:
    whole = {"texture": (4, 4, 3), "vertices": (5, 3), "roughness": (4, 4)}[name]
    array = np.ones(whole, np.float32)
    array[1, 2] = value
    return result(**{name: array})


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FaceWorker:
    """A real worker; `worker.result` is what the stages return, two faces are on each photo."""
    assets: Any = SimpleNamespace(
        model=SimpleNamespace(name="default"), networks=None, face_names=("ann",)
    )
    events: list[dict] = []
    made = FaceWorker(assets, CONFIG, on_event=events.append)
    made.events, made.result, made.written = events, result(), []  # type: ignore[attr-defined]

    def detected(photo: Any, extent: Any, networks: Any, *, max_faces: int) -> Any:
        points = np.random.default_rng(0).uniform(100, 300, (2, 478, 3)).astype(np.float32)
        found = SimpleNamespace(landmarks=points, blendshapes=np.zeros((2, 52), np.float32))
        return SimpleNamespace(**{k: v[:max_faces] for k, v in vars(found).items()})

    def computed(crop: Any, assets: Any, config: Any, *, mesh: Any = None, progress: Any) -> Any:
        for stage in ("observe", "infer"):
            with progress.stage(stage):
                made.crop = crop  # type: ignore[attr-defined]
        return made.result  # type: ignore[attr-defined]

    def written(folder: Path, *, details: dict, face_names: Any, **_: Any) -> None:
        made.written.append(details)  # type: ignore[attr-defined]
        with whole_folder(folder) as work:
            (work / PARAMETERS).write_text(f'{{"key": "{details["key"]}"}}')

    monkeypatch.setattr(faces, "detect_in_padded", detected)
    monkeypatch.setattr(faces, "reconstruct_crops", computed)
    monkeypatch.setattr(faces, "write_result", written)
    monkeypatch.setattr(jax, "block_until_ready", lambda x: x)
    return made


def test_a_photo_becomes_a_folder_with_seconds_by_stage(worker: Any, tmp_path: Path) -> None:
    report = run_photo(Item(PHOTO, tmp_path / "me"), worker)
    assert report.done == 1 and report.rows[0]["folder"] == str(tmp_path / "me")
    (details,) = worker.written
    stages = ["landmarks", "observe", "infer", "total"]
    assert [name for name in details["timings"] if name != "compile"] == stages
    assert [e["stage"] for e in worker.events if e["state"] == "end"] == [
        *("landmarks", "observe", "infer", "export"),
    ]
    assert details["settings"]["size"] == 256 and details["photo"] == "astronaut"


def test_the_same_photo_has_the_same_key_on_both_roads(worker: Any, tmp_path: Path) -> None:
    run_photo(Item(PHOTO, tmp_path / "astronaut"), worker)
    run_photos([PHOTO], tmp_path / "run", worker)
    alone, of_a_run = worker.written
    assert alone["key"] == of_a_run["key"]
    assert {k: v for k, v in alone.items() if k != "timings"} == {
        k: v for k, v in of_a_run.items() if k != "timings"
    }


def test_all_faces_of_a_photo(worker: Any, tmp_path: Path) -> None:
    worker.all_faces = True
    report = run_photo(Item(PHOTO, tmp_path / "us"), worker)
    assert [Path(row["folder"]).name for row in report.rows] == ["face1", "face2"]
    assert all((tmp_path / "us" / name / PARAMETERS).exists() for name in ("face1", "face2"))


@pytest.mark.parametrize("count", [478, 468, 68])
def test_landmarks_of_a_file_replace_detection(worker: Any, tmp_path: Path, count: int) -> None:
    points = np.random.default_rng(1).uniform(100, 300, (count, 2)).astype(np.float32)
    np.save(tmp_path / "points.npy", points)
    run_photo(Item(PHOTO, tmp_path / "me", tmp_path / "points.npy"), worker)
    used = np.asarray(worker.crop.landmarks)
    assert len(used) == {468: 478}.get(count, count)
    scale = np.ptp(used[:60], 0) / np.ptp(points[:60], 0)
    np.testing.assert_allclose(scale, scale[0], rtol=1e-4)
    assert not np.asarray(worker.crop.blendshapes).any()


@pytest.mark.parametrize("name", ["texture", "vertices", "roughness"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(name: str, value: float) -> None:
    check_finite(result(), "me")
    with pytest.raises(JaxfaceError, match="me holds numbers that are not finite"):
        check_finite(damaged(name, value), "me")


def test_no_road_writes_what_is_not_finite(worker: Any, tmp_path: Path) -> None:
    worker.result = damaged("texture", np.nan)
    with pytest.raises(JaxfaceError, match="not finite"):
        run_photo(Item(PHOTO, tmp_path / "me"), worker)
    report = run_photos([PHOTO], tmp_path / "run", worker)
    assert report.failures[0][2] == 1 and "not finite" in report.failures[0][1]
    with pytest.raises(JaxfaceError, match="not finite"):
        write_person(
            tmp_path / "person",
            Photo(np.zeros((8, 8, 3), np.float32), None, "me"),
            SimpleNamespace(result=worker.result),  # type: ignore[arg-type]
            worker.assets,
            CONFIG,
            progress=Progress(),
            timer=StageTimer(),
            name="2 photos",
            more={},
        )
    assert not worker.written
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.jsonl"]
