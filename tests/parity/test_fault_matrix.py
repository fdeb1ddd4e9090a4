"""Every planted fault that changes a judged layer by more than ten tolerances fails, and is located; none is a pass."""

from __future__ import annotations

import pytest
from planted_faults import FAULTS, FRESH, golden_model, outcomes

#: Cheap rows, run by default.
QUICK = {
    ("mobile_b32", False): list(FAULTS),
    ("mobile_b32", True): ["rows reversed", "bias forgotten"],
    ("lm_seqlstm", False): ["gates swapped"],
    ("legacy_bn_v1", False): ["eps x 1000"],
}

#: One model of each family.
SLOW = (
    "alexnet_grouped_lrn",
    "autoencoder_list",
    "c3d",
    "charrnn_checkpoint",
    "dcgan_generator",
    "lenet_mnist",
    "lm_sequencer_fastlstm",
    "siamese_cosine",
    "stn_affine6",
    "textcnn",
    "unet_nngraph",
    "wrn_preact_double",
)

#: What changes weights a little, which old activations in the file are taken for.
LIKE_A_STEP = ("bias + 0.001", "bias - 0.001", "weight x 1.01")

ROWS = [pytest.param(name, recorded, faults, id=f"{name}-{recorded}") for (name, recorded), faults in QUICK.items()]
ROWS += [pytest.param(name, False, list(FAULTS), id=f"{name}-all", marks=pytest.mark.slow) for name in SLOW]
ROWS += [
    pytest.param(name, True, [f for f in FAULTS if f not in LIKE_A_STEP], id=f"{name}-recorded", marks=pytest.mark.slow)
    for name in FRESH
]
ROWS += [
    pytest.param(
        name,
        True,
        list(LIKE_A_STEP),
        id=f"{name}-like a step",
        marks=pytest.mark.slow,
    )
    for name in FRESH
]


@pytest.mark.parametrize(("name", "recorded", "faults"), ROWS)
def test_planted_faults(name: str, recorded: bool, faults: list[str]) -> None:
    found = list(outcomes(golden_model(name, recorded=recorded), faults))
    assert found
    wrong = [
        f"{o.fault} in {o.typename} at {o.path} ({o.change:.3g} tolerances): {o.said}" for o in found if not o.right
    ]
    assert not wrong, "\n".join(wrong)
    if len(faults) <= 2:
        assert all(outcome.matters for outcome in found)
