"""Builds `landmark_networks.npz` from the published TFLite files (Apache-2.0).

python -m building.landmark_networks --mediapipe WHEEL_FOLDER --task FACE_LANDMARKER.task

Each network becomes a list of operations (JSON) and its float16 weights. Needs the PyPI package
`tflite` (the flatbuffer schema) at build time only.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path

import numpy as np

ACTIVATIONS = {0: None, 1: "relu", 3: "relu6"}
DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64}


def _sparse(sparsity, shape, values: np.ndarray) -> np.ndarray:
    """Returns the dense array of TFLite's sparse encoding (dense and CSR levels, block map)."""
    import tflite

    order = sparsity.TraversalOrderAsNumpy()
    block_map = sparsity.BlockMapAsNumpy() if sparsity.BlockMapLength() else np.zeros(0, int)
    levels = [sparsity.DimMetadata(i) for i in range(sparsity.DimMetadataLength())]
    rank = len(shape)
    block = [levels[list(order).index(rank + i)].DenseSize() for i in range(len(block_map))]

    def vector(level, kind):
        table = level.ArraySegments() if kind == "segments" else level.ArrayIndices()
        tag = level.ArraySegmentsType() if kind == "segments" else level.ArrayIndicesType()
        typed = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}[tag]()
        typed.Init(table.Bytes, table.Pos)
        return typed.ValuesAsNumpy().astype(int)

    # Walk level by level: every stored value's coordinate in the expanded (outer, block) axes.
    coordinates = np.zeros((1, 0), int)
    for level in levels:
        if level.Format() == 0:
            size = level.DenseSize()
            inner = np.tile(np.arange(size), len(coordinates))
            coordinates = np.repeat(coordinates, size, axis=0)
        else:
            segments, inner = vector(level, "segments"), vector(level, "indices")
            coordinates = np.repeat(coordinates, np.diff(segments), axis=0)
        coordinates = np.concatenate([coordinates, inner[:, None]], axis=1)
    expanded = np.empty_like(coordinates)
    expanded[:, order] = coordinates
    index = expanded[:, :rank].copy()
    for i, axis in enumerate(block_map):
        index[:, axis] = index[:, axis] * block[i] + expanded[:, rank + i]
    dense = np.zeros(shape, values.dtype)
    dense[tuple(index.T)] = values[: len(index)]
    return dense


def convert(data: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """Returns the operations (`inputs`, `outputs`, `ops`) and the constant tensors of a network."""
    import tflite

    names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    constants: dict[int, np.ndarray] = {}
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        buffer = model.Buffers(tensor.Buffer())
        if not buffer.DataLength():
            continue
        values = buffer.DataAsNumpy().view(DTYPES[tensor.Type()])
        shape = tuple(tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        sparsity = tensor.Sparsity()
        constants[i] = (
            values.reshape(shape) if sparsity is None else _sparse(sparsity, shape, values)
        )
    ops = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs = [int(x) for x in operator.InputsAsNumpy()]
        outputs = [int(x) for x in operator.OutputsAsNumpy()]
        if kind in ("DEQUANTIZE", "DENSIFY") and inputs[0] in constants:
            constants[outputs[0]] = constants[inputs[0]]
            continue
        ops.append({"op": kind, "in": inputs, "out": outputs} | _attributes(kind, operator, graph))
    used = {x for op in ops for x in op["in"]}
    header = {
        "inputs": [int(x) for x in graph.InputsAsNumpy()],
        "outputs": [int(x) for x in graph.OutputsAsNumpy()],
        "ops": ops,
    }
    weights = {}
    for i in sorted(used & constants.keys()):
        value = constants[i]
        weights[str(i)] = value.astype(np.float16) if value.dtype == np.float32 else value
    # Integer constants (paddings, shapes, axes) are structure, not weights.
    header["static"] = {k: v.tolist() for k, v in weights.items() if v.dtype.kind == "i"}
    return header, {k: v for k, v in weights.items() if v.dtype.kind == "f"}


def _attributes(kind: str, operator, graph) -> dict:
    import tflite

    def options(cls):
        table = operator.BuiltinOptions()
        if table is None:
            return None
        value = cls()
        value.Init(table.Bytes, table.Pos)
        return value

    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        o = options(tflite.Conv2DOptions if kind == "CONV_2D" else tflite.DepthwiseConv2DOptions)
        return {
            "stride": [o.StrideH(), o.StrideW()],
            "padding": ["SAME", "VALID"][o.Padding()],
            "activation": ACTIVATIONS[o.FusedActivationFunction()],
        }
    if kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        o = options(tflite.Pool2DOptions)
        return {
            "stride": [o.StrideH(), o.StrideW()],
            "window": [o.FilterHeight(), o.FilterWidth()],
            "padding": ["SAME", "VALID"][o.Padding()],
        }
    if kind in ("ADD", "SUB", "MUL", "DIV"):
        cls = getattr(tflite, kind.capitalize() + "Options")
        o = options(cls)
        return {"activation": ACTIVATIONS[o.FusedActivationFunction()] if o else None}
    if kind in ("MEAN", "SUM"):
        return {"keep": bool(options(tflite.ReducerOptions).KeepDims())}
    if kind == "CONCATENATION":
        return {"axis": options(tflite.ConcatenationOptions).Axis()}
    if kind == "DEPTH_TO_SPACE":
        return {"block": options(tflite.DepthToSpaceOptions).BlockSize()}
    if kind == "RESHAPE":
        shape = graph.Tensors(int(operator.OutputsAsNumpy()[0])).ShapeAsNumpy()
        return {"shape": [int(x) for x in shape]}
    if kind == "RESIZE_BILINEAR":
        o = options(tflite.ResizeBilinearOptions)
        return {"align": bool(o.AlignCorners()), "half": bool(o.HalfPixelCenters())}
    if kind == "STRIDED_SLICE":
        o = options(tflite.StridedSliceOptions)
        return {
            "begin_mask": o.BeginMask(),
            "end_mask": o.EndMask(),
            "shrink": o.ShrinkAxisMask(),
        }
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mediapipe", type=Path, required=True)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("pretrained"))
    args = parser.parse_args()
    modules = args.mediapipe / "mediapipe" / "modules"
    with zipfile.ZipFile(args.task) as task:
        networks = {
            "detector": (
                modules / "face_detection" / "face_detection_full_range_sparse.tflite"
            ).read_bytes(),
            "mesh": task.read("face_landmarks_detector.tflite"),
            "blendshapes": task.read("face_blendshapes.tflite"),
        }
    arrays: dict[str, np.ndarray] = {}
    for name, data in networks.items():
        header, weights = convert(data)
        arrays[f"{name}/graph"] = np.array(json.dumps(header))
        arrays |= {f"{name}/{key}": value for key, value in weights.items()}
    np.savez_compressed(args.out / "landmark_networks.npz", **arrays)


if __name__ == "__main__":
    main()
