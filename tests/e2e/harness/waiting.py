"""Waiting for what comes soon, or never."""
import time


def wait_for(condition, what, timeout):
    """Looks every 20 ms; `what` says what is wrong when it is not so within so many seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
