/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* main() and assertions of a CUnit test program.
 *
 *	static void parses(void) { CHECK_EQ(ip_parse("10.0.0.1", &a), 0); }
 *	TEST_SUITE("ip", CASE(parses))
 *
 * The program runs every case, or those whose names contain its argument; prints CUnit's summary
 * and exits 1 when an assertion failed. test_rand() is seeded with 1, or by --seed N or
 * SLUICE_SEED=N ("random" for a new one), and the seed is printed, so that every failure can be
 * run again. Include this in one file of a program only. Main thread: CUnit's assertions take no
 * lock. */

#pragma once

#include <CUnit/Basic.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct test_case {
	const char *name;
	void (*fn)(void);
};

#define CASE(fn)        \
	{               \
#fn, fn \
	}

static uint64_t test_seed_value;
static uint64_t test_rand_state;

/* The seed of this run; threads of a test derive their own generators from it. */
__attribute__((unused)) static uint64_t test_seed(void)
{
	return test_seed_value;
}

/* splitmix64: every state gives a good sequence, so that seeds 1, 2, 3 are all usable. */
__attribute__((unused)) static uint64_t test_rand_r(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

__attribute__((unused)) static uint64_t test_rand(void)
{
	return test_rand_r(&test_rand_state);
}

/* 0 .. n - 1 */
__attribute__((unused)) static uint32_t test_rand_below(uint32_t n)
{
	return (uint32_t)(test_rand() % n);
}

/* CUnit copies the text, so the values of both sides can be part of it. */
#define CHECK_TEXT_(ok_, fatal_, ...)                                                  \
	do {                                                                           \
		bool check_ok_ = (ok_);                                                \
		char check_text_[512] = "";                                            \
                                                                                       \
		if (!check_ok_)                                                        \
			snprintf(check_text_, sizeof(check_text_), __VA_ARGS__);       \
		CU_assertImplementation(                                               \
			check_ok_, __LINE__, check_text_, __FILE__, __func__, fatal_); \
	} while (0)

#define CHECK_INT_(a_, op_, b_, fatal_)                                                     \
	do {                                                                                \
		int64_t check_a_ = (int64_t)(a_), check_b_ = (int64_t)(b_);                 \
                                                                                            \
		CHECK_TEXT_(check_a_ op_ check_b_, fatal_,                                  \
			"%s " #op_ " %s (%" PRId64 " and %" PRId64 ")", #a_, #b_, check_a_, \
			check_b_);                                                          \
	} while (0)

#define CHECK(cond)   CU_assertImplementation((cond) != 0, __LINE__, #cond, __FILE__, __func__, 0)
#define REQUIRE(cond) CU_assertImplementation((cond) != 0, __LINE__, #cond, __FILE__, __func__, 1)

/* Integers and enumerations up to 64 bits. REQUIRE_* leave the case, CHECK_* go on. */
#define CHECK_EQ(a, b)   CHECK_INT_(a, ==, b, 0)
#define CHECK_NE(a, b)   CHECK_INT_(a, !=, b, 0)
#define CHECK_LT(a, b)   CHECK_INT_(a, <, b, 0)
#define CHECK_LE(a, b)   CHECK_INT_(a, <=, b, 0)
#define CHECK_GT(a, b)   CHECK_INT_(a, >, b, 0)
#define CHECK_GE(a, b)   CHECK_INT_(a, >=, b, 0)
#define REQUIRE_EQ(a, b) CHECK_INT_(a, ==, b, 1)

#define CHECK_STR(a_, b_)                                                                        \
	do {                                                                                     \
		const char *check_a_ = (a_), *check_b_ = (b_);                                   \
                                                                                                 \
		CHECK_TEXT_(                                                                     \
			check_a_ != NULL && check_b_ != NULL && strcmp(check_a_, check_b_) == 0, \
			0, "%s: \"%.200s\", expected \"%.200s\"", #a_,                           \
			check_a_ ? check_a_ : "(null)", check_b_ ? check_b_ : "(null)");         \
	} while (0)

/* needle is part of haystack */
#define CHECK_HAS(haystack_, needle_)                                                  \
	do {                                                                           \
		const char *check_h_ = (haystack_), *check_n_ = (needle_);             \
                                                                                       \
		CHECK_TEXT_(check_h_ != NULL && strstr(check_h_, check_n_) != NULL, 0, \
			"%s: \"%.300s\" has no \"%.100s\"", #haystack_,                \
			check_h_ ? check_h_ : "(null)", check_n_);                     \
	} while (0)

#define CHECK_MEM(a_, b_, n_)                                                                      \
	do {                                                                                       \
		const uint8_t *check_a_ = (const void *)(a_), *check_b_ = (const void *)(b_);      \
		size_t check_n_ = (n_), check_i_ = 0;                                              \
                                                                                                   \
		while (check_i_ < check_n_ && check_a_[check_i_] == check_b_[check_i_])            \
			check_i_++;                                                                \
		CHECK_TEXT_(check_i_ == check_n_, 0,                                               \
			"%s: byte %zu of %zu is 0x%02x, expected 0x%02x", #a_, check_i_, check_n_, \
			check_a_[check_i_], check_b_[check_i_]);                                   \
	} while (0)

static int test_usage(const char *program)
{
	fprintf(stderr, "usage: %s [--seed N|random] [CASE]\n", program);
	return 2;
}

static int test_main(
	int argc, char **argv, const char *suite_name, const struct test_case *cases, size_t n)
{
	const char *seed = getenv("SLUICE_SEED");
	const char *only = NULL;
	unsigned failed, added = 0;
	CU_pSuite suite;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			seed = argv[++i];
		else if (argv[i][0] == '-' || only != NULL)
			return test_usage(argv[0]);
		else
			only = argv[i];
	}
	if (seed == NULL || seed[0] == '\0')
		test_seed_value = 1;
	else if (strcmp(seed, "random") == 0)
		test_seed_value = (uint64_t)time(NULL);
	else
		test_seed_value = strtoull(seed, NULL, 0);
	test_rand_state = test_seed_value;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 2;
	suite = CU_add_suite(suite_name, NULL, NULL);
	if (suite == NULL)
		return 2;
	for (size_t i = 0; i < n; i++) {
		if (only != NULL && strstr(cases[i].name, only) == NULL)
			continue;
		if (CU_add_test(suite, cases[i].name, cases[i].fn) == NULL)
			return 2;
		added++;
	}
	if (added == 0) {
		fprintf(stderr, "%s: no case has '%s' in its name\n", argv[0], only);
		return 2;
	}
	/* A program that dies in the middle must not lose what it said before. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %" PRIu64 "\n", test_seed_value);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
	CU_cleanup_registry();
	return failed == 0 ? 0 : 1;
}

#define TEST_SUITE(name, ...)                                                                \
	int main(int argc, char **argv)                                                      \
	{                                                                                    \
		static const struct test_case cases[] = {__VA_ARGS__};                       \
                                                                                             \
		return test_main(argc, argv, name, cases, sizeof(cases) / sizeof(cases[0])); \
	}
