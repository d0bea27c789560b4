/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Generated Services, EndpointSlices and Nodes for tests of scale, and their churn.
 */
#pragma once

struct http_conn;
struct http_request;
struct standin;
struct synthetic;

/* spec: "services=N,endpoints=M[,dual=1][,nodes=K]"; -EINVAL is explained in the log */
int synthetic_open(struct standin *si, const char *spec, struct synthetic **out);
void synthetic_close(struct synthetic *syn);

/* POST and GET /_churn */
void synthetic_request(struct standin *si, struct http_conn *c, const struct http_request *req);
