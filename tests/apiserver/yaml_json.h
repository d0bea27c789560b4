/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * YAML documents as JSON trees, with the scalar rules that Kubernetes tools use for manifests.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* line is where the document begins; root is the callee's. Not 0 ends the reading. */
typedef int (*yaml_document_fn)(void *arg, json_t *root, size_t line, char **error);

/* 0 or -EINVAL with *error set to "line N: what", freed by the caller */
int yaml_each_document(const char *text, size_t len, yaml_document_fn fn, void *arg, char **error);
