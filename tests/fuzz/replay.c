/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Runs a fuzz target without a fuzzer: over every file of a folder, and over some thousand small
 * changes of each (bytes flipped, cut, doubled, mixed). The changes follow from the seed, so a
 * failure repeats; the input that broke is written to a file named in the last line. */

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INPUT_MAX       (1u << 20)
#define CHANGES         2000
#define SECONDS_A_INPUT 1

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t random_state = 1;
static uint8_t *current;
static size_t current_size;

static void run_one(const uint8_t *data, size_t size)
{
	current_size = size;
	memmove(current, data, size);
	LLVMFuzzerTestOneInput(current, current_size);
}

static uint32_t below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 16) % n;
}

static void keep_input(int sig)
{
	static const char name[] = "fuzz-failure.bin";
	FILE *f = fopen(name, "wb");

	if (f != NULL) {
		fwrite(current, 1, current_size, f);
		fclose(f);
		fprintf(stderr, "signal %d; the input is in %s\n", sig, name);
	}
	signal(sig, SIG_DFL);
	raise(sig);
}

static size_t change(uint8_t *data, size_t size)
{
	unsigned times = 1 + below(4);

	while (times-- > 0 && size > 0) {
		size_t at = below((uint32_t)size), n = 1 + below(16);

		switch (below(5)) {
		case 0:
			data[at] ^= (uint8_t)(1u << below(8));
			break;
		case 1:
			data[at] = (uint8_t)below(256);
			break;
		case 2:
			size = at;
			break;
		case 3:
			if (at + n > size)
				n = size - at;
			if (size + n <= INPUT_MAX) {
				memmove(data + at + n, data + at, size - at);
				size += n;
			}
			break;
		case 4:
			if (at + n > size)
				n = size - at;
			memmove(data + at, data + at + n, size - at - n);
			size -= n;
			break;
		}
	}
	return size;
}

static int run_file(const char *folder, const char *name, uint8_t *seed, uint8_t *work)
{
	char path[1024];
	size_t size;
	time_t end;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "rb");
	if (f == NULL)
		return -errno;
	size = fread(seed, 1, INPUT_MAX, f);
	fclose(f);
	run_one(seed, size);
	end = time(NULL) + SECONDS_A_INPUT;
	for (unsigned i = 0; i < CHANGES && time(NULL) <= end; i++) {
		memcpy(work, seed, size);
		run_one(work, change(work, size));
	}
	return 0;
}

int main(int argc, char **argv)
{
	uint8_t *seed = malloc(INPUT_MAX), *work = malloc(INPUT_MAX);
	struct dirent *entry;
	unsigned files = 0;
	DIR *dir;

	current = malloc(INPUT_MAX);
	dir = argc == 2 ? opendir(argv[1]) : NULL;
	if (dir == NULL || seed == NULL || work == NULL || current == NULL) {
		fprintf(stderr, "usage: %s FOLDER-OF-INPUTS\n", argv[0]);
		return 2;
	}
	if (getenv("SLUICE_SEED") != NULL)
		random_state = strtoull(getenv("SLUICE_SEED"), NULL, 0) | 1;
	signal(SIGABRT, keep_input);
	signal(SIGSEGV, keep_input);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		if (run_file(argv[1], entry->d_name, seed, work) < 0) {
			perror(entry->d_name);
			return 2;
		}
		files++;
	}
	closedir(dir);
	free(current);
	free(work);
	free(seed);
	printf("%u inputs\n", files);
	return files > 0 ? 0 : 2;
}
