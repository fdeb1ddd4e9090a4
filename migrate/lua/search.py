"""Finds out how a file gives its network: by its own variables, its functions, or as the author's scripts call it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from .author_scripts import AuthorScripts
from .callers import (
    NoCall,
    Seen,
    asked_by,
    choosing_option,
    got_by,
    is_of_another_file,
    is_unknown,
    look,
    lua_text,
    run_caller,
    unknown_fields,
)
from .folders import Folders
from .result import CantLeave
from .runtime import LuaStopped, Runtime, told
from .script_text import (
    CallSite,
    is_called,
    is_parameter,
    is_set_between,
    is_whole,
    names_in,
    ranked,
)
from .sizes import OPTIONS, how_to_pass, is_given, option_of, solved, with_option
from .ways import Tools, Way

#: Options as a file of their own gives them.
_PARSED = "caller.parse(arg)"
_MOST_SCRIPTS = 8
_MOST_CALLS = 8
#: The line of a call that stands in no text.
_END = 1 << 30


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
    places = [looking.variables, looking.functions, looking.callers, looking.parameters]
    for ways in places[2:3] if job.get("caller") else places:
        try:
            for found in ways():
                if len(found) == 1:
                    return found[0]
                offered += found
        except _TimeIsOver:
            break
    if (only := looking.fitting(offered)) is not None:
        return only
    if offered:
        raise NoCall(looking.offers(), tuple(dict.fromkeys(way.said for way in offered)))
    if isinstance(first, NoCall):
        raise NoCall(first.calls, tuple(looking.unknown), tuple(looking.names))
    if looking.unknown:
        tried = "".join(f"\n  {line}" for line in looking.unknown[:_MOST_CALLS])
        raise LuaStopped(f"{first}\nThe author's scripts were tried:{tried}{how_to_pass(looking.names)}")
    raise first


class _TimeIsOver(Exception):
    """The time for looking is over."""


class _Search:
    def __init__(self, job: dict[str, Any], folders: Folders, tools: Tools, until: float) -> None:
        self.job, self.folders, self.tools, self._until = job, folders, tools, until
        self.file: str = job["file"]
        self._more: dict[str, Any] = {}
        self.unknown: list[str] = []
        self.names: list[str] = []
        self._error = ""
        self._seen: Seen | None = None
        self._unknown_sites: set[CallSite] = set()
        self.scripts = AuthorScripts(folders, self.file)

    # ------------------------------------------------------------------ the file by itself

    def seen(self) -> Seen:
        if self._seen is None:
            while True:
                self._in_time()
                runtime = self.tools.start({})
                self._seen = look(runtime, self.file)
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
            takes = given and len(listed) == 1 and listed[0] in (name, *OPTIONS)
            # what stands in a table that the file returned, or a function
            if call.startswith("model.") if not call.endswith(")") else (not listed or takes):
                text = f"{head}({name if listed else ''})" if call.endswith(")") else call
                if self._gives({"call": text}):
                    found.append(Way({"call": text}, f"--call '{text}'"))
        yield self._whole(found)

    def parameters(self) -> Iterator[list[Way]]:
        """Functions whose parameters are named as options that were given; one may follow from the weights."""
        found = []
        for call in self.seen().functions:
            listed = names_in(call.partition("(")[2].removesuffix(")"))
            unknown = [name for name in listed if not is_given(self.job, name)]
            said = f"--call '{call}'"
            if not listed or "..." in call or len(unknown) > 1:
                continue
            if not unknown and self._gives({"call": call}):
                found.append(Way({"call": call}, said))
            elif unknown and (way := self._solved({"call": call}, unknown, said)) is not None:
                found.append(way)
        yield self._whole(found)

    # ------------------------------------------------------------------ the author's scripts

    def callers(self) -> Iterator[list[Way]]:
        """What the scripts get from the file; and its functions, with what the scripts would give them."""
        named = [self.job["caller"]] if self.job.get("caller") else None
        for script in named or self._scripts()[:_MOST_SCRIPTS]:
            yield from self._caller(script)

    def _caller(self, script: str) -> Iterator[list[Way]]:
        job = self.job | {"caller": script}
        while True:
            self._in_time()
            runtime = self.tools.start(self._more | {"caller": script})
            error = run_caller(runtime, job)
            if (networks := got_by(runtime)) or error is None or not self.tools.brings(error):
                break
        found = []
        own = all(runtime.host.has_told(lua_text(name)) for name in self.job.get("options") or ())
        for got in networks if own else []:  # else they would be of the script's own options
            said = f"--caller {script} --call '{got.name}'"
            way = Way({"caller": script, "call": got.name}, said)
            if got.kinds > 1:
                self.unknown.append(f"{said} (it gives {got.kinds} different networks, the first in {got.where})")
            elif self._gives(way.job):
                found.append(way)
        found = found or self._chosen(script, runtime) or self._calls(script, runtime, error)
        asked = asked_by(runtime)
        if not found and len(asked) == 1 and (solution := self._told(script, asked[0])) is not None:
            found = [solution]
        for name in asked if not found else []:
            if option_of(name) not in self.names:
                self.names.append(option_of(name))
                self.unknown.append(f"--caller {script} (not known: {name}, with which it makes layers)")
        yield found

    def _chosen(self, script: str, runtime: Runtime) -> list[Way]:
        """What a script that has loaded another file in place of this one gets where its option chooses this one."""
        if self._more or runtime.host.has_run(lua_text(self.file)) or self.job.get("options") is not None:
            return []
        folder = PurePosixPath(self.file).parent
        beside = {path.stem for path in map(PurePosixPath, self.scripts.texts) if path.parent == folder}
        option = choosing_option(runtime, self.file, beside)
        if option is None or self.job.get("arguments") is not None:
            return []
        inner = _Search(self.job, self.folders, self.tools, self._until)
        inner._more = with_option(self.job, *option)
        inner.job = self.job | inner._more
        caller = f"--caller {script}"
        said = (caller, f"{caller} --opt {option[0]}={option[1]}")
        return [
            Way(inner._more | way.job, way.said.replace(*said, 1)) for ways in inner._caller(script) for way in ways
        ]

    def _told(self, script: str, name: str) -> Way | None:
        """What a script gets once it is told the one number that it had not, if the weights tell that."""
        if self.job.get("wanted") is None or self.job.get("options"):
            return None
        job = {"caller": script} | with_option(self.job, name, 64)
        runtime = self.tools.start(job)
        run_caller(runtime, self.job | job)
        calls = [got.name for got in got_by(runtime) if got.kinds == 1]
        said = f"--caller {script} --call '{calls[0]}'" if len(calls) == 1 else ""
        return self._solved({"caller": script, "call": calls[0]}, [name], said) if said else None

    def _calls(self, script: str, runtime: Runtime, error: str | None) -> list[Way]:
        """Calls in the text of the scripts, with the variables that this one had at its end or where it stopped."""
        stopped, *_ = runtime.guarded(runtime.host.networks, lua_text(script))
        line = None if stopped is None else int(stopped)
        found: dict[str, Way] = {}
        offers = self._offers_after(script, runtime)
        if offers[:1] == ["definition"] and self._gives({"caller": script, "call": "definition"}):
            return [Way({"caller": script, "call": "definition"}, f"--caller {script} --call 'definition'")]
        for offer in offers:
            if offer in self.seen().others:
                continue
            head, sites = offer.partition("(")[0], self.scripts.sites(offer)
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
                if is_of_another_file(runtime, script, site.text, self.file):
                    continue
                unknown = self._unknown(script, site, line, runtime)
                said = f"--caller {script} --call '{site.text}'"
                if (way := self._solved({"caller": script, "call": site.text}, unknown, said)) is not None:
                    found.setdefault(head, way)
                elif unknown:
                    if site in self._unknown_sites:
                        continue
                    self._unknown_sites.add(site)
                    self.names += [option_of(name) for name in unknown if option_of(name) not in self.names]
                    stop = self._none_fits(unknown)
                    stop += "" if error is None else f"; {script} stopped: {error}"
                    place = "" if site.line == _END else f"{site.script}:{site.line} calls it so; "
                    self.unknown.append(f"{said} ({place}not known: {', '.join(unknown)}{stop})")
                elif head in found:
                    continue
                elif not self._gives({"caller": script, "call": site.text}):
                    self.unknown.append(f"{said} (it fails: {self._error})")
                else:
                    found[head] = Way({"caller": script, "call": site.text}, said)
        return self._whole(list(found.values()))

    def _offers_after(self, script: str, runtime: Runtime) -> list[str]:
        """The functions of the file in the state that a script left."""
        if self.seen().error is None:
            return [*self.seen().functions, *self._put_into(runtime)]
        try:
            returned = runtime.guarded(runtime.host.run_file, lua_text(self.file))
        except LuaStopped as error:
            self.unknown.append(f"after {script}: {error}")
            return []
        returned = returned[0] if isinstance(returned, tuple) else returned
        offers, count = runtime.host.candidates(returned, lua_text(self.file))
        found = [told(offers[index]) for index in range(1, count + 1)]
        return ["definition", *found] if runtime.guarded(runtime.host.is_a, returned, "nn.Module") else found

    def _put_into(self, runtime: Runtime) -> list[str]:
        """Networks that the script's calls put into the table that the file returned."""
        held, count = runtime.host.held(runtime.host.returned())
        found = (f"model.{told(held[index])}" for index in range(1, count + 1))
        return [name for name in found if name not in self.seen().functions]

    def _with_options(self, script: str, offer: str, runtime: Runtime) -> list[CallSite]:
        """A call with the script's options: files are chosen by names that are put together, so that no text calls."""
        head, _, parameters = offer.rstrip(")").partition("(")
        listed = [each.strip() for each in parameters.split(",") if each.strip()]
        if not offer.endswith(")") or len(listed) != 1 or listed[0] not in OPTIONS:
            return []
        names = dict.fromkeys((listed[0], *OPTIONS))
        held = [name for name in names if runtime.host.variable(lua_text(script), name) is not None]
        held += [_PARSED] if runtime.host.has_parse() else []
        head = re.sub(r"^model\b", "definition", head)
        return [CallSite(script, f"{head}({name})", name, _END) for name in held[:1]]

    def _unknown(self, script: str, site: CallSite, line: int | None, runtime: Runtime) -> list[str]:
        """Variables in the arguments of a call whose values the script had not when it stopped."""
        text = self.scripts.texts[script]
        if site.arguments == _PARSED:  # what other scripts do to the options comes behind that
            others = [other for name, other in self.scripts.texts.items() if name != script]
            found = [
                field for other in others for name in OPTIONS for field in self.scripts.fields_set(other, name, 0, None)
            ]
            return list(dict.fromkeys(field for field in found if not is_given(self.job, field)))
        found = []
        for name in names_in(site.arguments):
            base = name.split(".")[0]
            given, all_options = is_given(self.job, name), base == name and base in OPTIONS
            if (site.line == _END and base not in OPTIONS) or (given and not all_options):
                continue
            variable = runtime.host.variable(lua_text(script), lua_text(base))
            until = site.line if site.script == script and line is not None and line < site.line < _END else None
            later = line is not None and is_set_between(text, name, line, until)
            if later and base == name and not is_set_between(text, name, line or 0, until, fields=False):
                fields = self.scripts.fields_set(text, name, line or 0, until)
                later = bool(fields)
                if variable is not None and later:
                    found += [field for field in fields if not is_given(self.job, field)]
                    continue
            if variable is None and all_options and given:
                continue
            if all_options and variable is not None:
                found += self._unset(unknown_fields(runtime, base, variable))
            parameter = base not in OPTIONS and is_parameter(self.scripts.texts[site.script], base)
            if variable is None or later or parameter or is_unknown(runtime, script, name):
                found.append(name)
        return list(dict.fromkeys(found))

    def _unset(self, fields: list[str]) -> list[str]:
        """Those that the file reads, and that no option gives."""
        return [field for field in fields if self.scripts.reads(option_of(field)) and not is_given(self.job, field)]

    def _scripts(self) -> list[str]:
        """Scripts that may call the file, those that train first."""
        path = PurePosixPath(self.file)
        stem = path.parent.name if path.stem == "init" else path.stem
        calling = {site.script for offer in self.seen().functions for site in self.scripts.sites(offer)}
        return [script for script in ranked(self.scripts.texts, stem, calling) if self.scripts.may_load(script)]

    # ------------------------------------------------------------------ trying

    def fitting(self, ways: list[Way]) -> Way | None:
        """The one of several networks that has as many parameters as the weights are."""
        numbers = (self.job.get("wanted") or {}).get("numbers")
        fits = [way for way in ways if numbers and self._count(way.job) == numbers]
        why = f"it alone has the {numbers:,} parameters of the weights" if fits else ""
        return Way(fits[0].job, f"{fits[0].said} ({why})") if len(fits) == 1 else None

    def _whole(self, ways: list[Way]) -> list[Way]:
        """Leaves out functions that the file itself calls, while another is left: what they give is a part."""
        text = self.folders.text(self.file)
        return [way for way in ways if not is_called(text, way.job["call"].partition("(")[0])] or ways

    def _in_time(self) -> None:
        if time.monotonic() > self._until:
            raise _TimeIsOver

    def _gives(self, changed: dict[str, Any]) -> bool:
        self._in_time()
        return self._count(changed) is not None

    def _count(self, changed: dict[str, Any]) -> int | None:
        self._error = "it gives no network"
        try:
            return self.tools.build(self.job | changed)
        except (LuaStopped, CantLeave, NoCall) as error:
            self._error = str(error)
            return None

    def _none_fits(self, unknown: list[str]) -> str:
        wanted = self.job.get("wanted")
        if wanted is None or len(unknown) != 1:
            return ""
        return f"; no whole number for it alone is the only one that gives {wanted['numbers']:,} parameters"

    def _solved(self, changed: dict[str, Any], unknown: list[str], said: str) -> Way | None:
        """A call with one unknown, if only one whole number for it gives as many parameters as the weights are."""
        wanted = self.job.get("wanted")
        if wanted is None or len(unknown) != 1:
            return None
        name = unknown[0]

        def built(size: int) -> int | None:
            self._in_time()
            return self._count(changed | with_option(self.job, name, size))

        size = solved(wanted["numbers"], built)
        if size is None:
            return None
        why = f"{size} is the only whole number with which it has the {wanted['numbers']:,} parameters of the weights"
        job = changed | with_option(self.job, name, size)
        return Way(job, f"{said} --opt {option_of(name)}={size} ({why})")
