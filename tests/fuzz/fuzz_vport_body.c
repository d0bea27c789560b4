/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The body that makes a vport: an accepted one keeps every bound, a refused one says where. */

#include <errno.h>

#include "control/api/vport_body.h"
#include "control/model.h"
#include "core/dataplane.h"
#include "fuzz/fuzz.h"

FUZZ_TARGET(data, size)
{
	char *text = fuzz_string(data, size);
	struct body_error err = {"", ""};
	struct model_vport *v;
	int rc = vport_body_parse(text, size, &v, &err);

	if (rc == 0) {
		FUZZ_CHECK(v->name[0] != '\0' && strlen(v->name) < VPORT_NAME_MAX);
		FUZZ_CHECK(strpbrk(v->name, "/\\ \n") == NULL);
		FUZZ_CHECK(v->role <= VPORT_UPLINK && v->vlan < 4095);
		FUZZ_CHECK(v->n_addrs <= VPORT_ADDRS_MAX);
		FUZZ_CHECK((v->port != NULL) != (v->own_port != NULL));
		for (uint32_t i = 0; i < v->n_addrs; i++)
			FUZZ_CHECK(v->addrs[i].len <= (v->addrs[i].family == IP_V4 ? 32 : 128));
	} else {
		FUZZ_CHECK(rc == -EINVAL && v == NULL && err.text[0] != '\0');
	}
	model_vport_free(v);
	free(text);
}
