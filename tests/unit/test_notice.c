/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The table of notices (control/notice.h): order, counting, the bound, what a reader sees. */

#include "control/notice.h"
#include "unit/harness.h"

static struct notice seen[NOTICES_MAX];

static void post(struct notices *n, const char *name, const char *note)
{
	notice_post(n, true, "Service", "default", name, "Trouble", "%s", note);
}

static void what_happens_again_counts_and_moves_to_the_end(void)
{
	struct notices *n;

	REQUIRE_EQ(notices_new(&n), 0);
	CHECK_EQ(notices_after(n, 0, NOTICES_MAX, seen), 0);
	post(n, "a", "x");
	post(n, "b", "x");
	post(n, "a", "y");
	post(n, "a", "x");
	REQUIRE_EQ(notices_after(n, 0, NOTICES_MAX, seen), 3);
	CHECK_STR(seen[0].name, "b");
	CHECK_STR(seen[1].note, "y");
	CHECK_STR(seen[2].name, "a");
	CHECK_EQ(seen[2].count, 2);
	CHECK_EQ(seen[2].id, 1);
	CHECK(seen[2].first_ms <= seen[2].last_ms && seen[2].warning);
	notice_post(n, false, "Service", "default", "a", "Trouble", "x");
	CHECK_EQ(notices_after(n, 0, NOTICES_MAX, seen), 4);
	notices_free(n);
}

static void a_reader_goes_on_where_it_was(void)
{
	struct notices *n;
	uint64_t at;

	REQUIRE_EQ(notices_new(&n), 0);
	post(n, "a", "x");
	post(n, "b", "x");
	REQUIRE_EQ(notices_after(n, 0, 1, seen), 1);
	CHECK_STR(seen[0].name, "a");
	at = seen[0].version;
	REQUIRE_EQ(notices_after(n, at, NOTICES_MAX, seen), 1);
	at = seen[0].version;
	CHECK_EQ(notices_after(n, at, NOTICES_MAX, seen), 0);
	post(n, "a", "x");
	REQUIRE_EQ(notices_after(n, at, NOTICES_MAX, seen), 1);
	CHECK_STR(seen[0].name, "a");
	CHECK_EQ(seen[0].count, 2);
	notices_free(n);
}

static void the_oldest_make_room(void)
{
	struct notices *n;
	char name[16];

	REQUIRE_EQ(notices_new(&n), 0);
	for (int i = 0; i < NOTICES_MAX + 3; i++) {
		snprintf(name, sizeof(name), "%d", i);
		post(n, name, "x");
	}
	REQUIRE_EQ(notices_after(n, 0, NOTICES_MAX, seen), NOTICES_MAX);
	CHECK_STR(seen[0].name, "3");
	CHECK_EQ(seen[0].count, 1);
	CHECK_EQ(notices_lost(n), 3);
	/* A slot taken over does not inherit a count. */
	post(n, "0", "x");
	REQUIRE_EQ(notices_after(n, seen[NOTICES_MAX - 1].version, 1, seen), 1);
	CHECK_EQ(seen[0].count, 1);
	notices_free(n);
}

static void count_up(void *arg)
{
	(*(int *)arg)++;
}

static void long_texts_are_cut_and_somebody_is_told(void)
{
	char text[2 * NOTICE_NOTE_MAX];
	struct notices *n;
	int told = 0;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	REQUIRE_EQ(notices_new(&n), 0);
	notices_set_notify(n, count_up, &told);
	notice_post(n, true, text, text, text, text, "%s", text);
	notice_post(n, true, text, text, text, text, "%s", text);
	CHECK_EQ(told, 2);
	REQUIRE_EQ(notices_after(n, 0, NOTICES_MAX, seen), 1);
	CHECK_EQ(strlen(seen[0].note), NOTICE_NOTE_MAX - 1);
	CHECK_EQ(strlen(seen[0].name), NOTICE_NAME_MAX - 1);
	CHECK_EQ(seen[0].count, 2);
	notice_post(NULL, true, "a", "b", "c", "d", "nobody listens");
	notices_free(n);
}

TEST_SUITE("notice", CASE(what_happens_again_counts_and_moves_to_the_end),
	CASE(a_reader_goes_on_where_it_was), CASE(the_oldest_make_room),
	CASE(long_texts_are_cut_and_somebody_is_told))
