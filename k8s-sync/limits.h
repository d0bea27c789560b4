/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Every bound of the Kubernetes client, each with its reason. What the API server sends is
 * outside input: nothing here grows with it without an end. */

#pragma once

/* etcd takes 1.5 MiB for one object; a larger one is refused by name and the stream goes on. */
#define K8S_OBJECT_MAX (4u << 20)
/* An object that does not end here is no object: the stream is given up. */
#define K8S_OBJECT_SKIP_MAX (256u << 20)
/* A list without its items: metadata with a continue token. */
#define K8S_LIST_SHELL_MAX 65536u
/* Body of an error answer, a Status or text of a proxy. */
#define K8S_ERROR_BODY_MAX 65536u
/* Items a page (client-go's figure). */
#define K8S_PAGE_SIZE 500
/* resourceVersion and continue token: opaque, but not endless. */
#define K8S_RV_MAX       128
#define K8S_CONTINUE_MAX 4096
/* Faults reported of one object: the first ones tell the story. */
#define K8S_FAULTS_MAX 16
/* One service: ports (API: no limit; each is a table of its own), addresses and ranges. */
#define K8S_SERVICE_PORTS_MAX   512
#define K8S_SERVICE_ADDRS_MAX   256
#define K8S_SERVICE_RANGES_MAX  64
#define K8S_SLICE_ENDPOINTS_MAX 1000  /* the API's own limit */
#define K8S_SLICE_PORTS_MAX     20000 /* the API's own limit */
#define K8S_ENDPOINTS_MAX       65535 /* addresses of one Endpoints object; an endpoint list's limit */
#define K8S_HINTS_MAX           8     /* the API's own limit */
#define K8S_NODE_ADDRS_MAX      32
#define K8S_POD_CIDRS_MAX       16
#define K8S_SERVICE_CIDRS_MAX   64
/* Work of one turn of the event loop: control never blocks over 10 ms. */
#define K8S_TURN_BUDGET_US 3000
/* Events: so many at once, then one each so many milliseconds; a request that is not answered in
 * time is made again, and later each time. */
#define K8S_EVENT_BURST          25 /* client-go's figure for one source */
#define K8S_EVENT_EVERY_MS       10000
#define K8S_EVENT_TIMEOUT_MS     15000
#define K8S_EVENT_BACKOFF_MIN_MS 1000
#define K8S_EVENT_BACKOFF_MAX_MS 60000
