"""Runs the command line where a process that opens a socket to a network is killed at once (Linux, seccomp).

python tests/network/guard.py convert model.t7 -o model
"""

from __future__ import annotations

import ctypes
import platform
import socket
import struct
import sys

#: Number of the architecture, of the system call `socket`.
_CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


def is_possible() -> bool:
    """Does this machine have what it takes?"""
    return sys.platform == "linux" and platform.machine() in _CALLS


def close_the_network() -> None:
    """From now on this process and its children die when they open a socket of AF_INET or AF_INET6."""
    architecture, call = _CALLS[platform.machine()]
    program = [
        (_LOAD, 0, 0, 4),  # the architecture
        (_EQUAL, 0, 8, architecture),
        (_LOAD, 0, 0, 0),  # the system call
        (_EQUAL, 0, 6, call),
        (_LOAD, 0, 0, 16),  # its first argument
        (_EQUAL, 1, 0, socket.AF_INET),
        (_EQUAL, 0, 3, socket.AF_INET6),
        (_LOAD, 0, 0, 24),  # its second: with it, and without flags, libuuid asks for the address of the card
        (_EQUAL, 1, 0, socket.SOCK_DGRAM),
        (_RETURN, 0, 0, _KILL),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    described = ctypes.create_string_buffer(struct.pack("HL", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SECCOMP, _FILTER, described, 0, 0):
        raise OSError(ctypes.get_errno(), "the network can't be closed")


if __name__ == "__main__":
    close_the_network()
    if sys.argv[1] == "--open":  # shows that the guard works
        socket.socket(socket.AF_INET)
    from torchmigrate.cli.main import main

    main(sys.argv[1:])
