/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A vport from the body of a request. Pure; any thread. */

#pragma once

#include <stddef.h>

struct model_vport;

struct body_error {
	char pointer[64]; /* JSON Pointer to the value at fault */
	char text[256];
};

/* 0 and an object that the model can take; -EINVAL with err; -ENOMEM. */
int vport_body_parse(
	const char *text, size_t len, struct model_vport **out, struct body_error *err);
