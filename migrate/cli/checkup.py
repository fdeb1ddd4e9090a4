"""What this machine has that torchmigrate uses: versions, devices, backends, an old Torch7."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version

from ..base.json_values import JsonValues
from ..model.registry import installed_plugins

#: Packages that only some options need, and what for.
OPTIONAL = {
    "pillow": "extract --png; pip install pillow",
    "fsspec": "files behind URLs; pip install 'fsspec>=2026.6' aiohttp s3fs",
    "ray": "convert --ray; pip install 'ray[client]'",
}

#: Programs that start a Torch7, and the packages that are asked for in it.
_LUA = ("th", "luajit", "lua")
_TORCH7_PACKAGES = ("nn", "nngraph", "rnn", "dpnn", "optim", "cunn", "cudnn")

_ASK = (
    "require 'torch'; io.write('torch7 in ', jit and jit.version or _VERSION, '\\n') "
    "for _, p in ipairs{%s} do if pcall(require, p) then io.write('has ', p, '\\n') end end os.exit(0)"
)

#: Seconds that a Lua may take to answer.
_TIMEOUT = 30


@dataclass
class Torch7:
    """A program that may start a Torch7.

    Attributes:
        command: its name.
        path: where it is.
        works: could it load torch?
        says: its version, or why it could not.
        packages: the packages that it has.
    """

    command: str
    path: str
    works: bool
    says: str
    packages: list[str] = field(default_factory=list)


@dataclass
class Checkup(JsonValues):
    """What a machine has.

    Attributes:
        system: operating system, processor, Python.
        packages: the packages that torchmigrate needs: version, or "missing".
        optional: those that some options need.
        plugins: installed packages whose converters are used.
        devices: name -> description: cpu, cuda:0, …
        providers: what ONNX Runtime can run on.
        programs: other programs that are used where they are there.
        torch7: what may start a Torch7.
        problems: what does not work, and what to do.
    """

    system: dict[str, str]
    packages: dict[str, str]
    optional: dict[str, str]
    plugins: dict[str, str]
    devices: dict[str, str]
    providers: list[str]
    programs: dict[str, str]
    torch7: list[Torch7]
    problems: list[str]


def examine() -> Checkup:
    """Looks at this machine. Nothing is changed; a Lua that is found is asked whether it has torch."""
    problems: list[str] = []
    packages = {name: _version(name) for name in _needed()}
    problems += [f"{name} is missing: install torchmigrate again" for name, v in packages.items() if v == _MISSING]
    devices = _devices(problems)
    providers = _providers(problems)
    if "cuda:0" in devices and "CUDAExecutionProvider" not in providers:
        problems.append("ONNX Runtime runs on the CPU only: pip install onnxruntime-gpu in place of onnxruntime")
    programs = {name: shutil.which(name) for name in ("dot",)}
    return Checkup(
        system={
            "torchmigrate": _version("torchmigrate"),
            "python": f"{platform.python_version()} ({platform.python_implementation()})",
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "executable": _short(sys.executable),
        },
        packages=packages,
        optional={name: _version(name) for name in OPTIONAL},
        plugins=installed_plugins(),
        devices=devices,
        providers=providers,
        programs={name: _short(path) for name, path in programs.items() if path},
        torch7=find_torch7(),
        problems=problems,
    )


_MISSING = "missing"


def _needed() -> list[str]:
    """The names of the packages that torchmigrate depends on."""
    try:
        lines = requires("torchmigrate") or []
    except PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return _MISSING


def _short(path: str) -> str:
    """A path to be pasted into a report, without the name of its user."""
    home = os.path.expanduser("~")
    return f"~{path[len(home) :]}" if home != "/" and path.startswith(f"{home}{os.sep}") else path


def _devices(problems: list[str]) -> dict[str, str]:
    try:
        import torch
    except (ImportError, OSError) as error:
        problems.append(f"PyTorch can't be loaded: {error}")
        return {}
    found = {"cpu": f"{os.cpu_count()} cores, PyTorch uses {torch.get_num_threads()}"}
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(i)
            cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
            found[f"cuda:{i}"] = (
                f"{device.name}, {device.total_memory / 2**30:.0f} GiB, capability {device.major}.{device.minor}, "
                f"CUDA {torch.version.cuda}, cuDNN {cudnn}"
            )
    elif torch.version.cuda is not None and shutil.which("nvidia-smi"):
        problems.append(f"PyTorch was built for CUDA {torch.version.cuda} but finds no GPU, although there is a driver")
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU (not used by verify)"
    return found


def _providers(problems: list[str]) -> list[str]:
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        problems.append(f"ONNX Runtime can't be loaded: {error}")
        return []
    return [str(name) for name in onnxruntime.get_available_providers()]


def find_torch7(commands: Sequence[str] = _LUA) -> list[Torch7]:
    """The programs on the PATH that may start a Torch7, each asked whether it does.

    Args:
        commands: names of programs.
    """
    found = []
    for command in commands:
        path = shutil.which(command)
        if path is not None:
            works, says, packages = _ask(path)
            found.append(Torch7(command, _short(path), works, says, packages))
    return found


def _ask(path: str) -> tuple[bool, str, list[str]]:
    names = ", ".join(f"'{name}'" for name in _TORCH7_PACKAGES)
    try:
        done = subprocess.run(
            [path, "-e", _ASK % names],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"did not answer: {type(error).__name__}", []
    lines = done.stdout.splitlines()
    says = next((line for line in lines if line.startswith("torch7 in ")), None)
    if says is None:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        return False, f"no torch: {said[0][:160]}" if said else "no torch", []
    return True, says, [line.removeprefix("has ") for line in lines if line.startswith("has ")]
