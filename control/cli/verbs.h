/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What each verb does; named by the table, one thread. Each returns an enum exit_code. */

#pragma once

#include "control/cli/cli.h"

/* Words of the form key=value from that one on become the query; false when one is not. */
bool add_filters(struct text *t, const struct request *r, int from);

int verb_get(struct request *r);
int verb_offload(struct request *r);
int verb_status(struct request *r);
int verb_lookup(struct request *r);
int verb_create(struct request *r);
int verb_delete(struct request *r);
int verb_raw(struct request *r);
int verb_version(struct request *r);
int verb_completion(struct request *r);
int verb_help(struct request *r);
