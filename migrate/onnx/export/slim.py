"""Simplifies a graph with onnxslim, where that is asked for."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from ...base.errors import ExportError, UsageError
from ...base.messages import cause
from ..passes.graph import PATH_KEY
from ..quiet_exporter import quiet
from .metadata import paths_of
from .save import LARGEST_FILE, Stored, store


def slimmed(stored: Stored) -> Stored:
    """The same graph after onnxslim, which removes what is left to simplify.

    Raises:
        UsageError: onnxslim is not installed, or the graph too large for it.
        ExportError: it fails.
    """
    try:
        import onnxslim
    except ImportError as error:
        raise UsageError("--simplify needs onnxslim: pip install onnxslim") from error
    if stored.size > LARGEST_FILE:
        raise UsageError("onnxslim takes graphs below 2 GB only; leave --simplify out")
    whole = stored.whole()
    nodes = paths_of(whole)
    paths = {name: nodes[node.name] for node in whole.graph.node for name in node.output}
    opset = {entry.domain: entry.version for entry in whole.opset_import}
    try:
        with quiet():
            slim: onnx.ModelProto = onnxslim.slim(whole)
    except Exception as error:
        raise ExportError(f"onnxslim fails on the graph: {cause(error)}") from error
    made = {entry.domain: entry.version for entry in slim.opset_import}
    if made != opset:
        raise ExportError(f"onnxslim changed the opsets from {opset} to {made}")
    for node in slim.graph.node:
        if not any(entry.key == PATH_KEY for entry in node.metadata_props):
            path = next((paths[name] for name in node.output if name in paths), "")
            node.metadata_props.append(onnx.StringStringEntryProto(key=PATH_KEY, value=path))
    del slim.metadata_props[:]
    slim.metadata_props.extend(stored.model.metadata_props)
    slim.producer_name, slim.producer_version = stored.model.producer_name, stored.model.producer_version
    slim.graph.name = stored.model.graph.name
    return store(ir.from_proto(slim))
