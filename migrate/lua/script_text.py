"""What the text of an author's script says: where it calls a function, and what it does to a name further on."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

#: Strings and comments, in the order in which they must be looked for.
_QUIET = re.compile(
    r"--\[(?P<a>=*)\[.*?\](?P=a)\]|--[^\n]*|\[(?P<b>=*)\[.*?\](?P=b)\]|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S
)
_NAME = re.compile(r"(?<![\w.:])[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*(?!\w)")
_WORDS = frozenset(
    (
        *("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil"),
        *("not", "or", "repeat", "return", "then", "true", "until", "while"),
    )
)
#: Methods after which a network has the layers that it had.
_KEEPS = (
    *("forward", "backward", "updateOutput", "updateGradInput", "accGradParameters", "getParameters", "parameters"),
    *("training", "evaluate", "zeroGradParameters", "updateParameters", "float", "double", "cuda", "cl", "type"),
    *("clearState", "reset", "listModules", "findModules", "get", "size"),
)
#: Functions that get a network and leave its layers as they are.
_LOOKS = re.compile(
    r"(?:\bprint|\btostring|\btorch\.\w+|\boptim\.\w+|\bcudnn\.\w+|\bnn\.StochasticGradient|\bassert)\s*\($"
)
_PARAMETERS = re.compile(r"\bfunction\b[^(\n]*\(([^)]*)\)")


#: A table that is written with numbers as keys.
_HASHED = re.compile(r"(?:[=,({\[;]|\b(?:return|in|and|or|not))\s*(?=\{\s*\[\s*\d+\s*\]\s*=)")

#: Functions that other packages have under the same name.
_OF_TORCH = re.compile(r"(?:nn|cudnn|torch|math|string|table|image|optim|paths|xlua)\.\w+")
_FIRST = re.compile(r"(^|/)(main|train|run|start)\w*\.lua$", re.I)
_LAST = re.compile(r"(^|/|_)(test|eval|evaluate|sample|demo|predict|infer|convert|extract|example|bench)", re.I)


@dataclass(frozen=True)
class CallSite:
    """A call in a script.

    Attributes:
        script: the file.
        text: the expression, such as `LSTM.lstm(vocab_size, opt.rnn_size)`.
        arguments: what stands in its brackets.
        line: where.
    """

    script: str
    text: str
    arguments: str
    line: int

    @property
    def count(self) -> int:
        """How many arguments there are."""
        depth, commas = 0, 0
        for letter in without_comments(self.arguments, strings=True):
            depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(letter, 0)
            commas += letter == "," and depth == 0
        return commas + bool(self.arguments.strip())


def without_comments(text: str, *, strings: bool = False) -> str:
    """The text with comments as blanks (with `strings`, those as well), every character in its place."""

    def blank(found: re.Match[str]) -> str:
        if found[0].startswith("--") or strings:
            return re.sub(r"[^\n]", " ", found[0])
        return found[0]

    return _QUIET.sub(blank, text)


def with_marked_tables(text: str) -> str:
    """The text with a call of `__hashed` before each table like `{[1] = a}`, whose order no engine promises."""
    if not re.search(r"\{\s*\[\s*\d", text):
        return text
    ends = [found.end() for found in _HASHED.finditer(without_comments(text, strings=True))]
    parts = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    return " __hashed".join(parts)


def call_sites(script: str, text: str, name: str, stem: str) -> list[CallSite]:
    """Where a script calls a function of a file.

    Args:
        script: its name.
        text: of it.
        name: the function as the file offers it: a global, `model.NAME` of the table that it returned, or `model`, the
            function that it returned.
        stem: the last part of the file's name, without its ending.
    """
    plain = without_comments(text)
    last = re.split(r"[.:]", name)[-1]
    if name == "model":
        head = rf"require\s*\(?\s*['\"][\w./]*\b{re.escape(stem)}(?:\.lua)?['\"]\s*\)?"
        names = [re.escape(found) for found in re.findall(rf"(\w+)\s*=\s*{head}", plain)]
        pattern = rf"(?<![\w.:])(?:{'|'.join([head, *names])})\s*\("
    elif name == last:
        pattern = rf"(?<![\w.:]){re.escape(name)}\s*\("
    else:
        pattern = rf"(?<![\w.:])[A-Za-z_][\w.]*[.:]{re.escape(last)}\s*\("
    found = []
    for match in re.finditer(pattern, plain):
        end = _closing(plain, match.end())
        before = plain[max(0, match.start() - 12) : match.start()]
        if end is None or re.search(r"\bfunction\s*$", before):
            continue
        line = plain.count("\n", 0, match.start()) + 1
        arguments = plain[match.end() : end - 1]
        call = f"definition({arguments})" if name == "model" else plain[match.start() : end]
        call = re.sub(r"\s*\n\s*", " ", call)
        found.append(CallSite(script, call, arguments, line))
    return found


def sites_of(offer: str, texts: Mapping[str, str], text: str, stem: str) -> list[CallSite]:
    """Where scripts call a function of a file.

    Args:
        offer: the function with the names of its parameters.
        texts: of the scripts.
        text: of the file.
        stem: the last part of the file's name, without its ending.
    """
    head, _, parameters = offer.rstrip(")").partition("(")
    most = 99 if "..." in parameters else parameters.count(",") + bool(parameters.strip())
    found = [site for script in texts for site in call_sites(script, texts[script], head, stem)]
    found = [site for site in found if site.count <= most] or found  # Lua drops what is too much
    return [site for site in found if not (of := _OF_TORCH.match(site.text)) or of[0] in text]


def _closing(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one before `start`."""
    quiet, depth = without_comments(text, strings=True), 1
    for at in range(start, len(quiet)):
        depth += {"(": 1, ")": -1}.get(quiet[at], 0)
        if depth == 0:
            return at + 1
    return None


def ranked(texts: Mapping[str, str], stem: str, calling: Collection[str]) -> list[str]:
    """The scripts that may call a file, those that train first.

    Args:
        texts: of the scripts, without their comments.
        stem: by which name they may load the file.
        calling: those that call a function of it.
    """
    found = []
    for script, text in texts.items():
        loads = bool(re.search(rf"['\"./]{re.escape(stem)}(?:\.lua)?['\"]", text))
        options = bool(re.search(r"\bCmdLine\b|\blapp\b|\.parse\s*\(\s*arg\b", text))
        first, last = bool(_FIRST.search(script)), bool(_LAST.search(script))
        if loads or options or first or script in calling:
            score = 3 * loads + 3 * (script in calling) + 3 * options + 3 * first - 5 * last
            found.append((-score, script.count("/"), script))
    return [script for _, _, script in sorted(found)]


def names_in(expression: str) -> list[str]:
    """The variables and their fields that an expression reads, such as `opt.rnn_size`."""
    quiet = without_comments(expression, strings=True)
    quiet = re.sub(r"([{,]\s*)[A-Za-z_]\w*\s*=(?!=)", r"\1", quiet)  # keys of tables
    found = [re.sub(r"\s", "", name) for name in _NAME.findall(quiet)]
    return [name for name in dict.fromkeys(found) if name.split(".")[0] not in _WORDS]


def is_parameter(text: str, name: str) -> bool:
    """Has a function of the script a parameter of that name, so that it may stand for another value there?"""
    quiet = without_comments(text, strings=True)
    return any(name in re.split(r"\W+", found) for found in _PARAMETERS.findall(quiet))


def is_set_between(text: str, name: str, after: int, before: int | None = None, *, fields: bool = True) -> bool:
    """Is a variable, or with `fields` a field of it, assigned after one line and before another, or the end?"""
    below = r"(?:\.\s*\w+\s*|\[[^\]]*\]\s*)*" if fields else ""
    target = rf"(?<![\w.:]){re.escape(name)}\s*{below}"
    return bool(re.search(rf"{target}(?:,[^=\n]*)?=(?!=)", _lines(text, after, before)))


def fields_set_between(text: str, name: str, after: int, before: int | None = None) -> list[str]:
    """The fields of a variable that are assigned there; one whose name is worked out counts by the words in it."""
    found = re.findall(rf"(?<![\w.:]){re.escape(name)}\s*([.\[][^=\n]*?)=(?!=)", _lines(text, after, before))
    return [word for words in found for word in re.findall(r"\w+", words)]


def targets_in(text: str) -> list[str]:
    """The variables and fields that a text assigns, by their names; an entry of a table counts as the table."""
    quiet = without_comments(text, strings=True)
    found = re.findall(r"(?<![\w.:])([A-Za-z_]\w*(?:\.\w+)*)\s*(?:\[[^\]\n]*\]\s*)?(?:,[^=\n()]*)?=(?!=)", quiet)
    own = set(re.findall(r"\blocal\s+(\w+)", quiet))
    return [name for name in dict.fromkeys(found) if name.split(".")[0] not in own | _WORDS]


def _lines(text: str, after: int, before: int | None) -> str:
    return "\n".join(without_comments(text, strings=True).split("\n")[after : None if before is None else before])


def is_whole(text: str, stopped: int, names: list[str]) -> bool:
    """Is a network as the script would have it, which stopped at a line: is it only used from there on?

    Args:
        text: of the script.
        stopped: the line, counted from 1.
        names: the variables with the network and with parts of it.
    """
    quiet = without_comments(text, strings=True)
    rest = "\n".join(quiet.split("\n")[min(stopped, _loop_around(quiet, stopped)) - 1 :])
    return all(_only_used(rest, name.split(".")[0]) for name in names)


def _loop_around(quiet: str, line: int) -> int:
    """The line on which the outermost loop begins that is open at a line; that line where there is none."""
    before = "\n".join(quiet.split("\n")[: line - 1])
    open_blocks: list[tuple[str, int]] = []
    awaited = 0
    for found in re.finditer(r"\b(function|if|for|while|repeat|do|end|until)\b", before):
        word = found[1]
        if word in ("end", "until"):
            open_blocks = open_blocks[:-1]
        elif word == "do" and awaited:
            awaited -= 1
        else:
            awaited += word in ("for", "while")
            open_blocks.append((word, before.count("\n", 0, found.start()) + 1))
    return next((at for word, at in open_blocks if word in ("for", "while", "repeat")), line)


def _only_used(rest: str, name: str) -> bool:
    for found in re.finditer(rf"(?<![\w.:]){re.escape(name)}(?!\w)", rest):
        behind, before = rest[found.end() :], rest[: found.start()]
        method = re.match(r"\s*:\s*(\w+)", behind)
        if method is not None:
            if method[1] not in _KEEPS:
                return False
            continue
        if re.match(r"\s*(?:\.\s*\w+\s*|\[[^\]]*\]\s*)*(?:,[^=\n]*)?=(?!=)", behind) or re.match(r"\s*[({]", behind):
            return False
        if re.match(r"\s*(?:\.|\[)", behind):  # a field is read
            if re.match(r"[\s.\w\[\]]*:\s*(?:add|insert|remove|replace|apply)\b", behind):
                return False
            continue
        if re.search(r"(?:=|\breturn|\bif|\band|\bor|\bnot|\bthen)\s*$", before):  # another name for it
            return False
        if not _LOOKS.search(before.rstrip() if before.rstrip().endswith("(") else before):
            return False
    return True


def is_called(text: str, function: str) -> bool:
    """Does a text call a function, beside where it is defined?"""
    name = re.split(r"[.:]", function)[-1]
    quiet = re.sub(r"function\s+[\w.]*[.:]", "function ", without_comments(text))
    return bool(re.search(rf"(?<!function )(?<![\w]){re.escape(name)}\s*\(", quiet))
