/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A switch described line by line for the packet tests: vports, next hops, routes, services.
 *
 *   flows N [buckets=N]                     (first line, if at all)
 *   vport ID pod|host|uplink mac=MAC [peer=MAC] [addr=A]... [guard] [mtu=N]
 *   nexthop ID forward|glean|unresolved|local|blackhole|prohibit vport=ID [dmac=MAC] [mtu=N]
 * [via=A] route PREFIX ID           owned A         icmp-source A        gateway A snat A
 * [ports=MIN-MAX] [avoid=MIN-MAX]      egress PREFIX... service PROTO A:PORT
 * [kind=cluster|external|lb|nodeport] [etp=local] [itp=local] [source=PREFIX] [reset]
 * [none-anywhere] -> BACKEND[@local]... service-cidr PREFIX       node-port-addr A      address A
 *   backend-gone BACKEND      option NAME=VALUE
 *
 * Statements may come between packets: each publishes a new generation, as control does. */

#pragma once

#include "packet/bench.h"

struct world;

int world_new(struct world **out);
void world_free(struct world *w);
struct bench *world_bench(struct world *w);
/* 1: done; 0: not a statement of the world; -EINVAL with err. */
int world_statement(struct world *w, char *line, char *err, size_t room);
