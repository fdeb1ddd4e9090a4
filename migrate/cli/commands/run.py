"""torchmigrate run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...base.errors import EXIT_OK
from ..option_groups import GroupedCommand, in_group
from .options import CONVERSION, JSON, MEAN, QUIET, STD, VERBOSE, with_model_options
from .sources import local_path, opened

if TYPE_CHECKING:
    from ...folder.use.run_picture import Seen


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    found = None if text is None else re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if text is not None and found is None:
        raise click.BadParameter(f"height and width, such as 224x224; not {text!r}")
    return None if found is None else (int(found[1]), int(found[2]))


def _range(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, float] | None:
    try:
        low, high = (None, None) if text is None else (float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"two numbers, such as -1,1; not {text!r}") from error
    if low is None or high is None:
        return None
    if not low < high:
        raise click.BadParameter(f"the lower number first, such as -1,1; not {text!r}")
    return low, high


@click.command(cls=GroupedCommand)
@CONVERSION
@click.argument("picture", required=False, type=click.Path(path_type=Path))
@in_group(
    "Pictures",
    MEAN,
    STD,
    click.option("--size", callback=_size, metavar="HEIGHTxWIDTH", help="Scale the picture to this size."),
    click.option(
        "--as", "kind", type=click.Choice(["labels", "picture", "mask"]), help="What the model gives, if unknown."
    ),
    click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many labels."),
    click.option(
        "--range", "value_range", callback=_range, metavar="LOW,HIGH", help="Numbers of black and white in the output."
    ),
    click.option("-o", "--output", type=click.Path(path_type=Path), help="The .png to write; default: FILE.out.png."),
    click.option("--force", is_flag=True, help="Replace an existing file."),
)
@in_group(
    "Text",
    click.option("--seed-text", help="Text that the model goes on with."),
    click.option(
        "--length", type=click.IntRange(min=1), default=200, show_default=True, help="Characters or words to write."
    ),
    click.option(
        "--temperature",
        type=click.FloatRange(min=0),
        default=1.0,
        show_default=True,
        help="Below 1 the likelier ones become likelier still; 0: always the likeliest.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the random numbers."),
)
@JSON
@QUIET
@VERBOSE
def run(file: str, picture: Path | None, as_json: bool, quiet: bool, **options: Any) -> int:
    """Run a converted model on a picture, or let it go on with a text.

    FILE is a folder that `convert` wrote, or a .t7 file. A classifier prints its largest outputs with their names; a
    model that gives a picture or a mask writes a .png. How pictures are prepared comes from the file, or from --mean
    and --std: nothing is guessed. A picture is scaled by --size, or as the file says (`opt.loadSize`, `opt.cropSize`).

    \b
    torchmigrate run resnet cat.jpg --size 224x224
    torchmigrate run style photo.jpg -o painted.png
    torchmigrate run segmenter street.png --as mask -o mask.png
    torchmigrate run charrnn --seed-text "The " --length 300 --temperature 0.7
    """
    from ...base.errors import UsageError
    from ...folder.open_folder import open_model, shape_of_folder
    from ..printing import terminal as console

    given = with_model_options(options)
    text = given.pop("seed_text")
    if (picture is None) == (text is None):
        raise click.UsageError("Give a picture, or --seed-text for a model that writes text.")
    taken = {name: given.pop(name) for name in ("key", "plugins", "aliases", "lua", "lua_first", "limits")}
    with console.progress(silent=as_json or quiet) as step, opened(file, step) as path:
        step("reading")
        conversion = open_model(path, **taken)
        if conversion.refusals or conversion.is_criterion:
            raise UsageError(f"{file} holds no network that can be run.")
        step("running")
        if picture is not None:
            found, written = _seen(file, path, conversion, picture, given)
        else:
            text = _text(conversion, text, shape_of_folder(path) if path.is_dir() else None, given)
    if picture is not None:
        _show_seen(found, written, as_json, quiet)
    elif as_json:
        console.print_json({"kind": "text", "text": text})
    else:
        click.echo(text)
    return EXIT_OK


def _seen(file: str, path: Path, conversion: Any, picture: Path, given: dict[str, Any]) -> tuple[Seen, str | None]:
    """What the model makes of a picture, and the file that it was written to."""
    from ...base.folder_files import read_config
    from ...base.output_file import check_file, whole_file
    from ...folder.use.run_picture import see

    target = given["output"] or picture.with_name(f"{picture.stem}.out.png")
    task = read_config(path).get("pipeline_tag", "") if path.is_dir() else ""
    names = ("mean", "std", "size", "top", "value_range")
    found = see(conversion, picture, given["kind"], task=task, **{name: given[name] for name in names})
    written = None
    if found.pixels is not None:
        from PIL import Image

        check_file(target, force=given["force"], inputs=[local_path(file), picture])
        with whole_file(target, force=given["force"]) as part:
            Image.fromarray(found.pixels).save(part, format="PNG")
        written = str(target)
    return found, written


def _show_seen(found: Seen, written: str | None, as_json: bool, quiet: bool) -> None:
    from ..printing import terminal as console
    from ..printing.answers import show_labels

    if as_json:
        labels = [{"place": one.place, "name": one.name, "value": one.value} for one in found.labels]
        console.print_json(
            {
                "kind": found.kind,
                "input": found.said,
                "labels": labels,
                "probabilities": found.probabilities,
                "file": written,
            }
        )
    elif not quiet:
        show_labels(found, written)


def _text(conversion: Any, text: str, sizes: Any, given: dict[str, Any]) -> str:
    from ...base.errors import UsageError
    from ...folder.use.sample_text import sample

    labels = conversion.preprocessing.labels
    if labels is None:
        raise UsageError("The file holds no vocabulary; give one with `torchmigrate convert --labels`.")
    if sizes is None:
        from ...shapes.infer import infer_input

        value = infer_input(conversion).value
        sizes = [tuple(part.shape) for part in value] if isinstance(value, list) else tuple(value.shape)
    names = {"start": text} | {name: given[name] for name in ("length", "temperature", "seed")}
    return sample(conversion, labels, sizes, **names)
