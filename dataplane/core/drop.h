/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Drop reasons as an enumeration and their catalogue. Any thread; constant data. */

#pragma once

#include <stdint.h>

enum drop_reason {
#define DROP_REASON(name, class, text, remedy) DROP_##name,
#include "core/drop_reasons.def"
#undef DROP_REASON
	DROP_REASONS
};

enum drop_class {
	DROP_INTENDED,
	DROP_CONFIG,
	DROP_PEER,
	DROP_RESOURCE,
	DROP_HARDWARE,
	DROP_INTERNAL
};

struct drop_reason_info {
	const char *name;
	enum drop_class class;
	const char *text;
	const char *remedy;
};

extern const struct drop_reason_info drop_reasons[DROP_REASONS];
const char *drop_class_name(enum drop_class c);
