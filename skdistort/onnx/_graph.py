"""Reading an ONNX file: the nodes that lead to one output, and its arrays.

Nothing of Keras is here. What can be computed from the file alone is, by onnx's own reference
implementation; what depends on the image is left to the network.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

# Older operators broadcast by an attribute and change in other ways.
_FIRST_OPSET = 7

# What onnx may compute where it does not depend on the image, beside the operators of networks.
_FOLDABLE = {
    *("And", "Ceil", "Constant", "ConstantOfShape", "Cos", "DequantizeLinear", "Equal", "Floor"),
    *(
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Mod",
        "Not",
        "Or",
        "Range",
        "ReduceProd",
    ),
    *("Round", "Sign", "Sin", "Tile", "Where"),
}
# Nodes that tell of an image no more than its shape, which is known.
_SHAPES = {"Shape", "Size"}


@dataclass(frozen=True)
class Graph:
    """The part of an ONNX graph that leads to one output.

    Attributes
    ----------
    name : str
        What messages call the file.
    nodes : list of onnx.NodeProto
        The nodes, each after those whose results it uses.
    constants : dict of str to ndarray
        The file's arrays, floats as float32.
    input : onnx.ValueInfoProto
        What the images are called, and their shape.
    output : str
        The tensor to come to.
    opset : int
        Version of the operators.
    """

    name: str
    nodes: list[Any]
    constants: dict[str, np.ndarray]
    input: Any
    output: str
    opset: int

    def refusal(self, reason: str) -> ValueError:
        """Make the error that says why the file cannot be loaded.

        Parameters
        ----------
        reason : str
            Why, without a full stop.

        Returns
        -------
        ValueError
            The error.
        """
        return ValueError(f"{self.name} cannot be loaded: {reason}.")


def read_graph(model, output, operators):
    """Read an ONNX file, and check that all its operators are known.

    Parameters
    ----------
    model : str, path-like or onnx.ModelProto
        The file.
    output : str or None
        Which tensor to come to; None takes the file's only output.
    operators : container of str
        The operators that can be built.

    Returns
    -------
    Graph
        What leads to the output.
    """
    onnx = _import_onnx()
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else "the ONNX model"

    def refusal(reason):
        return ValueError(f"{name} cannot be loaded: {reason}.")

    proto = _read(onnx, model, refusal)
    if not proto.graph.node:
        raise refusal("it holds no graph")
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 1)
    if opset < _FIRST_OPSET:
        raise refusal(
            f"its operators are of version {opset}, and {_FIRST_OPSET} is the oldest known"
        )
    graph = proto.graph
    output = _choose_output(graph, output, refusal)
    nodes, names = _needed(graph, output)
    tensors = {tensor.name: tensor for tensor in graph.initializer if tensor.name in names}
    inputs = [i for i in graph.input if i.name in names and i.name not in tensors]
    if len(inputs) != 1:
        found = ", ".join(i.name for i in inputs) or "none"
        raise refusal(f"{output!r} has to depend on one input, the images, and depends on: {found}")
    _refuse_unknown(nodes, inputs[0].name, operators, refusal)
    made = {name for node in nodes for name in node.output} | {inputs[0].name, *tensors}
    if missing := names - made:
        raise refusal(f"nothing in it makes {', '.join(sorted(map(repr, missing)))}")
    constants = {key: _array(onnx, tensor, refusal) for key, tensor in tensors.items()}
    return Graph(name, nodes, constants, inputs[0], output, opset)


def describe(node):
    """Name a node for a message: its operator, and its own name or that of its result.

    Parameters
    ----------
    node : onnx.NodeProto
        The node.

    Returns
    -------
    str
        Such as ``"Conv '/layer1/conv'"``.
    """
    return f"{_operator(node)} {node.name or ', '.join(node.output)!r}"


def attributes_of(node):
    """Read a node's attributes.

    Parameters
    ----------
    node : onnx.NodeProto
        The node.

    Returns
    -------
    dict of str to object
        Numbers, strings, lists of them, or arrays.
    """
    import onnx

    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def compute(node, inputs, opset):
    """Compute a node whose inputs are arrays, as onnx defines it.

    Parameters
    ----------
    node : onnx.NodeProto
        The node.
    inputs : list of ndarray or None
        Its inputs.
    opset : int
        Version of the operators.

    Returns
    -------
    list of ndarray
        Its outputs, floats as float32.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    given = {name: x for name, x in zip(node.input, inputs, strict=True) if x is not None}
    declared = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape
        )
        for name, x in given.items()
    ]
    results = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "constant", declared, results)
    imports = [onnx.helper.make_opsetid("", opset)]
    computed = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=imports))
    return [_single(np.asarray(x)) for x in computed.run(None, given)]


def _read(onnx, model, refusal):
    """Read what is in a file, and the weights that it keeps in files beside it."""
    from google.protobuf.message import DecodeError

    if isinstance(model, onnx.ModelProto):
        return model
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"model must be a path or an onnx.ModelProto, got {type(model).__name__}.")
    try:
        proto = onnx.load(model, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise refusal(f"it is no ONNX file, or is damaged ({error})") from error
    folder = os.path.dirname(os.path.abspath(model))
    try:
        # onnx refuses files outside of the folder.
        onnx.load_external_data_for_model(proto, folder)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise refusal(f"weights that it keeps in another file cannot be read ({error})") from error
    return proto


def _choose_output(graph, output, refusal):
    outputs = [o.name for o in graph.output]
    if output is None:
        if len(outputs) != 1:
            raise refusal(f"it has {len(outputs)} outputs, output=... takes one of {outputs}")
        return outputs[0]
    if output not in {name for node in graph.node for name in node.output}:
        raise refusal(f"it has no tensor {output!r}; its outputs are {outputs}")
    return output


def _needed(graph, output):
    """Find the nodes that lead to an output, and the names of all tensors on the way."""
    makers = {name: node for node in graph.node for name in node.output if name}
    names, open_names = set(), [output]
    while open_names:
        name = open_names.pop()
        if name and name not in names:
            names.add(name)
            if name in makers:
                open_names += makers[name].input
    return [node for node in graph.node if names.intersection(node.output)], names


def _refuse_unknown(nodes, image, operators, refusal):
    """Name all nodes that can neither be built nor computed."""
    dependent, unknown = {image}, []
    for node in nodes:
        depends = not dependent.isdisjoint(node.input)
        operator = _operator(node)
        if depends and operator not in _SHAPES:
            dependent.update(node.output)
        if operator not in operators and (depends or operator not in _FOLDABLE):
            unknown.append(describe(node))
    if unknown:
        raise refusal(f"it has operators that are not known here: {'; '.join(unknown)}")


def _operator(node):
    own = node.domain in ("", "ai.onnx")
    return node.op_type if own else f"{node.domain}.{node.op_type}"


def _array(onnx, tensor, refusal):
    try:
        return _single(onnx.numpy_helper.to_array(tensor))
    except ValueError as error:
        raise refusal(f"its array {tensor.name!r} cannot be read ({error})") from error


def _single(array):
    """Bring floats of any precision to float32, and leave the rest."""
    # numpy knows bfloat16 as a type of its own kind.
    is_float = array.dtype.kind == "f" or "float" in array.dtype.name
    return array.astype(np.float32, copy=False) if is_float else array


def _import_onnx():
    """Import what reads ONNX files, or say how to get it."""
    try:
        import onnx
        import onnx.inliner
    except ImportError as error:
        raise ImportError(
            f"Reading an ONNX file needs onnx and could not import it ({error}): install it with "
            "`pip install 'skdistort[faces]'`."
        ) from error
    return onnx
