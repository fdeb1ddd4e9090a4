"""What `torchmigrate verify` does: converts or opens, compares, writes what was asked for. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base.errors import EXIT_OK, EXIT_PARITY, UsageError
from ..base.files import reference_beside, reference_file
from ..base.folder_files import NAMES, ONNX, PARITY, REPORT
from ..base.output_file import check_file, whole_file
from ..base.output_folder import check_folder
from ..base.tensor_trees import position
from ..model.conversion import ConvertedModel
from ..parity.reference_numbers import Reference
from ..parity.references.choose import read_beside
from ..parity.references.input_files import read_given, read_inputs
from ..parity.references.saved_runs import save_run
from ..parity.report.report import ParityReport
from ..parity.runs.pytorch import require_devices
from ..parity.verify.bisect import Reproduction, write_reproduction
from ..parity.verify.verify import verify
from ..shapes.infer import Guess
from ..t7.limits import DEFAULT_LIMITS, Limits
from .open_folder import open_model, shape_of_folder


@dataclass(frozen=True)
class VerifyOptions:
    """The options of `torchmigrate verify`; the names are those of the command line."""

    key: str | None = None
    plugins: Sequence[Path] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    torch7: str | None = None
    require: Sequence[str] = ()
    onnx: Path | None = None
    input: Sequence[Path] = ()
    expect: Sequence[Path] = ()
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    input_shape: str | None = None
    seed: int = 0
    devices: Sequence[str] = ("cpu",)
    atol: Sequence[str] = ()
    rtol: Sequence[str] = ()
    gradients: bool = False
    layers: bool = True
    save_run: Path | None = None
    compare_run: Path | None = None
    bisect: Path | None = None
    report: Path | None = None
    markdown: Path | None = None
    force: bool = False
    limits: Limits = DEFAULT_LIMITS
    require_proof: bool = False
    lua: Sequence[Path] = ()
    run_lua: Sequence[str] = ()
    torch7_source: Path | None = None
    lua_first: Sequence[str] = ()


@dataclass(frozen=True)
class Verified:
    """What `torchmigrate verify` found and wrote.

    Attributes:
        report: what was compared.
        reproduction: the smallest part that fails, if it was asked for and there is one.
        saved: the run that was saved, if it was asked for.
        require_proof: was a proof of parity asked for?
    """

    report: ParityReport
    reproduction: Reproduction | None = None
    saved: Path | None = None
    require_proof: bool = False

    @property
    def unproven(self) -> str:
        """Why a proof of parity that was asked for is missing; "" if it is there, or was not asked for."""
        if not self.require_proof or self.report.proven:
            return ""
        return f"there is no proof of parity, which --require-proof asks for: {self.report.verdict.title}"

    @property
    def exit_code(self) -> int:
        """What `torchmigrate verify` exits with."""
        return EXIT_OK if self.report and not self.unproven else EXIT_PARITY

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        made = self.reproduction
        return {
            **self.report.to_json(),
            "reproduction": None if made is None else {"folder": str(made.folder), "path": made.path},
            "unproven": self.unproven,
            "saved_run": None if self.saved is None else str(self.saved),
        }


def verify_path(path: Path, options: VerifyOptions) -> Verified:
    """Compares a .t7 file, which is converted first, or a folder that `convert` wrote.

    Raises:
        TorchMigrateError: of any kind.
    """
    require_devices(options.devices)
    check_outputs(path, options)
    folder = path if path.is_dir() else None
    conversion = open_model(
        path,
        key=options.key,
        plugins=options.plugins,
        aliases=options.aliases,
        lua=options.lua,
        lua_first=options.lua_first,
        run_lua=options.run_lua,
        limits=options.limits,
    )
    onnx = options.onnx
    if onnx is not None and not onnx.is_file():
        raise UsageError(f"There is no file {onnx}.")
    shape: Any = options.input_shape
    if folder is not None:
        onnx = onnx or (folder / ONNX if (folder / ONNX).is_file() else None)
        shape = shape or shape_of_folder(folder)
    given = _input(options, conversion)
    beside = _beside(path, options)
    reference: str | Reference | None = options.reference if beside is None else read_beside(conversion, beside)
    if options.expect and given is not None:
        reference = read_given(conversion, given, options.expect)
    report = verify(
        conversion,
        reference=reference,
        devices=options.devices,
        onnx=onnx,
        input=given,
        input_shape=None if given is not None or beside is not None else shape,
        atol=by_place(options.atol, "--atol"),
        rtol=by_place(options.rtol, "--rtol"),
        layers=options.layers,
        seed=options.seed,
        torch7=options.torch7,
        model_file=None if folder is not None else path,
        compare_run=options.compare_run,
        gradients=options.gradients,
        requires=options.require,
        torch7_source=options.torch7_source,
        lua=options.lua,
    )
    files = {"plugin": options.plugins, "input": options.input, "expect": options.expect}
    report.options = {
        **report.options,
        **{name: [each.name for each in given] for name, given in files.items()},
        **{name: _spelled(given) for name, given in (("mean", options.mean), ("std", options.std))},
    }
    if options.report is not None:
        report.write(options.report, force=options.force)
    if options.markdown is not None:
        with whole_file(options.markdown, force=options.force) as part:
            part.write_text(report.markdown(), encoding="utf-8")
    made = None
    if options.bisect is not None:
        made = write_reproduction(conversion, report, options.bisect, plugins=options.plugins, force=options.force)
    if options.save_run is not None:
        save_run(conversion, report.reference, report.summary(), options.save_run, force=options.force)
    return Verified(report, made, options.save_run, options.require_proof)


def _beside(path: Path, options: VerifyOptions) -> Path | None:
    """The reference beside the file, where the user has chosen neither a reference nor an input."""
    chosen = (options.reference, options.torch7, options.compare_run, options.input_shape)
    taken = all(choice is None for choice in chosen) and not (options.input or options.require) and not path.is_dir()
    return reference_beside(path) if taken else None


def check_outputs(path: Path | None, options: VerifyOptions) -> None:
    """Stops before work is done for nothing: nothing is written over what is read, or unasked over anything.

    Args:
        path: what is compared; None if it is on another machine, or standard input.
        options: those of the command.

    Raises:
        UsageError: something that is asked for may not be written.
    """
    given = [
        *options.plugins,
        *options.lua,
        options.torch7_source,
        *options.input,
        *options.expect,
        reference_file(options.reference),
        options.onnx,
        options.compare_run,
    ]
    given.append(None if path is None else _beside(path, options))
    inputs = [path, *(None if each is None or not os.path.exists(each) else each for each in given)]
    if options.bisect is not None:
        check_folder(options.bisect, force=options.force, inputs=inputs)
    inputs += [path / name for name in NAMES - {PARITY, REPORT}] if path is not None and path.is_dir() else []
    files = [each for each in (options.markdown, options.save_run) if each is not None]
    if options.report is not None:
        files += [options.report / PARITY, options.report / REPORT]
    taken: set[str] = set()
    for file in files:
        check_file(file, force=options.force, inputs=inputs)
        place = os.path.realpath(file)
        bisect = None if options.bisect is None else os.path.realpath(options.bisect)
        if place in taken or (bisect is not None and bisect in (place, *map(str, Path(place).parents))):
            raise UsageError(f"{file} would be written twice, or into the folder of --bisect; give another name.")
        taken.add(place)


def _spelled(numbers: Sequence[float] | None) -> str | None:
    return None if numbers is None else ",".join(f"{number:g}" for number in numbers)


def _input(options: VerifyOptions, conversion: ConvertedModel) -> Guess | None:
    ways = (("--reference", options.reference), ("--torch7", options.torch7), ("--compare-run", options.compare_run))
    if options.expect:
        if not options.input:
            raise UsageError("--expect is the answer to an input; give that with --input.")
        if others := [name for name, value in ways if value is not None]:
            raise UsageError(f"--expect and {' and '.join(others)} exclude each other: each says what to compare with.")
        if options.gradients:
            raise UsageError("--expect has no gradients; a reference made with --grad has (`torchmigrate reference`).")
    if not options.input:
        for name, value in (("--mean", options.mean), ("--std", options.std)):
            if value is not None:
                raise UsageError(f"{name} says how a picture is prepared; give one with --input.")
        return None
    if reference_file(options.reference) is not None or options.compare_run is not None:
        raise UsageError("A reference file brings its own input; --input can't be given beside it.")
    if options.input_shape is not None:
        raise UsageError("--input and --input-shape exclude each other: the input has its own sizes.")
    return read_inputs(options.input, conversion, options.mean, options.std)


def by_place(words: Sequence[str], option: str) -> dict[str, float] | None:
    """Tolerances as users write them: `1e-4` for all outputs, `2=1e-3` for the second, `2.1=1e-3` for an inner one.

    Raises:
        UsageError: one is written otherwise.
    """
    found: dict[str, float] = {}
    for word in words:
        place, equals, number = word.rpartition("=")
        parts = place.split(".") if equals else []
        try:
            value = float(number)
            where = position(tuple(int(part) for part in parts))
        except ValueError:
            value, where = -1.0, ""
        if not 0 <= value < float("inf"):
            raise UsageError(f"{option} takes a number such as 1e-4, or 2=1e-4 for the second output; not {word!r}.")
        found[where] = value
    return found or None
