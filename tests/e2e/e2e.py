# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""A lab for a test class: raised once, the same programs as in the quick start.

At the end of every class: sluiced still runs, ends by SIGTERM with status 0, no packet went
missing without a reason, and no buffer was lost.
"""

import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts"))
sys.dont_write_bytecode = True

from labkit import Lab, LabError, wait_for  # noqa: E402

WEB = ("10.96.0.10", "fd00:10:96::10")
PODS = ("pod-1", "pod-2", "pod-3")
# Reasons that mean a bug, or a table that is too small.
BAD_DROPS = {"Internal", "NoHeadroom", "NoBuffer", "FlowIndexFull", "FlowTableFull",
             "SnatPortExhausted", "ServicesNotReady"}


class LabCase(unittest.TestCase):
    PREFIX = "e2e"
    CONFIG = ()  # overrides of the configuration, KEY=VALUE
    EXPECTED_DROPS = set()  # of BAD_DROPS
    APISERVER = ()  # arguments of the stand-in
    lab = None

    @classmethod
    def setUpClass(cls):
        # Another run may have a lab of that name right now.
        for suffix in ("", "b", "c", "d"):
            cls.lab = Lab(cls.PREFIX + suffix)
            if cls.lab.claim():
                break
        try:
            cls.lab.up()
            cls.lab.start_apiserver(*cls.APISERVER)
            cls.start()
        except BaseException:
            cls.lab.down()
            raise

    @classmethod
    def start(cls):
        cls.lab.start_sluiced(*cls.CONFIG)

    @classmethod
    def tearDownClass(cls):
        try:
            if cls.lab.running("sluiced"):
                cls.accounts()
                cls.ends_well()
            else:
                raise AssertionError("sluiced ended by itself:\n" + cls.lab.log("sluiced")[-8000:])
        finally:
            cls.lab.down()

    @classmethod
    def accounts(cls):
        """received + originated = sent + dropped, once nothing moves."""
        deadline, gap = time.monotonic() + 5, None
        while gap != 0 and time.monotonic() < deadline:
            c, dropped = cls.lab.counters(), sum(cls.lab.drops().values())
            gap = c["received"] + c["originated"] - c["sent"] - dropped
            if gap:
                time.sleep(0.1)
        if gap:
            raise AssertionError("%d packets have no fate: %s, drops %s" % (
                gap, c, cls.lab.drops()))
        bad = set(cls.lab.drops()) & (BAD_DROPS - cls.EXPECTED_DROPS)
        if bad:
            raise AssertionError("drops that should not be: %s of %s" % (bad, cls.lab.drops()))

    @classmethod
    def ends_well(cls):
        cls.lab.stop("sluiced", grace=10)
        log = cls.lab.log("sluiced")[-4000:]
        if "event=stopped status=0" not in log or "event=buffers_lost" in log:
            raise AssertionError("SIGTERM did not end it well:\n" + log)

    def setUp(self):
        if not self.lab.running("sluiced"):
            self.fail("sluiced ended by itself:\n" + self.lab.log("sluiced")[-4000:])

    def eventually(self, condition, what, seconds=10):
        try:
            wait_for(condition, seconds, what)
        except LabError as error:
            self.fail("%s\n%s" % (error, self.lab.log("sluiced")[-3000:]))

    def good(self, result, done=None):
        """Every request of a client was answered."""
        self.assertEqual((result["failed"], result["errors"]), (0, {}))
        if done is None:
            self.assertGreater(result["done"], 0)
        else:
            self.assertEqual(result["done"], done)


def report(title, rows):
    """For people: scripts/test shows it at the end of the level."""
    print("== " + title)
    for name, value in rows.items():
        print("%-24s %s" % (name, value))
    print("==", flush=True)


def main():
    if os.geteuid() != 0:
        sys.exit("needs root (network namespaces)")
    unittest.main(verbosity=2)
