"""Official files of FLAME, BFM and GNM, in small; a registration whose truth is known."""

from __future__ import annotations

import pickle
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from scipy.io import savemat
from scipy.sparse import csc_matrix
from scipy.spatial.transform import Rotation

from jaxface.errors import InputError
from jaxface.export.mesh import smooth
from jaxface.morphable import adapters
from jaxface.morphable.adapters.adapt import adapt
from jaxface.morphable.model import landmark_points
from jaxface.types import FaceModel


def region(model: FaceModel, *names: str) -> np.ndarray:
    return np.isin(
        np.asarray(model.vertex_region), [model.region_names.index(name) for name in names]
    )


# Files in the formats of models that may not be passed on: same keys, axes and units.
MODES, FEW = 4, 3


@pytest.fixture(scope="module")
def head(model: FaceModel) -> dict[str, np.ndarray]:
    """The default head's skin as another model: shuffled triangles, a few of its own modes."""
    inside = region(model, "eyes", "teeth", "tongue", "inner_mouth", "sockets")
    triangles = np.asarray(model.triangles)
    triangles = triangles[~inside[triangles].any(1)]
    used, flat = np.unique(triangles, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(used))
    place = np.argsort(order)
    face = model.expression_names.index("mouthSmileLeft")
    return {
        "source": used[order],
        "vertices": np.asarray(model.mean)[used[order]].astype(np.float64),
        "triangles": place[flat].reshape(-1, 3),
        "identity": np.asarray(model.identity_basis)[:MODES, used[order]].astype(np.float64),
        "expression": np.asarray(model.expression_basis)[face : face + FEW, used[order]] / 4.0,
    }


def columns(modes: np.ndarray) -> np.ndarray:
    return modes.reshape(len(modes), -1).T


def assert_head(
    read: adapters.OfficialModel, head: dict[str, np.ndarray], shift: np.ndarray | float = 0.0
) -> None:
    np.testing.assert_allclose(read.vertices, head["vertices"] + shift, atol=1e-6)
    np.testing.assert_array_equal(read.quads[:, :3], head["triangles"])
    np.testing.assert_array_equal(read.quads[:, 2], read.quads[:, 3])
    np.testing.assert_allclose(read.identity, head["identity"], atol=1e-6)


def test_bfm_2009(head: dict[str, np.ndarray], tmp_path: Path) -> None:
    deviation = np.array([4.0, 3.0, 2.0, 1.0])[:, None] * 1e3
    data = {
        "shapeMU": head["vertices"].reshape(-1, 1) * 1e6,
        "shapePC": columns(head["identity"]) * 1e6 / deviation.T,
        "shapeEV": deviation,
        "tl": head["triangles"][:, [0, 2, 1]] + 1,
    }
    file = tmp_path / "01_MorphableModel.mat"
    savemat(file, data)
    read = adapters.read_official(f"bfm:{file}")
    assert_head(read, head)  # turned outwards again
    assert read.expression_names == () and len(read.identity_names) == MODES
    del data["shapeEV"]
    savemat(file, data)
    with pytest.raises(InputError, match="lacks shapeEV"):
        adapters.read_official(f"bfm:{file}")
    file.write_bytes(b"no MATLAB")
    with pytest.raises(InputError, match="no MATLAB file"):
        adapters.read_official(f"bfm:{file}")


def test_bfm_2017(head: dict[str, np.ndarray], tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 models need h5py (the models extra)")
    variance, smaller = np.array([4.0, 3.0, 2.0, 1.0]), np.array([9.0, 4.0, 1.0])
    file = tmp_path / "model2017-1_face12_nomouth.h5"
    with h5py.File(file, "w") as data:
        data["shape/representer/cells"] = head["triangles"].T
        data["shape/model/mean"] = head["vertices"].ravel() * 1e3
        data["shape/model/pcaBasis"] = columns(head["identity"]) * 1e3 / np.sqrt(variance)
        data["shape/model/pcaVariance"] = variance
        data["expression/model/mean"] = np.full(head["vertices"].size, 0.5)
        data["expression/model/pcaBasis"] = columns(head["expression"]) * 1e3 / np.sqrt(smaller)
        data["expression/model/pcaVariance"] = smaller
    read = adapters.read_official(f"bfm:{file}")
    assert_head(read, head, 0.5e-3)
    assert read.expression_names[:2] == ("expression_0+", "expression_0-")
    np.testing.assert_allclose(read.expression[::2], 4 * head["expression"], atol=1e-6)
    np.testing.assert_allclose(read.expression[1::2], -4 * head["expression"], atol=1e-6)
    with h5py.File(file, "a") as data:
        del data["expression/model/mean"]
    with pytest.raises(InputError, match="lacks expression/model/mean"):
        adapters.read_official(f"bfm:{file}")


def test_hdf5_without_h5py_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model2019_fullHead.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"jaxface\[models\]"):
        adapters.read_official(f"bfm:{tmp_path / 'model2019_fullHead.h5'}")


def test_gnm(head: dict[str, np.ndarray], tmp_path: Path) -> None:
    triangles = head["triangles"].astype(np.int32)
    teeth = np.ones((2, *head["vertices"].shape), np.float32)
    data = {
        "template_vertex_positions": head["vertices"].astype(np.float32),
        "triangles": triangles,
        "triangle_uvs": np.random.default_rng(0).random((len(triangles), 3, 2), np.float32),
        "vertex_identity_basis": np.concatenate([head["identity"], teeth]).astype(np.float32),
        "identity_names": np.array([*(f"head_{i}" for i in range(MODES)), "teeth_0", "teeth_1"]),
        "expression_basis": head["expression"].astype(np.float32),
        "expression_names": np.array([f"lower_face_{i}" for i in range(FEW)]),
    }
    file = tmp_path / "gnm_head.npz"
    np.savez(file, **data)
    read = adapters.read_official(f"gnm:{file}")
    assert_head(read, head)
    assert read.identity_names == tuple(f"head_{i}" for i in range(MODES))
    assert read.expression_names[:2] == ("lower_face_0+", "lower_face_0-")
    assert read.uvs is not None and read.uv_quads is not None
    np.testing.assert_array_equal(read.uvs[read.uv_quads[:, :3]], data["triangle_uvs"])
    data["template_vertex_positions"][7] = np.nan
    np.savez(file, **data)
    with pytest.raises(InputError, match="not all finite"):
        adapters.read_official(f"gnm:{file}")
    del data["triangle_uvs"]
    np.savez(file, **data)
    with pytest.raises(InputError, match="lacks triangle_uvs"):
        adapters.read_official(f"gnm:{file}")


class Ch:
    """Pickles as chumpy's arrays do."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x


Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"


def flame_data(head: dict[str, np.ndarray]) -> dict[str, Any]:
    count = len(head["vertices"])
    shapes = np.zeros((count, 3, 300 + FEW))
    shapes[..., :MODES] = np.moveaxis(head["identity"], 0, -1)
    shapes[..., 300:] = np.moveaxis(head["expression"], 0, -1)
    weights = np.zeros((count, 5))
    weights[:, 0], weights[: count // 2, 0], weights[: count // 2, 2] = 1, 0, 1
    regressor = np.zeros((5, count))
    regressor[:, 3] = 1
    return {
        "v_template": Ch(head["vertices"]),
        "f": head["triangles"].astype(np.uint32),
        "shapedirs": Ch(shapes),
        "posedirs": np.random.default_rng(0).normal(0, 1e-4, (count, 3, 36)),
        "weights": weights,
        "J_regressor": csc_matrix(regressor),
        "bs_style": "lbs",
    }


@pytest.mark.parametrize("protocol", [2, 4])
def test_flame(
    head: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    file, data = tmp_path / "generic_model.pkl", flame_data(head)
    module = types.ModuleType("chumpy.ch")
    module.Ch = Ch  # type: ignore[attr-defined]
    for name in ("chumpy", "chumpy.ch"):
        monkeypatch.setitem(sys.modules, name, module)
    file.write_bytes(pickle.dumps(data, protocol))
    for name in ("chumpy", "chumpy.ch"):
        monkeypatch.delitem(sys.modules, name)
    read = adapters.read_official(f"flame:{file}")
    assert_head(replace(read, identity=read.identity[:MODES]), head)
    assert len(read.identity_names) == 100 and not read.identity[MODES:].any()
    assert read.expression_names[:3] == ("jawOpen", "expression_0+", "expression_0-")
    np.testing.assert_allclose(read.expression[1::2], 4 * head["expression"], atol=1e-6)
    # FLAME's own: pose correctives, then linear blend skinning about the jaw's joint.
    turn = Rotation.from_euler("x", 20, degrees=True).as_matrix()
    rest = head["vertices"] + data["posedirs"][..., 9:18] @ (turn - np.eye(3)).ravel()
    share, joint = data["weights"][:, 2:3], head["vertices"][3]
    posed = (1 - share) * rest + share * ((rest - joint) @ turn.T + joint)
    np.testing.assert_allclose(read.vertices + read.expression[0], posed, atol=1e-6)
    assert read.expression[0][read.vertices[:, 2].argmax()].max() < 0.1


class Evil:
    """Would run a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit",))


def test_flame_pickles_run_nothing(head: dict[str, np.ndarray], tmp_path: Path) -> None:
    file = tmp_path / "generic_model.pkl"
    for value, words in ((Evil(), "exec is not allowed"), ({"f": np.zeros(3)}, "lacks v_template"),
                         (np.zeros(3), "no dictionary")):  # fmt: skip
        file.write_bytes(pickle.dumps(value))
        with pytest.raises(InputError, match=words):
            adapters.read_official(f"flame:{file}")


def test_registration_finds_the_truth_without_landmarks(
    model: FaceModel, head: dict[str, np.ndarray]
) -> None:
    """Of a head whose canonical UV is known: moved, with triangles alone, no expressions."""
    official = adapters.OfficialModel(
        name="known",
        vertices=(head["vertices"] + [0.003, 0.02, 0.01]).astype(np.float32),
        quads=head["triangles"][:, [0, 1, 2, 2]],
        identity=head["identity"].astype(np.float32),
        expression=np.zeros((0, *head["vertices"].shape), np.float32),
        expression_names=(),
        identity_names=tuple(f"mode_{i}" for i in range(MODES)),
    )
    adapted = adapt(official, model, name="known")
    skin = np.arange(len(head["source"]))
    np.testing.assert_allclose(adapted.mean[skin], head["vertices"], atol=3e-4)
    uv, truth = np.zeros((len(adapted.mean), 2)), np.zeros((len(model.mean), 2))
    uv[np.asarray(adapted.triangles)] = np.asarray(adapted.uvs)[np.asarray(adapted.uv_triangles)]
    truth[np.asarray(model.triangles)] = np.asarray(model.uvs)[np.asarray(model.uv_triangles)]
    off = np.linalg.norm(uv[skin] - truth[head["source"]], axis=1)
    assert np.median(off) < 1e-3 and np.quantile(off, 0.98) < 5e-3
    marks = landmark_points(adapted, adapted.mean) - landmark_points(model, model.mean)
    assert np.median(np.linalg.norm(np.asarray(marks), axis=1)) < 5e-4
    same = (
        np.asarray(adapted.vertex_region)[skin] == np.asarray(model.vertex_region)[head["source"]]
    )
    assert same.mean() > 0.99
    finer, _ = smooth(adapted, np.asarray(adapted.mean))
    assert len(finer.quads) > 3 * len(head["triangles"])


def test_what_is_no_head_is_told_apart(model: FaceModel, head: dict[str, np.ndarray]) -> None:
    sphere = trimesh.creation.icosphere(4, 0.1)
    official = adapters.OfficialModel(
        name="ball.npz",
        vertices=sphere.vertices.astype(np.float32) * [1, 1, 4],
        quads=sphere.faces[:, [0, 1, 2, 2]],
        identity=np.zeros((0, len(sphere.vertices), 3), np.float32),
        expression=np.zeros((0, len(sphere.vertices), 3), np.float32),
        expression_names=(),
        identity_names=(),
    )
    with pytest.raises(InputError, match=r"ball\.npz .* mm from any head"):
        adapt(official, model, name="ball")
