"""Build the ONNX graph of all-MiniLM-L6-v2 from its safetensors file: no torch and no transformers, ever.

The graph uses the fused operators of onnxruntime (Attention, SkipLayerNormalization, BiasGelu) and ends in mean
pooling and L2, so one run gives the sentence vectors. Weights become int8 per channel: per tensor loses a quarter
of the worst case's cosine.
"""

import json
import logging
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS, HEADS, EPSILON = 6, 12, 1e-12
CONTRIB = "com.microsoft"
Weights = dict[str, npt.NDArray[np.float32]]


def read_safetensors(path: Path) -> Weights:
    """The file's float32 tensors by name: an 8-byte header length, a JSON header, then raw little-endian data."""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    weights: Weights = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        data = np.frombuffer(raw, dtype="<f4", count=(end - begin) // 4, offset=8 + length + begin)
        weights[name] = data.reshape(entry["shape"])
    return weights


class _Graph:
    """Collects nodes and constants under construction."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str, *, transposed: bool = False) -> str:
        value = self.weights[name]
        return self.constant(name, value.T if transposed else value)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        domain = CONTRIB if kind in {"Attention", "SkipLayerNormalization", "BiasGelu"} else ""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output


def _embed(graph: _Graph) -> str:
    base = "embeddings."
    types = graph.weights[base + "token_type_embeddings.weight"][0]
    positions = graph.constant("positions", graph.weights[base + "position_embeddings.weight"] + types)
    words = graph.node("Gather", [graph.weight(base + "word_embeddings.weight"), "input_ids"], "words")
    shape = graph.node("Shape", ["input_ids"], "shape")
    width = graph.node("Gather", [shape, graph.constant("one", np.array([1], dtype=np.int64))], "width", axis=0)
    zero = graph.constant("zero", np.array([0], dtype=np.int64))
    placed = graph.node("Slice", [positions, zero, width, zero], "placed")
    summed = graph.node("Add", [words, placed], "summed")
    scale, shift = graph.weight(base + "LayerNorm.weight"), graph.weight(base + "LayerNorm.bias")
    return graph.node("LayerNormalization", [summed, scale, shift], "embedded", epsilon=EPSILON)


def _layer(graph: _Graph, number: int, state: str) -> str:
    base = f"encoder.layer.{number}."
    names = [f"{base}attention.self.{part}" for part in ("query", "key", "value")]
    merged = np.concatenate([graph.weights[name + ".weight"].T for name in names], axis=1)
    bias = np.concatenate([graph.weights[name + ".bias"] for name in names])
    weight, offset = graph.constant(base + "qkv", merged), graph.constant(base + "qkv_bias", bias)
    mixed = graph.node("Attention", [state, weight, offset, "mask"], base + "mixed", num_heads=HEADS)
    state = _project(graph, base + "attention.output", mixed, state)
    dense = graph.weight(base + "intermediate.dense.weight", transposed=True)
    wide = graph.node("MatMul", [state, dense], base + "wide")
    active = graph.node("BiasGelu", [wide, graph.weight(base + "intermediate.dense.bias")], base + "active")
    return _project(graph, base + "output", active, state)


def _project(graph: _Graph, base: str, value: str, skip: str) -> str:
    dense = graph.node("MatMul", [value, graph.weight(base + ".dense.weight", transposed=True)], base + ".projected")
    norm = [graph.weight(f"{base}.LayerNorm.{part}") for part in ("weight", "bias")]
    bias = graph.weight(base + ".dense.bias")
    return graph.node("SkipLayerNormalization", [dense, skip, *norm, bias], base + ".normal", epsilon=EPSILON)


def _pool(graph: _Graph, state: str) -> None:
    last, middle = graph.constant("axis_last", np.array([2])), graph.constant("axis_middle", np.array([1]))
    floats = graph.node("Cast", ["mask"], "mask_float", to=TensorProto.FLOAT)
    spread = graph.node("Unsqueeze", [floats, last], "mask_spread")
    kept = graph.node("Mul", [state, spread], "kept")
    total = graph.node("ReduceSum", [kept, middle], "total", keepdims=0)
    graph.node("LpNormalization", [total], "vectors", axis=1, p=2)  # the mean's divisor falls out in the norm


def build(weights: Weights) -> onnx.ModelProto:
    """The float32 model: int32 `input_ids` and `mask` (batch, length) in, unit `vectors` (batch, 384) out."""
    graph = _Graph(weights)
    state = _embed(graph)
    for number in range(LAYERS):
        state = _layer(graph, number, state)
    _pool(graph, state)
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT32, ["batch", "length"]) for n in ("input_ids", "mask")]
    output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", 384])
    body = helper.make_graph(graph.nodes, "minilm", inputs, [output], graph.constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=8)


@contextmanager
def _quiet_root() -> Iterator[None]:
    """The quantiser tells the root logger about every tensor; no operator has a use for that."""
    root = logging.getLogger()
    root.addFilter(_only_errors)
    try:
        yield
    finally:
        root.removeFilter(_only_errors)


def _only_errors(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def export_int8(source: Path, target: Path) -> None:
    """Write the int8 model of the safetensors file `source` to `target`, atomically: a reader sees all or nothing."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        plain, small = Path(folder, "plain.onnx"), Path(folder, "small.onnx")
        plain.write_bytes(build(read_safetensors(source)).SerializeToString())
        options = {"DefaultTensorType": TensorProto.FLOAT}  # shape inference stops at the fused operators
        with _quiet_root():
            quantize_dynamic(plain, small, per_channel=True, weight_type=QuantType.QInt8, extra_options=options)
        small.replace(target)


def main() -> None:
    """`python -m memory.embeddings.graph SOURCE TARGET`: export behind everything else that runs on the machine."""
    os.nice(19)
    source, target = map(Path, sys.argv[1:])
    export_int8(source, target)


if __name__ == "__main__":
    main()
