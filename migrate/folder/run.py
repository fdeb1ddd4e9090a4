"""What the commands do: read, convert, export, compare, write. Returns data; prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..base.download import MAX_DOWNLOAD
from ..base.errors import EXIT_OK, EXIT_PARITY, ExportError, GraphDiffers, UsageError
from ..base.files import reference_beside, reference_file
from ..base.folder_files import ONNX, PARITY_FAILED, read_config
from ..base.output_folder import CONVERTED, SOURCE_ONLY, output_folder
from ..model.contents.children import inputs_of
from ..model.conversion import ConvertedModel
from ..model.convert import convert_model, to_torch
from ..model.running.answers import Answers
from ..onnx.result import OnnxExport
from ..optim.convert import optimizer_beside
from ..parity.reference_numbers import Reference
from ..parity.references.choose import ReferenceOptions, choose_reference, read_beside
from ..parity.references.dump import load_dump
from ..parity.report.report import ParityReport
from ..parity.runs.pytorch import require_devices
from ..parity.torch7_lua import torch7_lua
from ..parity.verify.verify import verify
from ..shapes.infer import input_of
from ..shapes.parse import spelled
from ..shapes.random_layers import drawn_numbers
from ..t7.limits import DEFAULT_LIMITS, Limits
from .card import check_license, write_card
from .data_given import DataGiven, with_given
from .example_input import two_samples
from .from_lua import provided_by, running_lua
from .verify_folder import by_place
from .write import source_of, write, write_source

#: Told what begins now: "reading", "exporting to ONNX", …
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ConvertOptions:
    """The options of `torchmigrate convert`; the names are those of the command line."""

    key: str | None = None
    plugins: Sequence[Path] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    force: bool = False
    allow_unsupported: bool = False
    no_onnx: bool = False
    no_verify: bool = False
    source_only: bool = False
    input_shape: str | None = None
    opset: int = 20
    dtype: str = "float32"
    stateful: bool = False
    reference: str | Path | None = None
    devices: Sequence[str] = ("cpu",)
    atol: Sequence[str] = ()
    rtol: Sequence[str] = ()
    limits: Limits = DEFAULT_LIMITS
    max_download: int = MAX_DOWNLOAD
    require_proof: bool = False
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    channel_order: str | None = None
    labels: Path | None = None
    lua: Sequence[Path] = ()
    run_lua: Sequence[str] = ()
    torch7_source: Path | None = None
    lua_first: Sequence[str] = ()
    hub: bool = False
    license: str | None = None


@dataclass
class ConvertedFolder:
    """What `torchmigrate convert` did.

    Attributes:
        folder: what was written.
        files: name -> size in bytes.
        conversion: the converted model.
        onnx: what was exported, or None.
        report: what was compared, or None.
        not_run: what was left out, and why.
        source_note: why model.py follows the file module by module, or is missing; "" if neither.
        require_proof: was a proof of parity asked for?
    """

    folder: Path
    files: dict[str, int]
    conversion: ConvertedModel
    onnx: OnnxExport | None
    report: ParityReport | None
    not_run: dict[str, str]
    source_note: str = ""
    require_proof: bool = False

    @property
    def passed(self) -> bool:
        """Did nothing fail of what was compared?"""
        return self.report is None or bool(self.report)

    @property
    def unproven(self) -> str:
        """Why a proof of parity that was asked for is missing; "" if it is there, or was not asked for."""
        if not self.require_proof or (self.report is not None and self.report.proven):
            return ""
        found = self.not_run.get("parity", "") if self.report is None else self.report.verdict.title
        return f"there is no proof of parity, which --require-proof asks for: {found}"

    @property
    def input_found(self) -> str:
        """Says which input was looked for and found, and why this one; "" where it was known."""
        return found_input(self.conversion)

    @property
    def exit_code(self) -> int:
        """What `torchmigrate convert` exits with."""
        return EXIT_OK if self.passed and not self.unproven else EXIT_PARITY

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "folder": str(self.folder),
            "files": self.files,
            "key": self.conversion.key,
            "classes": self.conversion.classes,
            "parameters": self.conversion.parameter_count,
            "notes": [list(note) for note in self.conversion.notes],
            "preprocessing": self.conversion.preprocessing.to_json(),
            "unread_fields": self.conversion.unread,
            "input": self.input_found,
            "onnx": None if self.onnx is None else self.onnx.to_json(),
            "parity": None if self.report is None else self.report.to_json(),
            "not_run": self.not_run,
            "source_note": self.source_note,
            "passed": self.passed,
            "proven": self.report is not None and self.report.proven,
            "unproven": self.unproven,
        }


def convert_file(
    file: Path,
    folder: Path,
    options: ConvertOptions,
    step: Progress,
    *,
    kind: str = CONVERTED,
    work: Path | None = None,
    notes: Sequence[str] = (),
) -> ConvertedFolder:
    """Converts a .t7 file into a folder, which appears whole or not at all.

    Args:
        file: the .t7 file.
        folder: where to write.
        options: those of the command.
        step: told what begins.
        kind: what the marker of the folder says.
        work: where it is written before it takes its place; None: beside it.
        notes: what to know of the file, for everything that is written.

    Raises:
        TorchMigrateError: of any kind; nothing is written then.
    """
    for name, words in (("--atol", options.atol), ("--rtol", options.rtol)):
        by_place(words, name)  # says now what is written wrong
    check_license(options.license)
    if options.stateful and (options.no_onnx or options.source_only):
        raise UsageError("--stateful is of model.onnx, which --no-onnx and --source-only leave out.")
    if not (options.no_verify or options.source_only):
        require_devices(options.devices)
    kind = SOURCE_ONLY if options.source_only and kind == CONVERTED else kind
    beside = reference_beside(file) if options.reference is None else None
    inputs = [file, reference_file(options.reference) or beside, *options.plugins, *options.lua, options.labels]
    inputs.append(options.torch7_source)
    with output_folder(folder, kind, force=options.force, inputs=inputs, work=work) as made:
        step("reading and converting")
        conversion = convert_model(
            file,
            key=options.key,
            plugins=options.plugins,
            aliases=options.aliases,
            allow_unsupported=options.allow_unsupported,
            provided=provided_by(options.lua, options.lua_first, options.run_lua),
            limits=options.limits,
        )
        conversion.notes += [("", note) for note in notes]
        given = DataGiven(options.mean, options.std, options.channel_order, options.labels)
        planes = inputs_of(conversion.layers[0].object) if conversion.layers else None
        conversion.preprocessing = with_given(conversion.preprocessing, given, file, planes, options.limits)
        with _keeping_answers(conversion):
            return _write(conversion, made, folder, options, step, beside)


def _write(
    conversion: ConvertedModel, made: Path, folder: Path, options: ConvertOptions, step: Progress, beside: Path | None
) -> ConvertedFolder:
    """Writes all files of a folder that will have another name."""
    exported: OnnxExport | None = None
    report: ParityReport | None = None
    not_run = _not_run(conversion, options)
    reference: Reference | None = None
    if "parity" not in not_run:
        step("looking for what to compare with")
        reference = _reference(conversion, beside, options)
    example = _example(conversion, options, reference)
    if options.source_only:
        step("writing the source")
        source = source_of(conversion, example, hub=options.hub)
        write_source(source, made)
        source_note = source.reason
    else:
        step("writing the weights and the source")
        source_note = write(conversion, made, example, hub=options.hub)
        notes = _write_optimizer(conversion, made)
    if "onnx" not in not_run and (drawn := drawn_numbers(conversion, example)).outputs:
        not_run["onnx"] = str(drawn)
    if "onnx" not in not_run:
        step("exporting to ONNX")
        exported = _export(conversion, made / ONNX, options, example)
    if reference is not None:
        step("comparing")
        report = verify(
            conversion,
            reference=reference,
            devices=options.devices,
            onnx=made / ONNX if exported else None,
            atol=by_place(options.atol, "--atol"),
            rtol=by_place(options.rtol, "--rtol"),
        )
        report.write(made)
        if not report:
            (made / PARITY_FAILED).write_text(report.summary() + "\n")
    if not options.source_only:
        more = [note for note in (source_note, notes, found_input(conversion)) if note]
        write_card(made, conversion, exported, report, more, options.license)
    files = {path.name: path.stat().st_size for path in sorted(made.iterdir())}
    return ConvertedFolder(folder, files, conversion, exported, report, not_run, source_note, options.require_proof)


def found_input(conversion: ConvertedModel) -> str:
    """Says which input was looked for and found, and why this one; "" where it was known."""
    found = conversion.input_sizes
    return "" if found is None or found.sizes is None else f"input found: {spelled(found.sizes)}: {found.reason}"


def _reference(conversion: ConvertedModel, beside: Path | None, options: ConvertOptions) -> Reference:
    """What to compare with: what the user named, what lies beside the file, or the strongest that there is."""
    if beside is not None and options.input_shape is None:
        return read_beside(conversion, beside)
    where = torch7_lua(options.torch7_source, options.lua)
    choices = ReferenceOptions(input_shape=options.input_shape, torch7_lua=where)
    found = choose_reference(conversion, options.reference, choices)
    if beside is None:
        return found
    return replace(found, chosen=f"{beside.name} lies beside the file, and was left out since --input-shape was given")


@contextmanager
def _keeping_answers(conversion: ConvertedModel) -> Iterator[None]:
    """Inside the block, what the model has answered is not computed again."""
    conversion.answers = Answers()
    try:
        yield
    finally:
        conversion.answers = None


def _export(conversion: ConvertedModel, path: Path, options: ConvertOptions, example: Any) -> OnnxExport:
    from ..onnx.export.export import export_onnx  # which takes seconds to import, and is not always wanted

    try:
        return export_onnx(
            conversion,
            path,
            input_shape=options.input_shape if example is None else None,
            example_input=example,
            opset=options.opset,
            dtype=options.dtype,
            stateful=options.stateful,
        )
    except GraphDiffers as error:
        raise ExportError(
            f"{error}. Nothing was written. Either may be wrong: compare the PyTorch model with what Torch7 answers "
            "(`torchmigrate verify --reference`) before you use it without an ONNX file."
        ) from error
    except ExportError as error:
        raise ExportError(
            f"{error}. Nothing was written; --no-onnx converts the model without an ONNX file."
        ) from error


def _example(conversion: ConvertedModel, options: ConvertOptions, reference: Reference | None) -> Any:
    """The one input for the source, the export and the comparison; None where none is known or needed."""
    if reference is not None:
        return two_samples(conversion, reference.input)
    file = reference_file(options.reference)
    if file is not None and options.input_shape is None:
        return to_torch(load_dump(file)["input"])
    if conversion.refusals or conversion.is_criterion:
        return None
    try:
        return two_samples(conversion, input_of(conversion, options.input_shape).value)
    except UsageError:
        if options.input_shape is not None or not options.no_onnx:
            raise
        return None  # the source can follow the file module by module


def _write_optimizer(conversion: ConvertedModel, folder: Path) -> str:
    """Writes the state of the optimizer beside the model, if there is one; returns why it can't be converted."""
    state, reason = optimizer_beside(conversion)
    if state is not None:
        state.write(folder, read_config(folder)["tensors"])
    return f"the optimizer's state was not converted: {reason}" if reason else ""


def _not_run(conversion: ConvertedModel, options: ConvertOptions) -> dict[str, str]:
    if options.source_only:
        return {"onnx": "--source-only", "parity": "--source-only"}
    if conversion.refusals:
        classes = ", ".join(sorted({refusal.typename for refusal in conversion.refusals}))
        reason = f"layers were not converted: {classes}"
        return {"onnx": reason, "parity": reason}
    chosen = {"onnx": options.no_onnx, "parity": options.no_verify}
    found = {name: f"--no-{'verify' if name == 'parity' else name}" for name, left_out in chosen.items() if left_out}
    if kept := running_lua(conversion):
        found.setdefault("onnx", f"{kept}, which no ONNX file can hold")
    if conversion.is_criterion:
        found["onnx"] = found["parity"] = "a criterion is called with input and target, it has no graph of its own"
    return found
