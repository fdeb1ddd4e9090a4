"""The golden rows that Torch7's own Lua, with PyTorch's kernels, does not give as Torch7 did, and why."""

from __future__ import annotations

#: The packages of Torch7 that are run so.
PACKAGES = ("nn", "nngraph", "rnn", "dpnn", "stn")

_FUNCTION = "the file holds this function of Lua, whose bytecode is not run"
_NNX = "the function SpatialReSampling_updateOutput in C has no kernel"  # of nnx
_PROJECT = "unknown Torch class"  # of a project whose Lua is not in these packages

#: row -> what is said of it.
REASONS = {
    **{f"nn.Copy[{index}]": _FUNCTION for index in range(5)},
    "nn.SpatialGlimpse[3]": _NNX,
    **{f"nn.ExpandAs[{index}]": _PROJECT for index in range(2)},
    **{f"nn.projects_more[{index}]": _PROJECT for index in (0, 2, 4, 6, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 22, 23)},
}
