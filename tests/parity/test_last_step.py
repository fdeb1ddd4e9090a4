"""Files that a training script saved after a step of an optimizer, written by the real Torch7 (trained.lua)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import golden
import pytest
import torch
from planted_faults import FAULTS, STEPPED, Model, outcomes

import torchmigrate as tm
from torchmigrate.optim.last_step import counts_steps, last_steps
from torchmigrate.parity.network_copies import leaf_indices

TRAINED = golden.FIXTURES / "trained"

#: File -> (layers with weights that are judged, all of them, the step that their activations are older by).
PROVEN = {
    "charlstm-stochastic-train-float": (3, 3, "SGD, lr 0.02"),
    "conv-sgd-zeroed_evaluate-float": (6, 6, "SGD, lr 0.05"),
    "deep-sgd-zeroed-double": (3, 4, "SGD, lr 0.05"),
    "lookup-adadelta-checkpoint-double": (3, 3, "optim.adadelta, by its state in the file"),
    "lookup-adagrad-checkpoint-float": (3, 3, "optim.adagrad, by its state in the file"),
    "lookup-adamax-checkpoint-double": (3, 3, "optim.adamax, by its state in the file"),
    "lookup-asgd-checkpoint-float": (3, 3, "optim.asgd, by its state in the file"),
    "mlp-adam-checkpoint-float": (3, 3, "optim.adam, by its state in the file"),
    "mlp-groups-train-double": (2, 3, "SGD, lr 0.02 and 0.04"),
    "mlp-momentum-checkpoint_zeroed-double": (2, 3, "optim.sgd, by its state in the file"),
    "mlp-nesterov-train-float": (2, 3, "SGD, lr 0.01"),
    "mlp-sgd-zeroed_evaluate-double": (2, 3, "SGD, lr 0.05"),
    "mlp-update-train-double": (3, 3, "SGD, lr 0.02"),
    "mlp-weightdecay-checkpoint-float": (3, 3, "optim.sgd, by its state in the file"),
    "mlp-weightdecay-zeroed_evaluate-double": (2, 3, "SGD with a weight decay of 0.01, lr 0.03"),
    "residual-nag-checkpoint-double": (7, 8, "optim.nag, by its state in the file"),
    "residual-rmsprop-checkpoint-float": (8, 8, "optim.rmsprop, by its state in the file"),
    "residual-update-evaluate-float": (7, 8, "SGD, lr 0.02"),
    "scalar-adam-checkpoint-double": (2, 2, "optim.adam, by its state in the file"),
    "seqlstm-dampened-checkpoint-float": (3, 3, "optim.sgd, by its state in the file"),
    "seqlstm-sgd-zeroed_evaluate-float": (3, 3, "SGD, lr 0.05"),
}

#: Sequences, judged as a whole: file -> (layers with weights, all of them judged, the step, the sequences).
SEQUENCES = {
    "brnn-adam-checkpoint-float": (10, "optim.adam, by its state in the file", ("2.1.1.1", "2.1.1.2.2")),
    "fastlstm-fresh-train-double": (3, "", ("2",)),
    "fastlstm-update-train-double": (3, "SGD, lr 0.02", ("2",)),
    "fastlstm-update-zeroed_evaluate-float": (3, "SGD, lr 0.02", ("2",)),
}

#: Files whose activations are of the weights in them.
FRESH = {
    "mlp-fresh-train-double": (2, 3),
    "mlp-fresh_training-train-float": (2, 3),
    "mlp-sgd-newer-float": (2, 3),
    "volume-fresh-train-float": (2, 2),
}

#: Branches that are joined, one of which answers nothing but zeros: file -> (layers judged, all of them, the step).
JOINED = {
    "joined-sgd-zeroed_evaluate-double": (3, 5, "SGD, lr 0.05"),
    "joined-update-train-float": (4, 5, "SGD, lr 0.02"),
}

#: Files that do not tell what the last step did.
UNKNOWN = ("conv-adam-train-float", "lookup-adam-clear_gradients-double", "mlp-momentum-train-double")


def verified(name: str, mode: str = "recorded") -> tuple[tm.ParityReport, int, list[str]]:
    """The report, the number of layers with weights, and the remarks on those that were judged."""
    conversion = tm.convert(TRAINED / f"{name}.t7")
    report = tm.verify(conversion, reference=mode, batches=())
    inner = leaf_indices(conversion.layers)
    weighted = {
        record.path for i, record in enumerate(conversion.layers) if i in inner and list(record.module.parameters())
    }
    layers = [layer for layer in report.backends[0].layers if layer.path in weighted]
    return report, len(weighted), [layer.remark for layer in layers if layer.own is not None]


def test_every_file_is_in_a_table() -> None:
    assert sorted(path.stem for path in TRAINED.glob("*.t7")) == sorted(
        {*PROVEN, *SEQUENCES, *JOINED, *FRESH, *UNKNOWN}
    )


@pytest.mark.parametrize("name", PROVEN)
def test_layers_are_proven_with_the_weights_before_the_last_step(name: str) -> None:
    judged, everything, step = PROVEN[name]
    report, weighted, remarks = verified(name, "auto")
    assert report, report.summary()
    assert report.reference.kind == "recorded"
    assert (len(remarks), weighted) == (judged, everything)
    assert any(f"proven before the last step ({step})" in remark for remark in remarks)
    assert all("proven before the last step" in remark or "gradInput" in remark for remark in remarks)
    assert report.proven == (judged == everything)


@pytest.mark.parametrize("name", JOINED)
def test_layers_before_a_join_are_proven_beside_one_that_answers_zeros(name: str) -> None:
    judged, everything, step = JOINED[name]
    report, weighted, remarks = verified(name)
    assert report, report.summary()
    assert (len(remarks), weighted) == (judged, everything)
    proven = [
        remark for remark in remarks if f"proven before the last step ({step})" in remark or "gradInput" in remark
    ]
    assert len(proven) == judged
    (dead,) = (layer for layer in report.backends[0].layers if layer.path == "3.2.1")
    assert dead.own is None
    assert dead.remark == "not judged: nn.ReLU at 3.2.2 wrote over its output, and let nothing through"


@pytest.mark.parametrize("name", FRESH)
def test_activations_of_the_weights_in_the_file_are_judged_with_these(name: str) -> None:
    report, weighted, remarks = verified(name)
    assert report, report.summary()
    assert (len(remarks), weighted) == FRESH[name]
    assert all(not remark or remark.startswith("its output was written over by nn.ReLU") for remark in remarks)


@pytest.mark.parametrize("name", UNKNOWN)
def test_layers_are_not_judged_where_the_step_is_unknown(name: str) -> None:
    report, _, remarks = verified(name)
    assert report, report.summary()
    assert not report.proven
    assert remarks == []
    assert any("not judged: older than the weights" in layer.remark for layer in report.backends[0].layers)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if "zeroed" in name else name for name in SEQUENCES]
)
def test_sequences_are_judged_as_a_whole(name: str) -> None:
    weighted, step, sequences = SEQUENCES[name]
    report = tm.verify(tm.convert(TRAINED / f"{name}.t7"), reference="recorded", batches=())
    assert report.proven, report.summary()
    assert (report.verdict.judged, report.verdict.weighted) == (weighted, weighted)
    layers = report.backends[0].layers
    for path in sequences:
        (own,) = (layer for layer in layers if layer.path == path)
        assert own.own is not None
        assert own.own.passed
        inside = {layer.remark for layer in layers if layer.path.startswith(f"{path}.") and layer.own is not None}
        assert len(inside) == 1
        assert inside.pop().endswith(f"judged with all steps of nn.Sequencer at {path}")
        assert own.remark == (
            f"proven before the last step ({step}): the activations are older than the weights" * bool(step)
        )


def add(numbers: torch.Tensor) -> None:
    numbers.add_(1e-3)


def grow(numbers: torch.Tensor) -> None:
    numbers.mul_(1.01)


def swap_gates(numbers: torch.Tensor) -> None:
    numbers.copy_(numbers.roll(numbers.shape[0] // 2, 0))


@pytest.mark.parametrize(
    ("name", "parameter", "fault"),
    [
        pytest.param(name, parameter, fault, marks=() if name.startswith("fastlstm-update") else pytest.mark.slow)
        for name in ("fastlstm-update-train-double", "fastlstm-fresh-train-double")
        for parameter, fault in (("bias_ih_l0", add), ("weight_hh_l0", grow), ("weight_ih_l0", swap_gates))
    ],
)
def test_a_fault_in_a_sequence_is_found(name: str, parameter: str, fault: Callable[[torch.Tensor], None]) -> None:
    conversion = tm.convert(TRAINED / f"{name}.t7")
    (layer,) = (record.module for record in conversion.layers if record.typename == "nn.FastLSTM")
    fault(layer.get_submodule("lstm").get_parameter(parameter).data)
    report = tm.verify(conversion, reference="recorded", batches=())
    assert not report
    assert report.backends[0].diverging is not None
    assert report.backends[0].diverging.path == "2"


def test_the_first_layer_is_judged_by_what_the_backward_pass_left() -> None:
    conversion = tm.convert(TRAINED / "mlp-update-train-double.t7")
    first = tm.verify(conversion, batches=()).backends[0].layers[0]
    assert (first.path, first.typename) == ("1", "nn.Linear")
    assert first.remark == "its input is not in the file; judged by its gradInput, gradWeight and gradBias"
    layer = conversion.module[0]
    for fault in (layer.bias.data[2:3], layer.weight.data[1:2, 3]):
        fault.add_(1e-3)
        report = tm.verify(conversion, batches=())
        assert not report
        assert report.backends[0].diverging is not None
        assert report.backends[0].diverging.path == "1"
        fault.sub_(1e-3)
    assert tm.verify(conversion, batches=())


def test_a_fault_in_every_layer_of_a_class_is_no_step() -> None:
    conversion = tm.convert(TRAINED / "mlp-update-train-double.t7")
    for module in conversion.module:
        if isinstance(module, torch.nn.Linear):
            module.bias.data.add_(1e-3)
    report = tm.verify(conversion, reference="recorded", batches=())
    assert [layer.path for layer in report.backends[0].layers if not layer.passed] == ["1", "4", "6"]


def test_weights_that_a_step_of_sgd_can_not_have_made_are_not_proven() -> None:
    conversion = tm.convert(TRAINED / "mlp-update-train-double.t7")
    for module in conversion.module:
        if isinstance(module, torch.nn.Linear):
            module.weight.data.mul_(1.01)
    report = tm.verify(conversion, reference="recorded", batches=())
    assert all(layer.own is None for layer in report.backends[0].layers if layer.typename == "nn.Linear")


def test_steps_are_read_from_the_file() -> None:
    steps = last_steps(tm.convert(TRAINED / "mlp-adam-checkpoint-float.t7"))
    assert [step.name for step in steps] == ["optim.adam", "SGD"]
    # the third step: 2e-3 * sqrt(1 - 0.999^3) / (1 - 0.9^3)
    assert steps[0].scale == pytest.approx(0.000404021, rel=1e-5)
    assert steps[1].scale is None
    assert counts_steps(tm.convert(TRAINED / "mlp-adam-checkpoint-float.t7"))
    fresh = tm.convert(TRAINED / "mlp-fresh-train-double.t7")
    assert not counts_steps(fresh)


#: Files whose planted faults are looked for in every run.
FAULTY = ("mlp-update-train-double", "conv-sgd-zeroed_evaluate-float")


def cases() -> list[object]:
    names = [*FAULTY, *(name for name in STEPPED if name not in FAULTY), *FRESH]
    return [pytest.param(name, marks=() if name in FAULTY else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", cases())
def test_planted_faults_are_found_and_never_proven(name: str) -> None:
    each = 1 if name in FAULTY else 2
    found = list(outcomes(Model(Path(TRAINED / f"{name}.t7")), list(FAULTS), each=each))
    assert any(outcome.matters for outcome in found)
    assert [outcome for outcome in found if not outcome.right] == []
