# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""What the tests with other people's programs share: the plug-in loaded into them, a terminal.

The library is that of the build folder (SLUICE_NET_EMU, set by meson). Programs run through
with-plugin, which needs root. Nothing here waits without a deadline.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WITH_PLUGIN = os.path.join(HERE, "with-plugin")
PLUGIN = "/mnt/librte_net_emu.so"
LIBRARY = os.environ.get("SLUICE_NET_EMU", "")

failures = 0
checks = 0


def check(ok, what, detail=""):
    global failures, checks
    checks += 1
    print("%s %s" % ("ok  " if ok else "FAIL", what), flush=True)
    if not ok:
        failures += 1
        if detail:
            print("     " + str(detail).strip().replace("\n", "\n     "), flush=True)
    return ok


def finish():
    print("%d checks, %d failed" % (checks, failures))
    sys.exit(1 if failures else 0)


def need(*programs):
    """Exit 77, which meson counts as skipped and scripts/test as a failure."""
    missing = [p for p in programs if shutil.which(p) is None and not os.path.exists(p)]
    if os.geteuid() != 0:
        missing.append("root")
    if not LIBRARY:
        missing.append("SLUICE_NET_EMU (run by meson test)")
    if missing:
        print("skipped: missing " + ", ".join(missing))
        sys.exit(77)


def cpus():
    """Two CPUs for a program; on a machine of one, the same twice."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[1 % len(allowed)]


def eal_args(vdev, memory=256):
    first, second = cpus()
    return ["--lcores=0@%d,1@%d" % (first, second), "--no-huge", "--no-shconf", "-m", str(memory),
            "--no-pci", "--no-telemetry", "-d", PLUGIN, "--vdev=" + vdev]


class Terminal:
    """A program with a prompt, on a terminal of its own."""

    def __init__(self, command, prompt, log):
        self.prompt = prompt
        self.text = ""
        self.log = open(log, "w", encoding="utf-8")
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True)
        os.close(slave)

    def read(self, seconds, until=None):
        """What came until the prompt (or a pattern) did; None when it did not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if re.search(until or re.escape(self.prompt) + r"\s*$", self.text):
                text, self.text = self.text, ""
                return text
            ready, _, _ = select.select([self.master], [], [], 0.2)
            if not ready:
                if self.process.poll() is not None:
                    return None
                continue
            try:
                data = os.read(self.master, 65536).decode("utf-8", "replace")
            except OSError:
                return None
            data = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", data).replace("\r", "")
            self.log.write(data)
            self.log.flush()
            self.text += data
        return None

    def run(self, command, seconds=20):
        """The answer to one command, without the command itself."""
        os.write(self.master, (command + "\n").encode())
        text = self.read(seconds, until=re.escape(command[-20:]) + r"\n(?:.*\n)*" +
                         re.escape(self.prompt) + r"$")
        if text is None:
            return "no answer to: %s\n%s" % (command, self.text)
        return text.split("\n", 1)[-1].rsplit(self.prompt, 1)[0]

    def close(self, command):
        os.write(self.master, (command + "\n").encode())
        self.read(20, until="Bye")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        self.log.close()
        return self.process.returncode
