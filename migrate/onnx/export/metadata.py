"""What an exported file says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import onnx

from ...model.conversion import ConvertedModel
from ..passes.graph import PATH_KEY

#: Metadata keys under which the file keeps where each input and output stands in Torch7's (nested) value.
INPUTS_KEY, OUTPUTS_KEY = "torchmigrate.inputs", "torchmigrate.outputs"

#: The key under which it keeps, for each state, its input, its output, and the Torch7 path of its layer.
STATES_KEY = "torchmigrate.states"

Named = Sequence[tuple[str, tuple[int, ...]]]


def describe_file(
    model: onnx.ModelProto,
    conv: ConvertedModel,
    inputs: Named,
    outputs: Named,
    states: Sequence[Mapping[str, str]] = (),
) -> None:
    """Writes the metadata of a file.

    Args:
        model: the graph; it is changed.
        conv: the converted model.
        inputs: the name of each input and its 1-based place in the nested input.
        outputs: the same of the outputs.
        states: the inputs and outputs that are states.
    """
    model.graph.name = "torchmigrate"
    model.producer_name, model.producer_version = "torchmigrate", version("torchmigrate")
    properties = {
        "torchmigrate.version": version("torchmigrate"),
        "torchmigrate.source_sha256": conv.provenance.sha256 or "",
        "torchmigrate.source_file": conv.provenance.file or "",
        "torchmigrate.key": conv.key,
        "torchmigrate.torch7_classes": json.dumps(conv.classes),
        INPUTS_KEY: json.dumps([[name, list(place)] for name, place in inputs]),
        OUTPUTS_KEY: json.dumps([[name, list(place)] for name, place in outputs]),
    }
    if states:
        properties[STATES_KEY] = json.dumps([dict(one) for one in states])
    for name, content in conv.preprocessing.known().items():
        properties[name if name == "labels" else f"preprocessing.{name}"] = json.dumps(content)
    del model.metadata_props[:]
    for key, text in properties.items():
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=text))


def sizes_in(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """The sizes of an input or output; the free ones are names."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_param if dim.HasField("dim_param") else dim.dim_value for dim in dims)


def paths_of(model: onnx.ModelProto) -> dict[str, str]:
    """Name of each node -> Torch7 path of its layer."""
    return {
        node.name: entry.value for node in model.graph.node for entry in node.metadata_props if entry.key == PATH_KEY
    }
