/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The last requests as they came in, for tests that check what a client sends. A ring; the oldest
 * are overwritten.
 */
#pragma once

#include "http.h"

#include <jansson.h>
#include <stdint.h>

struct reqlog;

struct reqlog *reqlog_new(void);
void reqlog_free(struct reqlog *log);
void reqlog_add(struct reqlog *log, const struct http_request *req);
void reqlog_clear(struct reqlog *log);
/* requests with a serial number above since */
json_t *reqlog_json(const struct reqlog *log, uint64_t since);
/* of all requests since start */
uint64_t reqlog_total(const struct reqlog *log);
