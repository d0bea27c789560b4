/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The probe against every profile of the emulated NIC: the matrix is the one in golden/, with the
 * words of the driver. SLUICE_GOLDEN_WRITE=1 writes them anew, for a reader to compare. */

#include "nic_lab.h"
#include "offload/caps.h"
#include "offload/provider.h"

#define ROWS 128

static uint32_t add_line(char *out, uint32_t at, uint32_t size, const char *line)
{
	return at + (uint32_t)snprintf(out + at, size - at, "%s\n", line);
}

/* One port's matrix as text. */
static void matrix_of(unsigned port, unsigned peer, char *out, uint32_t size)
{
	static struct offload_caps_row row[ROWS];
	char line[OFFLOAD_ROW_TEXT_MAX];
	struct offload_caps *caps;
	uint32_t n, at = 0;

	offload_provider_rte_flow_marks(nic_port[port], true);
	REQUIRE_EQ(offload_caps_new(offload_provider_rte_flow(), nic_port[port], &caps), 0);
	CHECK_EQ(offload_caps_probe(caps, nic_port[peer], 0), 0);
	if (offload_caps_untrusted(caps))
		at = add_line(out, at, size, "untrusted: it accepts rules that make no sense");
	n = offload_caps_rows(caps, row, ROWS);
	/* Four families and protocols: seven shapes each, tunnels for TCP, and the partial one. */
	CHECK_EQ(n, 4 * 6 + 2 * 2 + 4);
	for (uint32_t i = 0; i < n; i++) {
		offload_caps_row_text(&row[i], line, sizeof(line));
		at = add_line(out, at, size, line);
	}
	offload_caps_free(caps);
}

static void check_golden(const char *profile, const char *text)
{
	static char expected[32768];
	char path[512];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.caps", GOLDEN_DIR, profile);
	f = fopen(path, getenv("SLUICE_GOLDEN_WRITE") != NULL ? "w" : "r");
	CHECK(f != NULL);
	if (f == NULL)
		return;
	if (getenv("SLUICE_GOLDEN_WRITE") != NULL) {
		fputs(text, f);
	} else {
		n = fread(expected, 1, sizeof(expected) - 1, f);
		expected[n] = '\0';
		if (strcmp(text, expected) != 0)
			printf("\n%s is not %s:\n%s", profile, path, text);
		CHECK(strcmp(text, expected) == 0);
	}
	fclose(f);
}

static void check_profile(const char *profile)
{
	static char uplink[32768], representor[32768];
	struct net_emu_counters c;
	char args[128];

	snprintf(args, sizeof(args), "representor=vf[0-1],step=1,profile=%s", profile);
	nic_up(args);
	matrix_of(0, 1, uplink, sizeof(uplink));
	matrix_of(1, 2, representor, sizeof(representor));
	CHECK_STR(representor, uplink);
	check_golden(profile, uplink);
	c = nic_counters();
	CHECK_EQ(c.rules, 0);
	CHECK_EQ(c.bad_handles, 0);
	nic_down();
}

#define PROFILE(fn, name)            \
	static void fn(void)         \
	{                            \
		check_profile(name); \
	}

PROFILE(mlx5_sws, "mlx5-sws")
PROFILE(mlx5_hws, "mlx5-hws")
PROFILE(nfp, "nfp")
PROFILE(bnxt, "bnxt")
PROFILE(sfc_22, "sfc-22")
PROFILE(sfc_25, "sfc-25")
PROFILE(cnxk, "cnxk")
PROFILE(ice, "ice")
PROFILE(i40e, "i40e")
PROFILE(cxgbe_like, "cxgbe-like")
PROFILE(tap_like, "tap-like")
PROFILE(none, "none")

/* Firmware that cannot leave FIN out: bnxt may be such. UDP goes on. */
static void flags_that_firmware_does_not_match(void)
{
	struct offload_caps_row row[ROWS];
	struct offload_caps *caps;
	uint32_t n, tcp = 0, udp = 0;

	nic_up("representor=vf[0-1],step=1,profile=mlx5-sws,tcp_flags=0");
	REQUIRE_EQ(offload_caps_new(offload_provider_rte_flow(), nic_port[0], &caps), 0);
	CHECK_EQ(offload_caps_probe(caps, nic_port[1], 0), 0);
	n = offload_caps_rows(caps, row, ROWS);
	for (uint32_t i = 0; i < n && i < ROWS; i++) {
		if (row[i].shape & OFFLOAD_SHAPE_MARK)
			continue;
		if (row[i].shape & OFFLOAD_SHAPE_UDP) {
			CHECK_EQ(row[i].support, OFFLOAD_SUPPORTED);
			udp++;
		} else {
			CHECK_EQ(row[i].reason, OFFLOAD_NoTcpFlagMatch);
			tcp++;
		}
	}
	CHECK_EQ(udp, 12);
	CHECK_EQ(tcp, 16);
	offload_caps_free(caps);
	nic_down();
}

/* The ring says the probe in testpmd's words: what was asked, and what was answered. */
static void operations_are_kept(void)
{
	const struct offload_provider *p = offload_provider_rte_flow();
	static char text[4096];
	unsigned creates = 0, refusals = 0, destroys = 0;
	struct offload_caps *caps;
	uint64_t cursor = 0;
	uint32_t n, kept = 0;

	nic_up("representor=vf[0-1],step=1,profile=sfc-22");
	REQUIRE_EQ(offload_caps_new(p, nic_port[0], &caps), 0);
	CHECK_EQ(offload_caps_probe(caps, nic_port[1], 0), 0);
	while ((n = p->operation(p->arg, &cursor, text, sizeof(text))) != 0) {
		CHECK_LT(n, sizeof(text));
		creates += strstr(text, "flow create 0 transfer pattern ") != NULL &&
			strstr(text, "\n# rule ") != NULL;
		refusals += strstr(text, "flow validate 0 ") != NULL &&
			strstr(text, "error type 16: action not supported") != NULL;
		destroys += strstr(text, "flow destroy 0 rule ") != NULL;
		kept++;
	}
	CHECK_LE(kept, 256);
	CHECK_GT(creates, 4);
	CHECK_GT(refusals, 4);
	CHECK_GT(destroys, 4);
	offload_caps_free(caps);
	nic_down();
}

TEST_SUITE("net_emu_offload_matrix", CASE(mlx5_sws), CASE(mlx5_hws), CASE(nfp), CASE(bnxt),
	CASE(sfc_22), CASE(sfc_25), CASE(cnxk), CASE(ice), CASE(i40e), CASE(cxgbe_like),
	CASE(tap_like), CASE(none), CASE(flags_that_firmware_does_not_match),
	CASE(operations_are_kept))
