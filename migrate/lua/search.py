"""Finds out how a file gives its network: by its own variables, its functions, or as the author's scripts call it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ..t7 import LuaObject
from .callers import NoCall, got_by, lua_text, run_caller
from .folders import Folders
from .result import CantLeave
from .runtime import LuaStopped, Runtime, told
from .script_text import (
    CallSite,
    call_sites,
    fields_set_between,
    is_parameter,
    is_set_between,
    is_whole,
    names_in,
    without_comments,
)

#: How the parameters are called by which authors take their options.
_OPTIONS = ("opt", "opts", "options", "params", "config", "args", "cfg", "settings")
_MOST_SCRIPTS = 8
_MOST_CALLS = 8
#: Functions that other packages have under the same name.
_OF_TORCH = re.compile(r"(?:nn|cudnn|torch|math|string|table|image|optim|paths|xlua)\.\w+")
#: The line of a call that stands in no text.
_END = 1 << 30
_FIRST = re.compile(r"(^|/)(main|train|run|start)\w*\.lua$", re.I)
_LAST = re.compile(r"(^|/|_)(test|eval|evaluate|sample|demo|predict|infer|convert|extract|example|bench)", re.I)


@dataclass(frozen=True)
class Way:
    """How a file gives a network: what to add to its job, and the options of the command that say the same."""

    job: dict[str, Any]
    said: str


@dataclass
class Tools:
    """What a search needs of the builder.

    Attributes:
        start: a Lua with what the job sets up, in which no file has run.
        build: builds once what a job asks for; gives the model.
        brings: the error came of a package that a script required: it is loaded from now on.
    """

    start: Callable[[], Runtime]
    build: Callable[[dict[str, Any]], Any]
    brings: Callable[[str], bool]


@dataclass
class _Seen:
    """What a file left."""

    error: str | None
    line: int | None
    networks: list[str]
    parts: list[str]
    functions: list[str]


def search(job: dict[str, Any], folders: Folders, tools: Tools, seconds: float, first: LuaStopped | NoCall) -> Way:
    """Finds the one way in which a file gives a network without being told.

    Args:
        job: as `define` says; neither a call nor a variable is in it.
        folders: the files, those of the author's scripts among them.
        tools: of the builder.
        seconds: how long to look.
        first: what came of the file by itself.

    Raises:
        NoCall: there is none, or there are several; the error lists them.
        LuaStopped: there is none, and the file itself stops.
    """
    looking = _Search(job, folders, tools, time.monotonic() + seconds)
    offered: list[Way] = []
    places = [looking.variables, looking.functions, looking.callers]
    for ways in places[2:] if job.get("caller") else places:
        try:
            for found in ways():
                if len(found) == 1:
                    return found[0]
                offered += found
        except _TimeIsOver:
            break
    if offered:
        raise NoCall(looking.offers(), tuple(dict.fromkeys(way.said for way in offered)))
    if isinstance(first, NoCall):
        raise NoCall(first.calls, tuple(looking.unknown))
    if looking.unknown:
        tried = "".join(f"\n  {line}" for line in looking.unknown[:_MOST_CALLS])
        raise LuaStopped(f"{first}\nThe author's scripts were tried:{tried}")
    raise first


class _TimeIsOver(Exception):
    """The time for looking is over."""


class _Search:
    def __init__(self, job: dict[str, Any], folders: Folders, tools: Tools, until: float) -> None:
        self.job, self.folders, self.tools, self._until = job, folders, tools, until
        self.file: str = job["file"]
        self.unknown: list[str] = []
        self._error = ""
        self._seen: _Seen | None = None
        self._scripts_text: dict[str, str] | None = None
        self._unknown_sites: set[CallSite] = set()
        self._known_sites: dict[str, list[CallSite]] = {}

    # ------------------------------------------------------------------ the file by itself

    def seen(self) -> _Seen:
        if self._seen is None:
            while True:
                self._in_time()
                runtime = self.tools.start()
                self._seen = _look(runtime, self.file)
                if self._seen.error is None or not self.tools.brings(self._seen.error):
                    break
        return self._seen

    def offers(self) -> list[str]:
        return self.seen().functions

    def variables(self) -> Iterator[list[Way]]:
        """Networks in variables of the file, at its end or where it stopped."""
        seen = self.seen()
        names = seen.networks
        if seen.line is not None:
            text = self.folders.text(self.file)
            names = [name for name in names if is_whole(text, seen.line, [name, *seen.parts])]
        if names:
            yield [Way({"global_name": name}, f"--global {name}") for name in names]

    def functions(self) -> Iterator[list[Way]]:
        """Functions that take nothing, or the options that were given."""
        found = []
        given = self.job.get("options") is not None
        name = self.job.get("options_as") or "opt"
        for call in self.seen().functions[: 2 * _MOST_CALLS]:
            head, _, parameters = call.rstrip(")").partition("(")
            listed = [each.strip() for each in parameters.split(",") if each.strip()]
            takes = given and len(listed) == 1 and listed[0] in (name, *_OPTIONS)
            # what stands in a table that the file returned, or a function
            if call.startswith("model.") if not call.endswith(")") else (not listed or takes):
                text = f"{head}({name if listed else ''})" if call.endswith(")") else call
                if self._gives({"call": text}):
                    found.append(Way({"call": text}, f"--call '{text}'"))
        yield _without_parts(found, self.folders.text(self.file))

    # ------------------------------------------------------------------ the author's scripts

    def callers(self) -> Iterator[list[Way]]:
        """What the scripts get from the file; and its functions, with what the scripts would give them."""
        if self.job.get("options") is not None:
            return
        named = [self.job["caller"]] if self.job.get("caller") else None
        for script in named or self._scripts()[:_MOST_SCRIPTS]:
            yield from self._caller(script)

    def _caller(self, script: str) -> Iterator[list[Way]]:
        job = self.job | {"caller": script}
        while True:
            self._in_time()
            runtime = self.tools.start()
            error = run_caller(runtime, job)
            if (networks := got_by(runtime)) or error is None or not self.tools.brings(error):
                break
        found = []
        for got in networks:
            said = f"--caller {script} --call '{got.name}'"
            way = Way({"caller": script, "call": got.name}, said)
            if got.kinds > 1:
                self.unknown.append(f"{said} (it gives {got.kinds} different networks, the first in {got.where})")
            elif self._gives(way.job):
                found.append(way)
        yield found or self._calls(script, runtime, error)

    def _calls(self, script: str, runtime: Runtime, error: str | None) -> list[Way]:
        """Calls in the text of the scripts, with the variables that this one had at its end or where it stopped."""
        stopped, *_ = runtime.guarded(runtime.host.networks, lua_text(script))
        line = None if stopped is None else int(stopped)
        found: dict[str, Way] = {}
        offers = self._offers_after(script, runtime)
        if offers[:1] == ["definition"] and self._gives({"caller": script, "call": "definition"}):
            return [Way({"caller": script, "call": "definition"}, f"--caller {script} --call 'definition'")]
        for offer in offers:
            head, sites = offer.partition("(")[0], self._sites(offer)
            sites = [site for site in sites if site.script == script] or sites
            if other := next((site for site in sites if site.arguments != sites[0].arguments), None):
                places = f"{sites[0].script}:{sites[0].line} and {other.script}:{other.line}"
                if all(site not in self._unknown_sites for site in sites):
                    self.unknown.append(f"--call '{sites[0].text}' ({places} call it with different arguments)")
                self._unknown_sites.update(sites)
                continue
            if head.startswith("model.") and head == offer:
                sites = [CallSite(script, f"definition{head.removeprefix('model')}", "", _END)]
            for site in [*sites, *self._with_options(script, offer, runtime)]:
                unknown = self._unknown(script, site, line, runtime)
                said = f"--caller {script} --call '{site.text}'"
                if unknown:
                    if site in self._unknown_sites:
                        continue
                    self._unknown_sites.add(site)
                    stop = "" if error is None else f"; {script} stopped: {error}"
                    place = "" if site.line == _END else f"{site.script}:{site.line} calls it so; "
                    self.unknown.append(f"{said} ({place}not known: {', '.join(unknown)}{stop})")
                elif head in found:
                    continue
                elif not self._gives({"caller": script, "call": site.text}):
                    self.unknown.append(f"{said} (it fails: {self._error})")
                else:
                    found[head] = Way({"caller": script, "call": site.text}, said)
        return _without_parts(list(found.values()), self.folders.text(self.file))

    def _offers_after(self, script: str, runtime: Runtime) -> list[str]:
        """The functions of the file in the state that a script left."""
        if self.seen().error is None:
            return self.seen().functions
        try:
            returned = runtime.guarded(runtime.host.run_file, lua_text(self.file))
        except LuaStopped as error:
            self.unknown.append(f"after {script}: {error}")
            return []
        returned = returned[0] if isinstance(returned, tuple) else returned
        offers, count = runtime.host.candidates(returned, lua_text(self.file))
        found = [told(offers[index]) for index in range(1, count + 1)]
        return ["definition", *found] if runtime.guarded(runtime.host.is_a, returned, "nn.Module") else found

    def _sites(self, offer: str) -> list[CallSite]:
        """Where the author's scripts call a function of the file."""
        if not offer.endswith(")"):
            return []
        if offer not in self._known_sites:
            (head, _, parameters), found = offer.rstrip(")").partition("("), []
            most = 99 if "..." in parameters else parameters.count(",") + bool(parameters.strip())
            for script in self._texts():
                found += call_sites(script, self._texts()[script], head, PurePosixPath(self.file).stem)
            text = self.folders.text(self.file)
            found = [site for site in found if site.count <= most] or found  # Lua drops what is too much
            theirs = (site for site in found if not (of := _OF_TORCH.match(site.text)) or of[0] in text)
            self._known_sites[offer] = list(theirs)[:_MOST_CALLS]
        return self._known_sites[offer]

    def _with_options(self, script: str, offer: str, runtime: Runtime) -> list[CallSite]:
        """A call with the script's options: files are chosen by names that are put together, so that no text calls."""
        head, _, parameters = offer.rstrip(")").partition("(")
        listed = [each.strip() for each in parameters.split(",") if each.strip()]
        if not offer.endswith(")") or len(listed) != 1 or listed[0] not in _OPTIONS:
            return []
        names = dict.fromkeys((listed[0], *_OPTIONS))
        held = [name for name in names if runtime.host.variable(lua_text(script), name) is not None]
        held += ["caller.parse(arg)"] if runtime.host.has_parse() else []
        head = re.sub(r"^model\b", "definition", head)
        return [CallSite(script, f"{head}({name})", name, _END) for name in held[:1]]

    def _unknown(self, script: str, site: CallSite, line: int | None, runtime: Runtime) -> list[str]:
        """Variables in the arguments of a call whose values the script had not when it stopped."""
        found: list[str] = []
        text = self._texts()[script]
        for name in names_in(site.arguments):
            base = name.split(".")[0]
            if site.line == _END and base not in _OPTIONS:
                continue
            variable = runtime.host.variable(lua_text(script), lua_text(base))
            until = site.line if site.script == script and line is not None and line < site.line < _END else None
            later = line is not None and is_set_between(text, name, line, until)
            if later and base == name and not is_set_between(text, name, line or 0, until, fields=False):
                later = any(self._reads(field) for field in fields_set_between(text, name, line or 0, until))
            if variable is None or later or (base not in _OPTIONS and is_parameter(self._texts()[site.script], base)):
                found.append(name)
        return list(dict.fromkeys(found))

    def _reads(self, field: str) -> bool:
        """Does the file, or one beside it, read a field of that name?"""
        folder = PurePosixPath(self.file).parent
        texts = [text for name, text in self._texts().items() if PurePosixPath(name).parent == folder]
        return any(re.search(rf"\b{re.escape(field)}\b", text) for text in [self.folders.text(self.file), *texts])

    def _texts(self) -> dict[str, str]:
        """The scripts of the author, without their comments."""
        if self._scripts_text is None:
            names = [script for script in self.folders.scripts() if script != self.file]
            self._scripts_text = {name: without_comments(self.folders.text(name)) for name in names}
        return self._scripts_text

    def _scripts(self) -> list[str]:
        """Scripts that may call the file, those that train first."""
        path = PurePosixPath(self.file)
        stem = path.parent.name if path.stem == "init" else path.stem
        calling = {site.script for offer in self.seen().functions for site in self._sites(offer)}
        ranked = []
        for script, text in self._texts().items():
            loads = bool(re.search(rf"['\"./]{re.escape(stem)}(?:\.lua)?['\"]", text))
            options = bool(re.search(r"\bCmdLine\b|\blapp\b|\.parse\s*\(\s*arg\b", text))
            first, last = bool(_FIRST.search(script)), bool(_LAST.search(script))
            if loads or options or first or script in calling:
                score = 3 * loads + 3 * (script in calling) + 3 * options + 3 * first - 5 * last
                ranked.append((-score, script.count("/"), script))
        return [script for _, _, script in sorted(ranked)]

    # ------------------------------------------------------------------ trying

    def _in_time(self) -> None:
        if time.monotonic() > self._until:
            raise _TimeIsOver

    def _gives(self, changed: dict[str, Any]) -> bool:
        self._in_time()
        try:
            value = self.tools.build(self.job | changed)
            self._error = "it gives no network"
            return isinstance(value, LuaObject)
        except (LuaStopped, CantLeave, NoCall) as error:
            self._error = str(error)
            return False


def _look(runtime: Runtime, file: str) -> _Seen:
    host = runtime.host
    runtime.guarded(host.watch, None)
    returned, error = None, None
    try:
        returned = runtime.guarded(host.run_file, lua_text(file))
    except LuaStopped as stop:
        error = str(stop)
    host.unwatch()
    returned = returned[0] if isinstance(returned, tuple) else returned
    line, names, count, parts, parts_count = runtime.guarded(host.networks, lua_text(file))
    functions, found = host.candidates(returned)
    return _Seen(
        error,
        None if line is None else int(line),
        [told(names[index]) for index in range(1, count + 1)],
        [told(parts[index]) for index in range(1, parts_count + 1)],
        [told(functions[index]) for index in range(1, found + 1)],
    )


def _without_parts(ways: list[Way], text: str) -> list[Way]:
    """Leaves out functions that the file itself calls, while another is left: what they give is a part."""
    quiet = without_comments(text)
    kept = []
    for way in ways:
        name = re.split(r"[.:]", way.job["call"].partition("(")[0])[-1]
        uses = len(
            re.findall(
                rf"(?<!function )(?<![\w]){re.escape(name)}\s*\(", re.sub(r"function\s+[\w.]*[.:]", "function ", quiet)
            )
        )
        if not uses:
            kept.append(way)
    return kept or ways
