/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* One table of the kinds of ports: driver, device arguments, and what must be there before.
 *
 * Control thread. A check says in its text what to do; drivers say "cannot create device". */

#include <errno.h>
#include <limits.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/rim_internal.h"

#define PCI_DIR "/sys/bus/pci/devices/"

int rim_iface_get(const char *iface, bool *running, uint16_t *mtu)
{
	struct ifreq ifr = {0};
	int fd, rc = 0;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", iface);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) != 0) {
		rc = -errno;
		goto out;
	}
	*running = (ifr.ifr_flags & IFF_UP) != 0 && (ifr.ifr_flags & IFF_RUNNING) != 0;
	if (ioctl(fd, SIOCGIFMTU, &ifr) != 0) {
		rc = -errno;
		goto out;
	}
	*mtu = ifr.ifr_mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)ifr.ifr_mtu;
out:
	close(fd);
	return rc;
}

/* --- checks -------------------------------------------------------------------------------------
 */

static int check_name(const char *what, const char *value, struct rim_error *err)
{
	if (value[0] == '\0')
		return rim_fail(err, -EINVAL, "%s: must be set for this kind of port", what);
	if (strpbrk(value, ", \t\n") != NULL)
		return rim_fail(err, -EINVAL, "%s: '%s' holds a comma or a space", what, value);
	return 0;
}

static int check_iface(const struct rim_port_config *cfg, struct rim_error *err)
{
	uint16_t mtu;
	bool running;
	int rc = check_name("iface", cfg->iface, err);

	if (rc != 0)
		return rc;
	rc = rim_iface_get(cfg->iface, &running, &mtu);
	if (rc == -ENODEV)
		return rim_fail(err, rc,
			"iface: there is no interface '%s' in this network namespace; make it "
			"first",
			cfg->iface);
	if (rc != 0)
		return rim_fail(err, rc, "iface: %s: %s", cfg->iface, strerror(-rc));
	return 0;
}

static int check_tap(const struct rim_port_config *cfg, struct rim_error *err)
{
	int rc = check_name("iface", cfg->iface, err);

	if (rc != 0)
		return rc;
	if (if_nametoindex(cfg->iface) != 0)
		return rim_fail(
			err, -EEXIST, "iface: an interface '%s' exists already", cfg->iface);
	if (access("/dev/net/tun", R_OK | W_OK) != 0)
		return rim_fail(err, -errno, "/dev/net/tun: %s; load the module tun (modprobe tun)",
			strerror(errno));
	return 0;
}

/* A server's socket of a daemon that died stays behind and makes bind() fail. One that somebody
 * listens on is left alone. */
static int remove_stale_socket(const char *path, struct rim_error *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return rim_fail(err, -EEXIST, "path: %s exists and is no socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return rim_fail(err, -errno, "path: %s: %s", path, strerror(errno));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	rc = connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0 ? 0 : errno;
	close(fd);
	/* A socket of another type (memif's) says EPROTOTYPE: somebody holds it. */
	if (rc != ECONNREFUSED)
		return rim_fail(err, -EADDRINUSE, "path: somebody listens on %s already", path);
	if (unlink(path) != 0)
		return rim_fail(err, -errno, "path: %s: %s", path, strerror(errno));
	return 0;
}

static int check_dir(const char *path, struct rim_error *err)
{
	char dir[RIM_PATH_MAX];
	char *slash;
	struct stat st;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL || path[0] != '/')
		return rim_fail(err, -EINVAL, "path: '%s' is not absolute", path);
	slash[slash == dir ? 1 : 0] = '\0';
	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
		return rim_fail(err, -ENOENT, "path: there is no directory %s", dir);
	return 0;
}

static int check_socket(const struct rim_port_config *cfg, struct rim_error *err)
{
	int rc = check_name("path", cfg->path, err);

	if (rc == 0)
		rc = check_dir(cfg->path, err);
	/* Several memif connections may share one server socket of ours. */
	if (rc == 0 && cfg->server && cfg->kind != RIM_PORT_MEMIF)
		rc = remove_stale_socket(cfg->path, err);
	return rc;
}

static int check_virtio_user(const struct rim_port_config *cfg, struct rim_error *err)
{
	int rc = check_socket(cfg, err);

	if (rc == 0 && !cfg->server && access(cfg->path, R_OK | W_OK) != 0)
		return rim_fail(err, -errno, "path: %s: %s; start the vhost-user side first",
			cfg->path, strerror(errno));
	return rc;
}

static int check_pcap(const struct rim_port_config *cfg, struct rim_error *err)
{
	if (cfg->iface[0] != '\0')
		return check_iface(cfg, err);
	if (cfg->path[0] == '\0' && cfg->tx_path[0] == '\0')
		return rim_fail(err, -EINVAL, "pcap: one of iface, path and tx_path must be set");
	if (cfg->path[0] != '\0' && access(cfg->path, R_OK) != 0)
		return rim_fail(err, -errno, "path: %s: %s", cfg->path, strerror(errno));
	return 0;
}

static int check_nothing(const struct rim_port_config *cfg, struct rim_error *err)
{
	return 0;
}

static int check_ethdev(const struct rim_port_config *cfg, struct rim_error *err)
{
	uint16_t id;

	if (rte_eth_dev_get_port_by_name(cfg->pci, &id) != 0)
		return rim_fail(err, -ENODEV, "there is no ethdev '%s' in this process", cfg->pci);
	return 0;
}

/* The kernel driver of a PCI device decides: vfio-pci and the uio drivers hand the device over,
 * the bifurcated ones (mlx5, mana) work beside DPDK, any other keeps it. */
static int check_pci(const struct rim_port_config *cfg, struct rim_error *err)
{
	static const char *const usable[] = {
		"vfio-pci", "igb_uio", "uio_pci_generic", "mlx5_core", "mlx4_core", "mana"};
	char path[128], target[PATH_MAX];
	const char *driver;
	ssize_t len;

	if (check_name("pci", cfg->pci, err) != 0)
		return -EINVAL;
	snprintf(path, sizeof(path), PCI_DIR "%s", cfg->pci);
	if (access(path, F_OK) != 0)
		return rim_fail(err, -ENODEV,
			"pci: there is no device %s (the form is 0000:03:00.0; see lspci -D)",
			cfg->pci);
	snprintf(path, sizeof(path), PCI_DIR "%s/driver", cfg->pci);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return rim_fail(err, -ENODEV,
			"pci: %s has no kernel driver; bind it: dpdk-devbind.py -b vfio-pci %s",
			cfg->pci, cfg->pci);
	target[len] = '\0';
	driver = strrchr(target, '/') != NULL ? strrchr(target, '/') + 1 : target;
	for (uint32_t n = 0; n < sizeof(usable) / sizeof(usable[0]); n++) {
		if (strcmp(driver, usable[n]) != 0)
			continue;
		if (n == 0 && access("/dev/vfio/vfio", F_OK) != 0)
			return rim_fail(err, -ENOENT,
				"pci: %s is bound to vfio-pci but there is no /dev/vfio/vfio; "
				"modprobe vfio-pci (without an IOMMU: "
				"enable_unsafe_noiommu_mode=1)",
				cfg->pci);
		return 0;
	}
	return rim_fail(err, -EBUSY,
		"pci: %s belongs to the kernel driver %s; bind it: dpdk-devbind.py -b vfio-pci %s",
		cfg->pci, driver, cfg->pci);
}

/* --- arguments ----------------------------------------------------------------------------------
 */

static int args_none(const struct rim_port_config *cfg, char *args, size_t size)
{
	args[0] = '\0';
	return 0;
}

/* Frames hold the MTU with Ethernet header, tag and the ring's own header, in a power of two, so
 * that they fill blocks of pages. */
static int args_af_packet(const struct rim_port_config *cfg, char *args, size_t size)
{
	uint32_t frame = 2048;
	uint32_t page = (uint32_t)getpagesize();

	while (frame < cfg->mtu + 18u + TPACKET2_HDRLEN)
		frame *= 2;
	return snprintf(args, size, "iface=%s,qpairs=%u,framesz=%u,framecnt=%u,blocksz=%u",
		cfg->iface, cfg->queues, frame, cfg->descriptors, frame > page ? frame : page);
}

static int args_af_xdp(const struct rim_port_config *cfg, char *args, size_t size)
{
	return snprintf(
		args, size, "iface=%s,start_queue=0,queue_count=%u", cfg->iface, cfg->queues);
}

static int args_tap(const struct rim_port_config *cfg, char *args, size_t size)
{
	return snprintf(args, size, "iface=%s", cfg->iface);
}

/* socket-abstract=no: a path in the file system, which a pod can be given as a volume. */
static int args_memif(const struct rim_port_config *cfg, char *args, size_t size)
{
	uint32_t log2 = 31u - (uint32_t)__builtin_clz(cfg->descriptors);

	return snprintf(args, size, "role=%s,id=%u,socket=%s,socket-abstract=no,rsize=%u",
		cfg->server ? "server" : "client", cfg->id, cfg->path, log2 > 14 ? 14 : log2);
}

static int args_vhost_user(const struct rim_port_config *cfg, char *args, size_t size)
{
	return snprintf(args, size, "iface=%s,queues=%u,client=%u", cfg->path, cfg->queues,
		cfg->server ? 0 : 1);
}

static int args_virtio_user(const struct rim_port_config *cfg, char *args, size_t size)
{
	return snprintf(args, size, "path=%s,queues=%u,queue_size=%u,server=%u", cfg->path,
		cfg->queues, cfg->descriptors, cfg->server ? 1 : 0);
}

static int args_pcap(const struct rim_port_config *cfg, char *args, size_t size)
{
	int len;

	if (cfg->iface[0] != '\0')
		return snprintf(args, size, "iface=%s", cfg->iface);
	len = snprintf(args, size, "%s%s", cfg->path[0] != '\0' ? "rx_pcap=" : "", cfg->path);
	if (cfg->tx_path[0] == '\0' || (size_t)len >= size)
		return len;
	return len +
		snprintf(args + len, size - (size_t)len, "%stx_pcap=%s", len > 0 ? "," : "",
			cfg->tx_path);
}

/* tx_retries: a packet socket's ring empties while the kernel takes the frames, so a second try
 * finds room; a shared-memory peer that has not read is slow, and waiting for it costs the others.
 */
const struct rim_port_ops rim_port_kinds[RIM_PORT_KINDS] = {
	[RIM_PORT_PCI] = {.name = "pci",
		.rx_csum = true,
		.tx_retries = 1,
		.rx_interrupt = true,
		.check = check_pci,
		.args = args_none},
	[RIM_PORT_AF_PACKET] = {.name = "af_packet",
		.vdev = "net_af_packet",
		.kernel_iface = true,
		.tx_retries = 4,
		.check = check_iface,
		.args = args_af_packet},
	[RIM_PORT_AF_XDP] = {.name = "af_xdp",
		.vdev = "net_af_xdp",
		.kernel_iface = true,
		.tx_retries = 4,
		.check = check_iface,
		.args = args_af_xdp},
	[RIM_PORT_TAP] = {.name = "tap",
		.vdev = "net_tap",
		.kernel_iface = true,
		.queue_pairs = true,
		.tx_retries = 1,
		.rx_interrupt = true,
		.rx_readable = true,
		.check = check_tap,
		.args = args_tap},
	[RIM_PORT_MEMIF] = {.name = "memif",
		.vdev = "net_memif",
		.queue_pairs = true,
		.tx_retries = 1,
		.check = check_socket,
		.args = args_memif},
	[RIM_PORT_VHOST_USER] = {.name = "vhost-user",
		.vdev = "net_vhost",
		.queue_pairs = true,
		.tx_retries = 1,
		.rx_interrupt = true,
		.check = check_socket,
		.args = args_vhost_user},
	[RIM_PORT_VIRTIO_USER] = {.name = "virtio-user",
		.vdev = "net_virtio_user",
		.queue_pairs = true,
		.tx_retries = 1,
		.rx_interrupt = true,
		.check = check_virtio_user,
		.args = args_virtio_user},
	[RIM_PORT_PCAP] = {.name = "pcap",
		.vdev = "net_pcap",
		.check = check_pcap,
		.args = args_pcap},
	[RIM_PORT_NULL] = {.name = "null",
		.vdev = "net_null",
		.check = check_nothing,
		.args = args_none},
	[RIM_PORT_ETHDEV] = {.name = "ethdev",
		.rx_csum = true,
		.tx_retries = 1,
		.rx_interrupt = true,
		.check = check_ethdev,
		.args = args_none},
};

/* Receive queues of an interface, as the kernel shows them. */
static uint32_t iface_queues(const char *iface)
{
	uint32_t n = 0;
	char path[96];

	for (; n < RIM_QUEUES_MAX; n++) {
		snprintf(path, sizeof(path), "/sys/class/net/%s/queues/rx-%u", iface, n);
		if (access(path, F_OK) != 0)
			break;
	}
	return n > 0 ? n : 1;
}

uint16_t rim_port_queues_auto(const struct rim_port_config *cfg, uint32_t workers)
{
	uint32_t n = workers;

	switch (cfg->kind) {
	case RIM_PORT_AF_XDP:
		if (iface_queues(cfg->iface) < n)
			n = iface_queues(cfg->iface);
		break;
	case RIM_PORT_MEMIF: /* the peer must offer as many */
	case RIM_PORT_VHOST_USER:
	case RIM_PORT_VIRTIO_USER:
	case RIM_PORT_PCAP: /* a file is read once */
		n = 1;
		break;
	default:
		break;
	}
	return (uint16_t)(n < RIM_QUEUES_MAX ? n : RIM_QUEUES_MAX);
}

const char *rim_port_kind_name(enum rim_port_kind kind)
{
	return rim_port_kinds[kind].name;
}

int rim_port_kind_parse(const char *name)
{
	for (int n = 0; n < RIM_PORT_KINDS; n++)
		if (strcmp(rim_port_kinds[n].name, name) == 0)
			return n;
	return -EINVAL;
}
