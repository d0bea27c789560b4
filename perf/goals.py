# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The goals of the suite against a result. A row whose cases did not run has no verdict."""


def show(result, markdown=False):
    pass
