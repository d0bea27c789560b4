/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* EAL: its arguments, its messages, and the memory behind buffers and flow tables.
 *
 * Control thread, but messages come from any. With hugepages EAL keeps everything in memory
 * (--in-memory: no mount point, no files, nothing left behind by a kill); without, it takes
 * ordinary memory (--no-huge, which 22.11 refuses together with --in-memory). Both let several
 * daemons run on one machine. Nothing here ends the process: EAL's errors become texts. */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_log.h>
#include <rte_malloc.h>

#include "io/rim_internal.h"

#define EAL_ARGS_MAX   96
#define HUGE_DIR       "/sys/kernel/mm/hugepages"
#define MEMORY_BASE_MB 64 /* rings, driver queues, EAL's own */
/* Without hugepages EAL cannot grow later (AF_XDP ports bring pools of their own); what it does
 * not touch costs address space only. */
#define MEMORY_SPARE_MB 1024

static struct {
	pthread_mutex_t lock;
	void (*log)(void *arg, enum rim_log_level level, const char *text);
	void *arg;
	char last[256];
} messages = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local char last_copy[256];
static _Thread_local bool quiet_here;

const char *rim_driver_error(void)
{
	pthread_mutex_lock(&messages.lock);
	memcpy(last_copy, messages.last, sizeof(last_copy));
	pthread_mutex_unlock(&messages.lock);
	return last_copy;
}

void rim_driver_error_clear(void)
{
	pthread_mutex_lock(&messages.lock);
	messages.last[0] = '\0';
	pthread_mutex_unlock(&messages.lock);
}

void rim_driver_quiet(bool quiet)
{
	quiet_here = quiet;
}

static void message(enum rim_log_level level, const char *text)
{
	if (quiet_here)
		level = RIM_LOG_DEBUG;
	pthread_mutex_lock(&messages.lock);
	if (level == RIM_LOG_ERROR)
		snprintf(messages.last, sizeof(messages.last), "%s", text);
	pthread_mutex_unlock(&messages.lock);
	if (messages.log != NULL)
		messages.log(messages.arg, level, text);
	else if (level <= RIM_LOG_WARNING)
		fprintf(stderr, "%s\n", text);
}

void rim_log(struct rim *rim, enum rim_log_level level, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (rim->cfg.log != NULL)
		rim->cfg.log(rim->cfg.arg, level, text);
	else if (level <= RIM_LOG_WARNING)
		fprintf(stderr, "%s\n", text);
}

int rim_fail(struct rim_error *err, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return rc;
}

static ssize_t log_write(void *cookie, const char *buf, size_t size)
{
	int dpdk_level = rte_log_cur_msg_loglevel();
	enum rim_log_level level = RIM_LOG_DEBUG;
	size_t at = 0;

	if (dpdk_level > 0 && dpdk_level <= (int)RTE_LOG_ERR)
		level = RIM_LOG_ERROR;
	else if (dpdk_level == (int)RTE_LOG_WARNING)
		level = RIM_LOG_WARNING;
	else if (dpdk_level == (int)RTE_LOG_NOTICE)
		level = RIM_LOG_INFO;
	while (at < size) {
		size_t len = strcspn(buf + at, "\n");
		char line[256];

		if (len > size - at)
			len = size - at;
		snprintf(line, sizeof(line), "%.*s", (int)len, buf + at);
		if (line[0] != '\0')
			message(level, line);
		at += len + 1;
	}
	return (ssize_t)size;
}

static int log_open(const struct rim_config *cfg)
{
	cookie_io_functions_t io = {.write = log_write};
	FILE *f = fopencookie(NULL, "w", io);

	if (f == NULL)
		return -ENOMEM;
	messages.log = cfg->log;
	messages.arg = cfg->arg;
	rte_openlog_stream(f);
	return 0;
}

/* Megabytes of all free hugepages, of all sizes. */
static uint64_t hugepages_free_mb(void)
{
	DIR *d = opendir(HUGE_DIR);
	struct dirent *e;
	uint64_t kb = 0;

	if (d == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		unsigned long page_kb, free_pages;
		char path[320];
		FILE *f;

		if (sscanf(e->d_name, "hugepages-%lukB", &page_kb) != 1)
			continue;
		snprintf(path, sizeof(path), HUGE_DIR "/%s/free_hugepages", e->d_name);
		f = fopen(path, "re");
		if (f == NULL)
			continue;
		if (fscanf(f, "%lu", &free_pages) == 1)
			kb += page_kb * free_pages;
		fclose(f);
	}
	closedir(d);
	return kb / 1024;
}

static int hugepages_choose(struct rim *rim, struct rim_error *err)
{
	uint32_t need = rim->cfg.memory_mb;
	uint64_t have = hugepages_free_mb();

	if (rim->cfg.hugepages == RIM_HUGEPAGES_ON && have < need)
		return rim_fail(err, -ENOMEM,
			"hugepages: %u MB are needed and %lu MB are free; reserve more (echo %u > "
			"/proc/sys/vm/nr_hugepages), lower buffers, or do without hugepages",
			need, (unsigned long)have, need / 2 + 1);
	rim->hugepages = rim->cfg.hugepages != RIM_HUGEPAGES_OFF && have >= need;
	if (rim->cfg.hugepages == RIM_HUGEPAGES_AUTO)
		rim_log(rim, RIM_LOG_INFO, "hugepages: %lu MB free, %u MB needed: %s",
			(unsigned long)have, need, rim->hugepages ? "used" : "not used");
	return 0;
}

struct eal_args {
	int n;
	size_t used;
	bool overflow;
	char *at[EAL_ARGS_MAX + 1];
	char text[8192];
};

static __attribute__((format(printf, 2, 3))) void arg_add(struct eal_args *a, const char *fmt, ...)
{
	size_t room = sizeof(a->text) - a->used;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(a->text + a->used, room, fmt, ap);
	va_end(ap);
	if (a->n == EAL_ARGS_MAX || len < 0 || (size_t)len >= room) {
		a->overflow = true;
		return;
	}
	a->at[a->n++] = a->text + a->used;
	a->used += (size_t)len + 1;
}

/* "(0-3,8)" of the CPUs that this process may use: the set of threads that are not pinned. */
static void cpus_allowed(char *out, size_t size)
{
	size_t used = 0;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0) {
		snprintf(out, size, "(0)");
		return;
	}
	for (int first = 0; first < CPU_SETSIZE && used < size; first++) {
		int last = first;

		if (!CPU_ISSET((size_t)first, &set))
			continue;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET((size_t)last + 1, &set))
			last++;
		used += (size_t)snprintf(
			out + used, size - used, "%c%d-%d", used == 0 ? '(' : ',', first, last);
		first = last;
	}
	if (used < size)
		snprintf(out + used, size - used, ")");
}

/* lcore 0 is control and stays where the scheduler puts it; worker n is lcore n + 1. */
static void args_lcores(struct eal_args *a, const struct rim_config *cfg)
{
	char any[256], map[2048];
	int used;

	cpus_allowed(any, sizeof(any));
	used = snprintf(map, sizeof(map), "0@%s", any);
	for (uint32_t n = 0; n < cfg->n_workers; n++) {
		size_t room = sizeof(map) - (size_t)used;

		if (cfg->cpu[n] == RIM_CPU_ANY)
			used += snprintf(map + used, room, ",%u@%s", n + 1, any);
		else
			used += snprintf(map + used, room, ",%u@%d", n + 1, cfg->cpu[n]);
		if ((size_t)used >= sizeof(map)) {
			a->overflow = true;
			return;
		}
	}
	arg_add(a, "--lcores=%s", map);
}

static void args_build(struct eal_args *a, const struct rim *rim)
{
	const struct rim_config *cfg = &rim->cfg;

	arg_add(a, "sluice");
	args_lcores(a, cfg);
	arg_add(a, "--main-lcore=0");
	arg_add(a, "--iova-mode=va");
	arg_add(a, "--no-telemetry");
	if (cfg->file_prefix != NULL)
		arg_add(a, "--file-prefix=%s", cfg->file_prefix);
	else
		arg_add(a, "--file-prefix=sluice-%d", (int)getpid());
	if (rim->hugepages) {
		arg_add(a, "--in-memory");
		/* A vhost-user peer takes only a few memory regions: one a page is too many. */
		arg_add(a, "--single-file-segments");
	} else {
		arg_add(a, "--no-huge");
		arg_add(a, "--no-shconf");
	}
	arg_add(a, "-m");
	arg_add(a, "%u", cfg->memory_mb);
	/* Devices are added one by one, later: without an allow list EAL would take every NIC that
	 * a driver of it matches. */
	if (cfg->pci) {
		arg_add(a, "-a");
		arg_add(a, "0000:00:00.0");
	} else {
		arg_add(a, "--no-pci");
	}
	for (uint32_t n = 0; cfg->eal_args != NULL && cfg->eal_args[n] != NULL; n++)
		arg_add(a, "%s", cfg->eal_args[n]);
}

static uint32_t memory_needed_mb(const struct rim_config *cfg)
{
	uint64_t each = sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM + cfg->buffer_size + 128;

	return (uint32_t)(cfg->buffers * each * 5 / 4 / (1 << 20)) + MEMORY_BASE_MB;
}

int rim_eal_start(struct rim *rim, struct rim_error *err)
{
	struct rim_config *cfg = &rim->cfg;
	struct eal_args *args;
	cpu_set_t before;
	bool restore, automatic = cfg->memory_mb == 0;
	int rc;

	if (cfg->memory_mb == 0)
		cfg->memory_mb = memory_needed_mb(cfg);
	rc = log_open(cfg);
	if (rc != 0)
		return rim_fail(err, rc, "no memory for DPDK's log");
	rc = hugepages_choose(rim, err);
	if (rc != 0)
		return rc;
	if (automatic && !rim->hugepages)
		cfg->memory_mb += MEMORY_SPARE_MB;
	args = calloc(1, sizeof(*args));
	if (args == NULL)
		return rim_fail(err, -ENOMEM, "no memory for EAL's arguments");
	args_build(args, rim);
	if (args->overflow) {
		free(args);
		return rim_fail(err, -E2BIG, "eal_args: too many or too long");
	}
	restore = sched_getaffinity(0, sizeof(before), &before) == 0;
	rim_driver_error_clear();
	rc = rte_eal_init(args->n, args->at);
	free(args);
	if (restore)
		sched_setaffinity(0, sizeof(before), &before);
	if (rc < 0)
		return rim_fail(err, rte_errno > 0 ? -rte_errno : -EIO,
			"DPDK does not start (%s): %s", rte_strerror(rte_errno),
			rim_driver_error());
	rim->eal_ready = true;
	/* Made for files that EAL does not write in either mode; left alone if it holds any. */
	(void)rmdir(rte_eal_get_runtime_dir());
	return 0;
}

void rim_eal_stop(struct rim *rim)
{
	rte_mempool_free(rim->pool);
	rim->pool = NULL;
	if (rim->eal_ready)
		rte_eal_cleanup();
	rim->eal_ready = false;
	messages.log = NULL;
}

/* Flow tables: on hugepages when EAL has them and room, else ordinary memory that the kernel is
 * asked to back with large pages. */
void *rim_flow_alloc(void *arg, size_t size, size_t align, const char *name)
{
	struct rim *rim = arg;
	void *mem = NULL;
	bool mapped = false;
	uint32_t n = 0;

	while (n < RIM_ALLOCS_MAX && rim->allocs[n].mem != NULL)
		n++;
	if (n == RIM_ALLOCS_MAX)
		return NULL;
	if (rim->hugepages)
		mem = rte_zmalloc(name, size, (unsigned)align);
	if (mem == NULL) {
		size_t page = 2u << 20;

		if (rim->hugepages)
			rim_log(rim, RIM_LOG_WARNING,
				"%s: %zu MB are not free in hugepages, ordinary memory is used",
				name, size >> 20);
		size = (size + page - 1) & ~(page - 1);
		mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (mem == MAP_FAILED)
			return NULL;
		(void)madvise(mem, size, MADV_HUGEPAGE);
		mapped = true;
	}
	rim->allocs[n].mem = mem;
	rim->allocs[n].size = size;
	rim->allocs[n].mapped = mapped;
	return mem;
}

void rim_flow_free(void *arg, void *mem)
{
	struct rim *rim = arg;

	if (mem == NULL)
		return;
	for (uint32_t n = 0; n < RIM_ALLOCS_MAX; n++) {
		if (rim->allocs[n].mem != mem)
			continue;
		if (rim->allocs[n].mapped)
			munmap(mem, rim->allocs[n].size);
		else
			rte_free(mem);
		rim->allocs[n].mem = NULL;
		return;
	}
}
