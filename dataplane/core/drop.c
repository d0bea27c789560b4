/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The catalogue of drop reasons (see drop.h). */

#include "core/drop.h"

const struct drop_reason_info drop_reasons[DROP_REASONS] = {
#define DROP_REASON(n, c, t, r) \
	[DROP_##n] = {.name = #n, .class = DROP_##c, .text = t, .remedy = r},
#include "core/drop_reasons.def"
#undef DROP_REASON
};

const char *drop_class_name(enum drop_class c)
{
	static const char *const names[] = {
		[DROP_INTENDED] = "Intended",
		[DROP_CONFIG] = "Configuration",
		[DROP_PEER] = "Peer",
		[DROP_RESOURCE] = "Resource",
		[DROP_HARDWARE] = "Hardware",
		[DROP_INTERNAL] = "Internal",
	};

	return names[c];
}
