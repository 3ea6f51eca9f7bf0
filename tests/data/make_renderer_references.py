"""Writes `renderer_mitsuba.npz`: pictures and gradients of small scenes by Mitsuba 3.

pip install mitsuba==3.9.1 trimesh  # Mitsuba needs a libLLVM, see DRJIT_LIBLLVM_PATH
python tests/data/make_renderer_references.py

Surfaces glow with the colours of a texture and reflect nothing, so that no model of light or
material can differ. A scene's loss is the sum over pixels of picture times fixed weights, and its
gradients are those by every vertex and every texel, silhouettes included: Zhang et al.,
*Projective Sampling for Differentiable Rendering of Geometry* (SIGGRAPH Asia 2023).
"""

import tempfile
from pathlib import Path

import drjit as dr
import mitsuba as mi
import numpy as np
import trimesh

mi.set_variant("llvm_ad_rgb")

HERE = Path(__file__).parent
SIZE = 48  # pixels; the principal point is in the middle
FOCAL = 70.0  # pixels
TEXELS = 12
SAMPLES = 512  # a pixel and run
RUNS = 16  # their spread is the error that is stored

# Triangles are counter-clockwise seen from the camera, which is at the origin, looks along z, with
# x right and y down.
QUAD = np.array([[-1.25, -1.0, 4.6], [1.3, -1.1, 4.2], [1.2, 1.15, 4.9], [-1.35, 1.05, 5.1]])
QUAD_TRIANGLES = np.array([[0, 2, 1], [0, 3, 2]])


def ball() -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=1, radius=0.62)
    return np.array(mesh.vertices) * [1.0, 1.15, 0.9] + [0.13, -0.07, 3.3], np.array(mesh.faces)


def scenes() -> dict[str, dict[str, np.ndarray]]:
    """Returns the meshes: a ball before a tilted square, and the ball alone in one colour."""
    vertices, triangles = ball()
    both = np.concatenate([vertices, QUAD])
    faces = np.concatenate([triangles, QUAD_TRIANGLES + len(vertices)])
    # Two halves of one texture; no seam, as the ball's back has the front's.
    uvs = np.concatenate(
        [
            (vertices[:, :2] - [0.13, -0.07]) / 1.7 * [0.5, -0.5] + [0.25, 0.5],
            np.array([[0.55, 0.95], [0.95, 0.95], [0.95, 0.05], [0.55, 0.05]]),
        ]
    )
    x, y = np.meshgrid(np.arange(TEXELS), np.arange(TEXELS))
    texture = np.stack(
        [
            0.5 + 0.3 * np.sin(0.5 * x + 0.3 * y),
            0.5 + 0.3 * np.cos(0.4 * x - 0.3 * y),
            0.2 + 0.05 * y,
        ],
        -1,
    )
    texture[:, TEXELS // 2 :] *= [0.4, 0.6, 1.3]
    column, row = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    weights = np.stack(
        [
            np.sin(0.21 * column + 0.13 * row),
            np.cos(0.17 * row - 0.1 * column),
            np.sin(0.1 * (column + row) + 1),
        ],
        -1,
    )
    return {
        "textured": {
            "vertices": both,
            "triangles": faces,
            "uvs": uvs,
            "texture": texture,
            "weights": weights,
        },
        "silhouette": {
            "vertices": vertices,
            "triangles": triangles,
            "uvs": uvs[: len(vertices)],
            "texture": np.ones((2, 2, 3)),
            "weights": weights,
        },
    }


def build(scene: dict[str, np.ndarray], folder: Path) -> mi.Scene:
    vertices, triangles = scene["vertices"], scene["triangles"]
    mesh = mi.Mesh("mesh", len(vertices), len(triangles), has_vertex_texcoords=True)
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = mi.Float(vertices.ravel())
    parameters["faces"] = mi.UInt32(triangles.ravel())
    parameters["vertex_texcoords"] = mi.Float(scene["uvs"].ravel())
    parameters.update()
    mesh.write_ply(str(folder / "mesh.ply"))
    glow = {
        "type": "bitmap",
        "data": mi.TensorXf(scene["texture"][::-1].astype(np.float32).copy()),
        "raw": True,
        "wrap_mode": "clamp",
    }
    return mi.load_dict(
        {
            "type": "scene",
            "integrator": {
                "type": "direct_projective",
                "sppc": SAMPLES,
                "sppp": SAMPLES,
                "sppi": 0,
            },
            "sensor": {
                "type": "perspective",
                "fov": float(np.degrees(2 * np.arctan(SIZE / 2 / FOCAL))),
                "to_world": mi.ScalarTransform4f().look_at([0, 0, 0], [0, 0, 1], [0, -1, 0]),
                "near_clip": 0.01,
                "film": {
                    "type": "hdrfilm",
                    "width": SIZE,
                    "height": SIZE,
                    "rfilter": {"type": "box"},
                    "pixel_format": "rgb",
                    "sample_border": True,
                },
            },
            "mesh": {
                "type": "ply",
                "filename": str(folder / "mesh.ply"),
                "face_normals": True,
                "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": 0.0}},
                "emitter": {"type": "area", "radiance": glow},
            },
        }
    )


def measure(scene: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        built = build(scene, Path(folder))
        parameters = mi.traverse(built)
        names = {
            "vertex_gradient": "mesh.vertex_positions",
            "texture_gradient": "mesh.emitter.radiance.data",
        }
        weights = mi.TensorXf(scene["weights"].astype(np.float32))
        runs = {name: [] for name in ("picture", *names)}
        for seed in range(RUNS):
            for key in names.values():
                parameters[key] = type(parameters[key])(dr.detach(parameters[key]))
                dr.enable_grad(parameters[key])
            parameters.update()
            picture = mi.render(
                built, parameters, spp=SAMPLES, seed=2 * seed, seed_grad=2 * seed + 1
            )
            dr.backward(dr.sum(picture * weights, axis=None))
            runs["picture"].append(np.array(picture))
            for name, key in names.items():
                runs[name].append(np.array(dr.grad(parameters[key])))
    result = {}
    for name, values in runs.items():
        values = np.array(values, np.float64)
        if name == "vertex_gradient":
            values = values.reshape(RUNS, -1, 3)
        if name == "texture_gradient":
            values = values[:, ::-1]
        result[name] = values.mean(0)
        result[f"{name}_error"] = values.std(0, ddof=1) / RUNS**0.5
        print(name, np.abs(result[name]).max(), result[f"{name}_error"].max())
    return result


def main() -> None:
    arrays = {"focal": np.float32(FOCAL), "version": np.array(mi.__version__)}
    for name, scene in scenes().items():
        print(name)
        for key, value in (scene | measure(scene)).items():
            if key == "picture_error":
                continue
            kind = np.int32 if key == "triangles" else np.float32
            arrays[f"{name}/{key}"] = value.astype(np.float16 if key == "picture" else kind)
    np.savez_compressed(HERE / "renderer_mitsuba.npz", **arrays)


if __name__ == "__main__":
    main()
