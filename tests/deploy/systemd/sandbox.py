#!/usr/bin/python3
"""Runs a command under what a unit allows in system calls and memory, where no systemd is the first process:
sandbox.py UNIT COMMAND...

Of the unit: SystemCallFilter with SystemCallErrorNumber=EPERM, MemoryDenyWriteExecute, NoNewPrivileges, and
ProtectKernelTunables in a mount namespace that the caller made. Users and capabilities are left to setpriv.
"""
import configparser
import ctypes
import errno
import mmap
import os
import subprocess
import sys

# seccomp.h
ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
MASKED_EQUAL = 7


class Condition(ctypes.Structure):
    """struct scmp_arg_cmp: (argument number `arg` & a) == b"""
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def names_of(word):
    """The system calls that a word of SystemCallFilter means."""
    if not word.startswith("@"):
        return {word}
    lines = subprocess.run(["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True).stdout
    members = [line.strip() for line in lines.splitlines()[1:]]
    return set().union(*(names_of(member) for member in members if member and not member.startswith("#")))


class Filter:
    def __init__(self, otherwise):
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))
        assert self._context

    def add(self, action, name, *conditions):
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:   # of another architecture, or newer than the library
            return
        failed = self._library.seccomp_rule_add_array(self._context, ctypes.c_uint32(action), number, len(conditions),
                                                      (Condition * len(conditions))(*conditions))
        assert failed == 0, f"{name}: {os.strerror(-failed)}"

    def load(self):
        failed = self._library.seccomp_load(self._context)
        assert failed == 0, os.strerror(-failed)


def main():
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(sys.argv[1])
    service = unit["Service"]
    wanted = {"SystemCallErrorNumber": "EPERM", "MemoryDenyWriteExecute": "yes", "NoNewPrivileges": "yes",
              "ProtectKernelTunables": "yes"}
    assert wanted.items() <= dict(service).items(), "the unit has changed: this imitates another one"
    for path in ("/proc/sys", "/sys"):
        subprocess.run(["mount", "--bind", path, path], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
    calls = Filter(REFUSE)
    for name in set().union(*map(names_of, service["SystemCallFilter"].split())):
        calls.add(ALLOW, name)
    memory = Filter(ALLOW)
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    memory.add(REFUSE, "mmap", Condition(2, MASKED_EQUAL, both, both))
    for name in ("mprotect", "pkey_mprotect"):
        memory.add(REFUSE, name, Condition(2, MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
    memory.load()
    calls.load()
    os.execvp(sys.argv[2], sys.argv[2:])


main()
