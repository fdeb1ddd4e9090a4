"""The report in short, as GitHub's Markdown, for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...base.messages import visible
from ..judge.status import TORCH7
from .layer_table import layer_rows, share_of, watched_backends, worst_of, worst_rows
from .quantities import DASH, percent, scientific

#: How many layers are named.
WORST = 5

#: Longer text from a file is cut.
_LONGEST = 300

#: What means nothing in a code span, nor in a cell of a table.
_PLAIN = re.compile(r"[\w .,:;=+*/@#%'\"()\[\]{}~^!?$&-]*", re.ASCII)

#: What means nothing in running text within a line.
_HARMLESS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;=+()%'-")


def render(report: Mapping[str, Any]) -> str:
    """The verdict, the backends and the worst layers.

    Args:
        report: what parity.json holds.
    """
    return "\n".join(_lines(report)) + "\n"


def code(value: object) -> str:
    """Text that may be anything, as code that is shown as it is: no markup, no link, no mention of anybody in it."""
    text = visible(str(value))
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "..."
    if not text.strip():
        return f"<code>{text}</code>"
    if _PLAIN.fullmatch(text) and text == text.strip():
        return f"`{text}`"
    harmless = _HARMLESS - {"."} if "www" in text.lower() else _HARMLESS
    return f"<code>{''.join(c if c in harmless else f'&#{ord(c)};' for c in text)}</code>"


def sentence(text: str) -> str:
    """A sentence of the verdict, which may quote an error; plain words stay readable."""
    return text if re.fullmatch(r"[\w ,.;:'()-]*", text, re.ASCII) and "www." not in text else code(text)


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    verdict, source, reference = report["verdict"], report["source"], report["reference"]
    sign = {"passed": "\N{WHITE HEAVY CHECK MARK}", "failed": "\N{CROSS MARK}"}.get(
        verdict["level"], "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}"
    )
    yield f"### Parity: {sign} {verdict['title']}"
    yield ""
    where = f" at {code(source['key'])}" if source["key"] else ""
    yield f"{code(source['file'] or 'a value that was no file')}{where}. {sentence(verdict['meaning'])}"
    yield ""
    rounding = "" if reference["kind"] in TORCH7 else " (rounding only)"
    yield f"| backend | result{rounding} | largest error | of the largest number | of the tolerance | tolerance | why |"
    yield "|---|---|--:|--:|--:|---|---|"
    for backend in report["backends"]:
        yield _backend(backend)
    worst = list(_worst(report))
    if worst:
        yield ""
        yield "| worst layers, by themselves | class | module | backend | error | of the tolerance |"
        yield "|---|---|---|---|--:|--:|"
        yield from worst
    yield ""
    for limit in verdict["limits"]:
        yield f"- {sentence(limit)}"
    yield f"- model sha256 {code(source['sha256'] or 'none')}"
    if reference["file"] is not None:
        yield f"- reference {code(reference['file'])}, sha256 {code(reference['sha256'] or 'none')}"
    versions = report["environment"].get("versions", {})
    yield "- " + ", ".join(f"{name} {code(version)}" for name, version in versions.items())
    yield f"- {code(report['command'])}"


def _backend(backend: Mapping[str, Any]) -> str:
    largest, used = worst_of(backend["outputs"])
    cells = [
        code(backend["backend"]) + ("" if backend["decides"] else " (information)"),
        f"**{backend['status']}**" if backend["status"] in ("passed", "failed") else code(backend["status"]),
        scientific(largest),
        scientific(share_of(backend["outputs"])),
        percent(used),
        code(backend["tolerance"]["rule"]) if backend["tolerance"] else DASH,
        code(backend["reason"]) if backend["reason"] else "",
    ]
    return f"| {' | '.join(cells)} |"


def _worst(report: Mapping[str, Any]) -> Iterator[str]:
    names = [backend["backend"] for backend in watched_backends(report)]
    for row, backend, measured in worst_rows(layer_rows(report), WORST):
        error = (
            scientific(measured.difference["max_abs"]) if measured.comparable else code(measured.difference["problem"])
        )
        failed = "" if measured.passed else " **fails**"
        call = f" run {row.call}" if row.call else ""
        cells = [
            code(row.path or "the model") + call,
            code(row.typename),
            code(row.module),
            code(names[backend]),
            error,
            percent(measured.used) + failed,
        ]
        yield f"| {' | '.join(cells)} |"
