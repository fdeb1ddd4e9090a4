"""Operations of PyTorch by the way in which they are written."""

from __future__ import annotations

import ast
from typing import Any

from ...tensors.pointwise import UNARY
from ..graph import CHILD

#: Written as operators.
OPERATORS: dict[str, Any] = {
    "add": ast.Add, "sub": ast.Sub, "mul": ast.Mult, "div": ast.Div, "pow": ast.Pow, "mm": ast.MatMult,
    "mv": ast.MatMult, "bmm": ast.MatMult, "matmul": ast.MatMult, "floor_divide": ast.FloorDiv,
}  # fmt: skip
REVERSED: dict[str, Any] = {"rsub": ast.Sub, "rdiv": ast.Div, "rpow": ast.Pow}
COMPARISONS: dict[str, Any] = {
    "gt": ast.Gt, "ge": ast.GtE, "lt": ast.Lt, "le": ast.LtE, "eq": ast.Eq, "ne": ast.NotEq,
}  # fmt: skip
#: Written as methods of their first argument.
METHODS = frozenset(
    [
        *UNARY,
        "reciprocal",
        "clamp",
        "sum",
        "mean",
        "prod",
        "std",
        "var",
        "max",
        "min",
        "cumsum",
        "cumprod",
        "transpose",
        "t",
        "permute",
        "squeeze",
        "unsqueeze",
        "expand",
        "reshape",
        "narrow",
        "select",
        "repeat",
        "unfold",
        "gather",
        "index_select",
        "masked_fill",
        "scatter",
        "topk",
        "sort",
        "median",
        "kthvalue",
        "index_add",
        "index_copy",
        "index_fill",
        "masked_scatter",
        "tril",
        "triu",
        "diag",
        "mode",
        "renorm",
        "logical_not",
    ]
)
#: Written as functions of torch.
FUNCTIONS = frozenset(
    [
        "cat",
        "stack",
        "maximum",
        "minimum",
        "where",
        "remainder",
        "fmod",
        "atan2",
        "outer",
        "slice_scatter",
        "select_scatter",
        "dot",
        "addmm",
    ]
)
#: Written as functions of nn.functional.
OF_MODULES = frozenset(
    [
        "adaptive_avg_pool2d",
        "adaptive_max_pool2d",
        "alpha_dropout",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "batch_norm",
        "bilinear",
        "binary_cross_entropy",
        "celu",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose2d",
        "conv_transpose3d",
        "cosine_similarity",
        "cross_entropy",
        "elu",
        "embedding",
        "gelu",
        "glu",
        "hardshrink",
        "hardtanh",
        "hinge_embedding_loss",
        "huber_loss",
        "instance_norm",
        "interpolate",
        "kl_div",
        "l1_loss",
        "layer_norm",
        "leaky_relu",
        "linear",
        "local_response_norm",
        "log_softmax",
        "logsigmoid",
        "lp_pool2d",
        "margin_ranking_loss",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "mse_loss",
        "multi_margin_loss",
        "nll_loss",
        "normalize",
        "pad",
        "pairwise_distance",
        "pixel_shuffle",
        "prelu",
        "relu",
        "relu6",
        "selu",
        "silu",
        "smooth_l1_loss",
        "soft_margin_loss",
        "softmax",
        "softmin",
        "softplus",
        "softshrink",
        "softsign",
        "tanhshrink",
        "threshold",
    ]
)
#: Text that their arguments may be.
WORDS = frozenset(("mean", "sum", "none", "constant", "reflect", "replicate", "nearest", "bilinear", "batchmean"))
VARIABLES = {
    "sum": "total", "mean": "mean", "mm": "product", "cat": "joined", "std": "deviation", "sqrt": "root",
    "exp": "power", "max": "largest", "min": "smallest", "gt": "mask", "ge": "mask", "lt": "mask", "le": "mask",
    "eq": "mask",
    CHILD: "inner", "linear": "linear", "conv2d": "conv", "topk": "largest", "sort": "sorted_values", "narrow": "part",
    "select": "part",
}  # fmt: skip
#: Arguments that are given by name.
KEYWORDS = frozenset(
    [
        "dim",
        "keepdim",
        "descending",
        "stable",
        "largest",
        "sorted",
        "correction",
        "min",
        "max",
        "rounding_mode",
        "dtype",
        *[
            "weight",
            "bias",
            "stride",
            "padding",
            "dilation",
            "groups",
            "reduction",
            "beta",
            "training",
            "momentum",
            "eps",
            "p",
            "alpha",
            "ceil_mode",
            "negative_slope",
            "count_include_pad",
            "ignore_index",
            "margin",
            "threshold",
            "value",
            "size",
            "scale_factor",
            "mode",
            "align_corners",
            "lambd",
            "min_val",
            "max_val",
            "running_mean",
            "running_var",
            "padding_idx",
            "output_size",
            "kernel_size",
            "return_indices",
            "divisor_override",
            "delta",
        ],
    ]
)
#: Arguments that say nothing where a module is recorded.
PLAIN = frozenset(("inplace", "size_average", "reduce"))
