"""A thread that stands still while all the others of its process go on, as one does that hangs in the kernel."""
import contextlib
import subprocess
import sys

# A process of its own: a thread belongs to the thread that traces it, and is let go when that one ends.
TRACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes, libc.ptrace.restype = [ctypes.c_long] * 4, ctypes.c_long
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
tid = int(sys.argv[1])
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, tid, 0, 0) != 0:
        sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")
os.waitpid(tid, WALL)
print("stopped", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def stopped_thread(tid):
    with subprocess.Popen([sys.executable, "-c", TRACER, str(tid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout.readline() == b"stopped\n"
        yield
