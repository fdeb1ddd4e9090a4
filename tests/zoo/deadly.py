"""Files that end the worker which converts them, and two that don't."""

from __future__ import annotations

import json
from pathlib import Path

import lua

import torchmigrate as tm

_PLUGIN = """
import os, pathlib, signal, sys, time
from torchmigrate import Layer, converts

@converts("my.Bomb")
def bomb(layer: Layer):
    '''my.Bomb()'''
    print("tick", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

@converts("my.Sleeper")
def sleeper(layer: Layer):
    '''my.Sleeper()'''
    try:
        time.sleep(600)
    finally:
        (pathlib.Path(__file__).parent / "removed").touch()

@converts("my.Quitter")
def quitter(layer: Layer):
    '''my.Quitter()'''
    os._exit(0)

@converts("my.Exit")
def leave(layer: Layer):
    '''my.Exit()'''
    sys.exit(7)

@converts("my.Fault")
def fault(layer: Layer):
    '''my.Fault()'''
    raise AssertionError("not like this")
"""
_DEADLY = ("bomb", "exit", "quitter", "sleeper")


def files(folder: Path) -> list[str]:
    """Writes the files; returns what `convert` is called with."""
    (folder / "plugin.py").write_text(_PLUGIN)
    for name in (*_DEADLY, "fault"):
        tm.dump(lua.sequential(lua.module(f"my.{name.capitalize()}")), folder / f"{name}.t7")
    for i in range(2):
        tm.dump(lua.linear(3, 2), folder / f"last{i}.t7")
    return [*map(str, sorted(folder.glob("*.t7"))), "--plugin", str(folder / "plugin.py")]


def messages_of(printed: str) -> dict[str, str]:
    """Name -> message of what died, after a look at the rest of what --json printed."""
    rows = {row["name"]: row for row in json.loads(printed)["files"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        **dict.fromkeys(_DEADLY, "died"),
        "fault": "fault",
        "last0": "converted",
        "last1": "converted",
    }
    assert "not like this" in rows["fault"]["message"]
    return {name: rows[name]["message"] for name in _DEADLY}
