/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Faults and other numbers that tests set, by devargs and at run time.
 *
 * Any thread sets them; flow calls and the e-switch read them. */

#include <inttypes.h>
#include <time.h>

#include <rte_pause.h>

#include "emu.h"

/* A sleep is late by tens of microseconds; below this a delay is waited for in a loop. */
#define SPIN_BELOW_US 1000

void emu_knobs_init(struct emu_knobs *knobs)
{
#define X(name, value, what) knobs->name = value;
	EMU_KNOBS(X)
#undef X
}

int emu_knob_set(struct emu_knobs *knobs, const char *name, int64_t value)
{
#define X(knob, initial, what)          \
	if (strcmp(name, #knob) == 0) { \
		knobs->knob = value;    \
		return 0;               \
	}
	EMU_KNOBS(X)
#undef X
	return -ENOENT;
}

int emu_knobs_print(const struct emu_knobs *knobs, char *out, size_t size)
{
	size_t used = 0;

#define X(name, value, what)                                                                      \
	if (used < size)                                                                          \
		used += (size_t)snprintf(out + used, size - used, "%s %" PRId64 " # %s\n", #name, \
			(int64_t)knobs->name, what);
	EMU_KNOBS(X)
#undef X
	return used < size ? 0 : -ENOSPC;
}

bool emu_knob_take(_Atomic int64_t *knob)
{
	int64_t left = atomic_load(knob);

	while (left > 0)
		if (atomic_compare_exchange_weak(knob, &left, left - 1))
			return true;
	return left < 0;
}

int emu_fault_create(struct emu_nic *nic)
{
	struct emu_knobs *k = &nic->knobs;
	uint64_t nth = nic->fc.creates + nic->fc.creates_failed + 1;
	bool fail = false;

	if (k->fail_every > 0 && nth % (uint64_t)k->fail_every == 0)
		fail = true;
	if (k->fail_nth > 0 && --k->fail_nth == 0)
		fail = true;
	if (!fail && emu_knob_take(&k->fail_next))
		fail = true;
	return fail ? (int)k->fail_errno : 0;
}

void emu_delay(struct emu_nic *nic, int64_t us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	uint64_t end;

	if (us <= 0)
		return;
	if (nic->step) {
		atomic_fetch_add(&nic->clock, (uint64_t)us * 1000);
		return;
	}
	if (us >= SPIN_BELOW_US) {
		nanosleep(&ts, NULL);
		return;
	}
	end = emu_clock(nic) + (uint64_t)us * 1000;
	while (emu_clock(nic) < end)
		rte_pause();
}
