"""Golden cases that are expected to fail, each with its reason. An unexpected pass fails the run.

Keys: a file ("nn.X.t7"), or a case ("nn.X[3]"), optionally followed by the step that fails
(":output", ":gradInput", ":gradParameters", ":after", ":save", ":onnx").
"""

from __future__ import annotations

from golden import Row

#: Packages whose layers are not converted yet.
PACKAGES: dict[str, str] = {}

#: nn.MaskZero masks the gradient on its way to the input, but not the one that its module's parameters get.
UNMASKED = "Torch7 gives the bias of a masked module the gradient of masked rows too, which is no derivative"

#: A sample without a batch is turned into a batch of one in place, and with it the shape of gradInput.
BATCH_OF_ONE = "Torch7 changes the shape of the input tensor itself; autograd's gradient keeps the input's shape"

#: nn.SparseLinear with doGradInput.
PAIRS = "Torch7 returns (index, gradient) pairs of all inputs, not the gradient of the input"

#: Layers that remember how the sequence before ended.
FRESH = "a graph starts each run from a fresh state, and says so; the case goes on from the sequence before"

GAPS: dict[str, str] = {
    "nn.OneHot[3]:onnx": "its input is a Lua number; the inputs of a graph are tensors",
    "inn.MeanSubtraction.t7:gradInput": "Torch7 returns zeros: it was made to be a network's first layer",
    "nn.Normalize[9]:gradInput": "with p = infinity and a large eps Torch7's gradient is no derivative, by mistake",
    **{f"nn.SparseLinear[{i}]:gradInput": PAIRS for i in (4, 5)},
    **{f"nn.{kind}BatchNormalization[8]:gradInput": BATCH_OF_ONE for kind in ("", "Spatial", "Volumetric")},
    **{f"nn.MaskZero[{i}]:gradParameters": UNMASKED for i in (0, 1, 3, 4, 6)},
    "nn.TrimZero[3]:gradParameters": UNMASKED,
    **{f"nn.MaskZero.torch_rnn[{i}]:gradParameters": UNMASKED for i in range(4)},
    "nn.SoftMaxTree.t7:output": (
        "Torch7 approximates the exponential on the CPU, to about 1e-5; the converted layer does not"
    ),
    "nn.SoftMaxTree.t7:gradInput": (
        "Torch7 approximates the exponential on the CPU, to about 1e-5; the converted layer does not"
    ),
    "nn.SoftMaxTree.t7:gradParameters": "Torch7 lists slices of weight and bias, keyed by node",
    "nn.MarginRankingCriterion[5]:gradInput": (
        "for a batch and a number as target Torch7 returns the gradient of the first element only"
    ),
    **{
        f"nn.IndexLinear[{i}]:onnx": "how many entries each sample has is data: it can't be part of a graph"
        for i in (3, 4)
    },
    **{
        f"nn.projects_entries[{i}]:onnx": "how many samples there are is data: it can't be part of a graph"
        for i in (9, 10)
    },
    **{f"nn.projects_entries[{i}]:onnx": "its planes are taken for a batch of any size" for i in (6, 7, 8)},
    **{f"nn.found[{i}]:onnx": FRESH for i in (3, 4)},
    **{f"nn.projects_torch_rnn[{i}]:onnx": FRESH for i in (4, 7)},
    "nn.SpatialMaxPooling[7]:onnx": "where a window is empty Torch7 gives the lowest double; the graph has float32",
    "nn.Squeeze[10]:onnx": "Torch7 makes an empty tensor of a single element; the converted layer gives the element",
    "nn.Squeeze[10]:output": "Torch7 makes an empty tensor of a single element; the converted layer gives the element",
}


def reason(row: Row, step: str) -> str | None:
    """Why this step of this case is expected to fail, or None."""
    keys = (f"{row}:{step}", str(row), f"{row.file}:{step}", row.file)
    return next((GAPS[key] for key in keys if key in GAPS), PACKAGES.get(row.package))


def exportable(row: Row) -> bool:
    """Do the tests export the case to ONNX: has it an output that hangs neither on chance nor on training?"""
    case = row.load()
    return "module" in case and "output" in case and not case.get("random") and not case.get("train")
