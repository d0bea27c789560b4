/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The configuration file from hostile text: refused with an error, or loaded; what is loaded is
 * the same again after it was printed as JSON, and the model takes it. */

#include "control/config.h"
#include "fuzz/fuzz.h"

static void nothing(void *arg, const char *line, size_t len)
{
	(void)arg;
	(void)line;
	(void)len;
}

FUZZ_TARGET(data, size)
{
	struct config *c, *again;
	struct config_errors errors;
	struct config_diff diff;
	struct model *m;
	json_t *json;
	char *text;

	log_set_sink(nothing, NULL);
	if (config_load_text("fuzz", (const char *)data, size, &c, &errors) < 0) {
		FUZZ_CHECK(errors.n > 0 && errors.text != NULL);
		FUZZ_CHECK(errors.text[strlen(errors.text) - 1] == '\n');
		config_errors_fini(&errors);
		return;
	}
	FUZZ_CHECK(errors.n == 0);
	json = config_to_json(c);
	FUZZ_CHECK(json != NULL);
	text = json_dumps(json, JSON_ENSURE_ASCII);
	json_decref(json);
	FUZZ_CHECK(text != NULL);
	FUZZ_CHECK(config_load_text("json", text, strlen(text), &again, &errors) == 0);
	FUZZ_CHECK(config_diff(c, again, &diff) == 0 && diff.n == 0);
	m = model_new();
	FUZZ_CHECK(config_apply_model(c, m) == 0);
	FUZZ_CHECK(model_count(m, MODEL_VPORT) == c->n_vports);
	model_free(m);
	config_diff_fini(&diff);
	config_free(again);
	config_free(c);
	free(text);
}
