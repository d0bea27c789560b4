#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""What Kubernetes' e2e and conformance tests for Services ask of a proxy, replayed on the real
decoder, reconciler and pipelines: the objects that such a test makes the API server hold, step by
step, and connections as its clients open them.

	scenarios.py --harness PATH [--only NAME]

tests/CONFORMANCE.md maps the upstream names to the scenarios; this program checks that whatever it
names exists. Each runs for IPv4 and for IPv6. Exit status 1 when one fails."""

import argparse
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import scenarios_services  # noqa: E402,F401
import scenarios_state  # noqa: E402,F401
from cluster import SCENARIOS, Cluster, Wrong  # noqa: E402


def missing_from(path):
    """What the table names and nobody has."""
    tests = os.path.dirname(path)
    with open(path) as f:
        text = f.read()
    files = ['packet/cases/' + name for name in re.findall(r'packet case `([a-z_]+\.case)`', text)]
    files += ['e2e/test_%s.py' % name for name in re.findall(r'e2e `([a-z_]+)`', text)]
    files += [name[6:] if name.startswith('tests/') else name
              for name in re.findall(r'`([a-z_0-9/]+/[a-z_0-9]+\.(?:py|c))`', text)]
    return ['scenario ' + name for name in re.findall(r'scenario `([a-z_]+)`', text)
            if name not in SCENARIOS] + \
        [name for name in files if not os.path.exists(os.path.join(tests, name))]


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--harness', required=True)
    args.add_argument('--only')
    a = args.parse_args()
    harness = compare.Harness(a.harness)
    failed = 0
    for name, function in SCENARIOS.items():
        if a.only not in (None, name):
            continue
        for family in ('IPv4', 'IPv6'):
            try:
                function(Cluster(harness, family))
                print('ok      %s %s' % (family, name))
            except Wrong as e:
                failed += 1
                print('FAILED  %s %s: %s' % (family, name, e))
    harness.close()
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'CONFORMANCE.md')
    for name in missing_from(table):
        failed += 1
        print('FAILED  CONFORMANCE.md names %s, which does not exist' % name)
    print('%d scenarios, %d failures' % (len(SCENARIOS), failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
