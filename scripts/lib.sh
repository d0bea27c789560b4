# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
# shellcheck shell=bash
#
# What the scripts share: where the tree is, how packages are installed, how a build folder is
# made. Sourced, never run. Everything that scripts make lies below build/ in the tree.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${SLUICE_BUILD:-$ROOT/build}
CACHE=${SLUICE_CACHE:-$BUILD/cache}
# The build uses Debian's Python; one from elsewhere in PATH may lack the modules.
export PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
export DEBIAN_FRONTEND=noninteractive
export LC_ALL=C.UTF-8

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "must run as root (network namespaces, apt-get): sudo $0"
}

# One run at a time in a build folder. What a killed run started may still be at work in it: its
# children hold the lock too, so the next run waits for them.
lock_build() {
	[ -z "${SLUICE_LOCKED:-}" ] || return 0
	mkdir -p "$BUILD"
	exec 9>"$BUILD/.lock"
	flock -n 9 || {
		say "waiting for another run in $BUILD to end"
		flock -w 1800 9 || die "another run still holds $BUILD/.lock"
	}
	export SLUICE_LOCKED=1
}

unlock_build() {
	exec 9>&-
	unset SLUICE_LOCKED
}

# What each package is for stands beside it; apt gets those that are not installed.
PACKAGES_BUILD=(
	gcc libc6-dev           # the compiler
	meson ninja-build pkg-config
	libdpdk-dev dpdk        # the packet I/O library and its drivers
	libjansson-dev          # JSON documents
	libevent-dev            # control and API threads' loops
	libcurl4-openssl-dev    # HTTP clients: Kubernetes, sluicectl
	libssl-dev              # TLS below libevent and libcurl
	libyaml-dev             # configuration, manifests
	libcunit1-dev           # unit tests
	python3                 # lab, checks, code generators
)
PACKAGES_LAB=(
	iproute2 ethtool procps # namespaces, veth, offloads off, sysctl
	curl iputils-ping traceroute iperf3 # the clients of the lab
)
PACKAGES_TEST=(
	clang-14 libclang-rt-14-dev clang-format-14 llvm-14 # second compiler, sanitizers, fuzzers
	python3-yaml python3-jsonschema # OpenAPI checked against real answers
	socat tcpdump nftables  # end-to-end tests
	debootstrap             # check-debian13, check-arm64
	gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static # check-arm64
	dpdk-dev openvswitch-switch-dpdk # drive the emulated NIC with rules of their own
	valgrind git openssl ca-certificates
)

# Tests want the programs of a package, not its daemon on this machine.
POLICY=/usr/sbin/policy-rc.d
services_stay_off() {
	[ -e "$POLICY" ] || install -m 755 /dev/stdin "$POLICY" <<-'DENY'
		#!/bin/sh
		# sluice: while scripts/setup installs packages
		exit 101
	DENY
}

services_as_before() {
	! grep -qs '^# sluice:' "$POLICY" || rm -f "$POLICY"
}

# install_packages NAME...: nothing is fetched when all are there.
install_packages() {
	local missing=() name
	for name in "$@"; do
		# shellcheck disable=SC2016
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
			missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	need_root
	say "installing: ${missing[*]}"
	# A run that was killed may have left packages half configured.
	dpkg --configure -a </dev/null >"$CACHE/apt.log" 2>&1 || true
	apt-get -o DPkg::Lock::Timeout=300 -q update </dev/null >>"$CACHE/apt.log" 2>&1 ||
		say "apt-get update failed; going on with the lists that are there"
	services_stay_off
	apt-get -o DPkg::Lock::Timeout=300 -q -y --no-install-recommends install "${missing[@]}" \
		</dev/null >>"$CACHE/apt.log" 2>&1 || {
		services_as_before
		tail -n 20 "$CACHE/apt.log" >&2
		die "apt-get install failed (log: $CACHE/apt.log)"
	}
	services_as_before
}

# setup_packages quickstart|test
setup_packages() {
	mkdir -p "$CACHE"
	case $1 in
	build) install_packages "${PACKAGES_BUILD[@]}" ;;
	quickstart) install_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_LAB[@]}" ;;
	test)
		install_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_LAB[@]}" "${PACKAGES_TEST[@]}"
		# Another vendor's kubectl package conflicts with Debian's; any will do.
		command -v kubectl >/dev/null || install_packages kubernetes-client
		;;
	*) die "setup: quickstart or test, not '$1'" ;;
	esac
}

# build_dir NAME [meson options...]: configure once; a folder that a killed run left half made,
# or made with other options, or before the headers of DPDK's drivers came, is made anew.
build_dir() {
	local dir=$BUILD/$1 stamp
	shift
	stamp="$* CC=${CC:-} $("$ROOT/scripts/fetch-driver-headers" --cached 2>/dev/null)"
	if [ ! -f "$dir/build.ninja" ] || [ "$(cat "$dir/.options" 2>/dev/null)" != "$stamp" ]; then
		rm -rf "$dir"
		mkdir -p "$BUILD"
		meson setup "$@" "$dir" "$ROOT" >"$dir.setup.log" 2>&1 || {
			cat "$dir.setup.log" >&2
			return 1
		}
		printf '%s' "$stamp" >"$dir/.options"
	fi
}

# The Debian mirror that this machine installs from, whatever it is.
debian_mirror() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
		awk '$2 !~ /-/ && $3 == "main" { print $1; found = 1; exit } END { exit !found }'
}

# copy_apt_transport DIR: a chroot reaches the mirror as this machine does.
copy_apt_transport() {
	cp -L /etc/resolv.conf "$1/etc/resolv.conf" 2>/dev/null || true
	cp -L /etc/hosts "$1/etc/hosts" 2>/dev/null || true
	apt-config dump | grep -E '^Acquire::(http|https)::[Pp]roxy' \
		>"$1/etc/apt/apt.conf.d/90transport" || true
}

# copy_tree DIR: the tree as it is, without what is built; times are kept, so that a build folder
# beside the copy rebuilds only what changed.
copy_tree() {
	rm -rf "$1"
	mkdir -p "$1"
	if git -C "$ROOT" rev-parse --git-dir >/dev/null 2>&1; then
		git -C "$ROOT" ls-files -z | (cd "$ROOT" && tar -c --null --ignore-failed-read -T - 2>/dev/null) | tar -x -C "$1"
	else
		tar -c -C "$ROOT" --exclude=./build --exclude=./.git . | tar -x -C "$1"
	fi
}
