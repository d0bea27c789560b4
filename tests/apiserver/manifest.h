/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Manifests from a directory: *.yaml, *.yml and *.json, read at start and whenever one changes.
 */
#pragma once

#include <stddef.h>

struct manifests;
struct standin;

/* -errno when the directory cannot be watched; a broken file is logged and left out */
int manifests_open(struct standin *si, const char *dir, struct manifests **out);
void manifests_close(struct manifests *m);
/* files whose present content could not be taken */
size_t manifests_broken(const struct manifests *m);
