"""A running test program of tests/go_programs, told what to do over its stdin and answering over its stdout, by lines."""
import os
import select
import subprocess
import time


class Child:
    def __init__(self, *command, stderr=None, greets=True, **environment):
        """greets: it says something when it is ready, which is then in `greeting`."""
        self.binary = command[0]
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=stderr, env={"PATH": "/usr/bin:/bin", **environment})
        self.pid = self.process.pid
        self._pending = b""
        self._readable = select.poll()   # select() knows 1024 descriptors only
        self._readable.register(self.process.stdout, select.POLLIN)
        try:
            self.greeting = self.line() if greets else None
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def tell(self, command):
        os.write(self.process.stdin.fileno(), command.encode() + b"\n")

    def line(self, timeout=120):
        """The next line that it says."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            assert left > 0, f"{self.binary}, pid {self.pid}, does not answer"
            if self._readable.poll(left * 1000):
                more = os.read(self.process.stdout.fileno(), 1 << 16)
                assert more, f"{self.binary}, pid {self.pid}, has ended with {self.process.wait()}"
                self._pending += more
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode()

    def ask(self, command, timeout=120):
        """The answer of a program that says one line."""
        self.tell(command)
        return self.line(timeout)


class Answering(Child):
    """One whose answers end with a line "ok", as its greeting does."""

    def ask(self, command, timeout=120):
        """The lines before that one, each as its words."""
        self.tell(command)
        lines = []
        while (line := self.line(timeout)) != "ok":
            lines.append(line.split())
        return lines

    def numbers(self, command):
        return [[int(word) for word in words] for words in self.ask(command)]
