"""Networks of kinds whose input no first layer tells: sizes are found, and model.py then gives Torch7's numbers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import golden
import pytest
import torch

import torchmigrate as tm
from torchmigrate.base.tensor_trees import leaves, shapes
from torchmigrate.shapes.infer import infer_input
from torchmigrate.shapes.observed_run import Runs
from torchmigrate.shapes.random_input import make_input
from torchmigrate.shapes.trials import Trials

#: What is found: the axes that the layers fix are those of Torch7's input, and so is the number of axes.
FOUND = {
    "attention": "{2x6,2x11x6}",
    "attention_of_a_counted_batch": "{3x6,5x3x6}",
    "attention_to_itself": "2x7x5",
    "choices_of_a_table_used": "2x4x7",
    "choices_of_an_axis": "2x3x5",
    "classifier_of_an_odd_size": "2x1x18x18",
    "concat_of_vectors": "5",
    "distances": "2x5",
    "entries_of_an_axis": "2x3x5",
    "images_of_an_axis": "2x2x9x9",
    "images_of_long_rows": "2x288",
    "images_of_one_row": "2x4x1x64",
    "images_that_are_added_and_joined": "{2x3x16x16,2x3x16x16,2x10}",
    "join_of_vectors": "{4,6}",
    "join_of_vectors_used": "{4,6}",
    "list_beside_a_counted_batch": "{2x5,{2x6,2x6,2x6,2x6}}",
    "mixture_of_a_list": "{6,{5,5,5,5}}",
    "noise_beside_an_image": "{2x7x1x1,2x1x128x128}",
    "oblong_images_as_large_as_square_ones": "2x1x16x16",
    "oblong_images_beside_numbers": "{2x3x12x10,2x5}",
    "padded_channels": "2x2x64x64",
    "rows_and_columns_of_a_view": "2x1x16x50",
    "rows_by_index": "{2x4,2}",
    "rows_in_parallel": "2x5",
    "rows_without_an_image": "2x12",
    "rows_of_a_matrix": "{2x5,2x9x8}",
    "samples_that_a_view_counts": "3x1x224x224",
    "scores_so_far": "{2x5,2x8x7,2x8}",
    "sentences_of_one_sample_ran": "{9x4,6x4}",
    "sentences_of_two_lengths": "{11x4,5x4}",
    "size_of_a_target": "2x2x224x224",
    "slices_of_a_state": "{2x12,2x5}",
    "spectra_without_a_channel_ran": "2x14x25",
    "steps_of_a_list": "{2x4,2x4,2x4}",
    "texts_of_two_lengths": "{2x16,2x16}",
    "the_least_of_the_sizes_that_fit": "2x1x48x48",
    "vectors_of_two_trees": "{5,5}",
    "view_at_the_front": "2x1x6x6",
    "weights_by_class": "{2x6,2}",
    "words_of_steps": "{3,3}",
}

#: Their model.py takes what Torch7's input is, though other sizes were found.
SAVED = [
    "attention",
    "attention_to_itself",
    "concat_of_vectors",
    "images_of_long_rows",
    "images_of_one_row",
    "mixture_of_a_list",
    "oblong_images_as_large_as_square_ones",
    "rows_by_index",
    "samples_that_a_view_counts",
    "sentences_of_two_lengths",
    "spectra_without_a_channel_ran",
    "steps_of_a_list",
    "texts_of_two_lengths",
    "the_least_of_the_sizes_that_fit",
    "vectors_of_two_trees",
    "view_at_the_front",
    "weights_by_class",
    "words_of_steps",
]


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    files = [golden.FIXTURES / f"{name}.t7" for name in ("shapes", "shapes_of_steps")]
    return {case["name"]: case for file in files for case in tm.load(file).list()}


def test_every_case_is_tested(cases: dict[str, Any]) -> None:
    assert set(cases) == set(FOUND)


@pytest.mark.parametrize("name", sorted(FOUND))
def test_the_input_is_found(name: str, cases: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases[name]
    tried: list[Any] = []
    conversion = tm.convert(case["net"])
    monkeypatch.setattr(Trials, "fits", counted(Trials.fits, tried))
    monkeypatch.setattr(Runs, "on", counted(Runs.on, tried))
    guess = infer_input(conversion)
    assert shapes(guess.value) == FOUND[name]
    assert len(tried) <= 200
    conversion.module(guess.value)
    assert_alike(conversion.module(tm.to_torch(case["input"])), case["output"])


def test_only_sizes_that_torch7_takes_are_said_to_fit(cases: dict[str, Any]) -> None:
    """A Linear of PyTorch takes more dimensions than a matrix has, one of Torch7 does not."""
    assert (
        infer_input(tm.convert(cases["entries_of_an_axis"]["net"])).reason
        == "2x3x5 follows from what the layers refuse"
    )


#: What is said of sizes that fit as well, and of what else the layers fix.
SAID = {
    "attention_of_a_counted_batch": "nn.View at 9 fixes the number of samples at 3: it takes no other",
    "attention_to_itself": "nn.Bottle any dimensions before them (so does 2x5)",
    "images_of_long_rows": "nn.Reshape at 1 makes 2x12x12 of each sample (so does 2x2x12x12)",
    "list_beside_a_counted_batch": "but no layer tells how long the lists at 2 are; nn.View at",
    "oblong_images_as_large_as_square_ones": "16x16 was tried and fits (so do 17x17, 8x32, 4x64, 32x8, …)",
    "rows_and_columns_of_a_view": "leaves 8 rows and 25 columns (so do 2x1x20x40, 2x1x40x20, 2x1x50x16: --input-shape",
    "samples_that_a_view_counts": "nn.View at 7 fixes the number of samples at 3: it takes no other",
    "the_least_of_the_sizes_that_fit": "48x48 was tried and fits (so does 47x47)",
}


@pytest.mark.parametrize("name", SAID)
def test_what_else_fits_is_said(name: str, cases: dict[str, Any]) -> None:
    assert SAID[name] in infer_input(tm.convert(cases[name]["net"])).reason


def test_indices_of_rows_are_drawn_from_them(cases: dict[str, Any]) -> None:
    rows, indices = make_input(tm.convert(cases["rows_by_index"]["net"]), [(6, 4), (90,)])
    assert rows.frac().any()
    assert sorted(set(indices.tolist())) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", SAVED)
def test_the_source_is_as_general_as_the_model(name: str, cases: dict[str, Any], tmp_path: Path) -> None:
    case = cases[name]
    tm.convert(case["net"]).save(tmp_path / "found")
    given = tm.to_torch(case["input"])
    assert_alike(answer(tmp_path / "found", given), case["output"])


@pytest.mark.parametrize(
    ("name", "shown", "other"),
    [
        ("images_of_long_rows", (2, 2, 12, 12), (288,)),
        ("images_of_long_rows", (2, 288), (2, 12, 12)),
        ("rows_without_an_image", (2, 12), (3, 4)),
    ],
)
def test_a_layer_that_does_nothing_for_the_example_stays_for_others(
    name: str, shown: tuple[int, ...], other: tuple[int, ...], cases: dict[str, Any], tmp_path: Path
) -> None:
    """A Reshape at the front gets rows of numbers or what it makes of them: the source takes both, as Torch7 does."""
    conversion = tm.convert(cases[name]["net"])
    conversion.save(tmp_path / "out", input_shape=shown)
    for sizes in (shown[1:], other):
        x = torch.randn(3, *sizes)
        assert_alike(answer(tmp_path / "out", x), conversion.module(x))


@pytest.mark.parametrize("how", ["example", "input_shape"])
def test_the_input_that_is_given_shows_what_is_fixed(how: str, cases: dict[str, Any], tmp_path: Path) -> None:
    """The source is that of the sizes that are given, whichever way they are."""
    case = cases["view_at_the_front"]
    given = tm.to_torch(case["input"])
    conversion = tm.convert(case["net"])
    conversion.save(tmp_path / how, **{how: given if how == "example" else "4x6x6"})
    text = (tmp_path / how / "model.py").read_text()
    assert "(N, 6, 6)" in text
    assert text == conversion.source(given) == conversion.source(input_shape=(4, 6, 6))
    assert_alike(answer(tmp_path / how, given), case["output"])


def test_only_one_input_is_given(cases: dict[str, Any], tmp_path: Path) -> None:
    conversion = tm.convert(cases["distances"]["net"])
    with pytest.raises(tm.UsageError, match="either an example or an input_shape"):
        conversion.save(tmp_path / "out", example=torch.zeros(2, 5), input_shape="2x5")
    with pytest.raises(tm.UsageError, match="does not take an input of 2x6"):
        conversion.save(tmp_path / "out", input_shape="2x6")
    assert not (tmp_path / "out").exists()


def counted(search: Any, tried: list[Any]) -> Any:
    """The same method, which notes the sizes that it is given."""

    def noting(self: Any, sizes: Any, *more: int) -> Any:
        tried.append(sizes)
        return search(self, sizes, *more)

    return noting


def answer(folder: Path, given: Any) -> Any:
    """What model.py of a folder answers; the members of a table are separate arguments."""
    spec = importlib.util.spec_from_file_location(f"model_{folder.name}", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        model = module.Model.from_pretrained(folder).eval()
        return model(*given) if isinstance(given, list) else model(given)
    finally:
        del sys.modules[spec.name]


def assert_alike(answered: Any, wanted: Any) -> None:
    """The same sizes, and numbers as float32 gives them."""
    pairs = list(zip(leaves(answered), leaves(tm.to_torch(wanted)), strict=True))
    for (_, ours), (_, theirs) in pairs:
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
