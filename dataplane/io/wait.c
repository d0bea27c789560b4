/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* How an idle worker sleeps, and what wakes it.
 *
 * It waits on one descriptor a queue that is readable while frames wait (sockets, TAP), on its
 * drivers' receive interrupts, which lie in one epoll set, and on a bell, an eventfd that control
 * rings behind every change that concerns it. poll() and not one epoll set for all: a socket in a
 * set calls it for each frame, also while its worker is busy. Where a queue has nothing of that
 * kind the sleep is short, doubling to the configured maximum.
 *
 * No wake-up is lost. The worker says that it is asleep, arms the interrupts, takes the view, and
 * then makes one more whole loop; only when that found nothing, and still that view, does it wait.
 * Who has something for it writes that down first and looks at its flag then (rim_wake()). Both do
 * so by a read-modify-write of the flag, so one of the two sees what the other did.
 *
 * While it waits it is off-line for QSBR: nobody's grace period waits for a sleeper. It uses no
 * memory of a view or port then, only numbers of descriptors; that one of them may be closed does
 * no harm, because the bell has been rung before.
 *
 * Worker threads, but where it says control. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_atomic.h>
#include <rte_cycles.h>

#include "io/rim_internal.h"

#define BELL 0 /* in rim_worker.poll */

/* --- control ------------------------------------------------------------------------------------
 */

int rim_wait_init(struct rim_worker *rw, struct rim_error *err)
{
	rw->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	rw->interrupts = epoll_create1(EPOLL_CLOEXEC);
	if (rw->bell < 0 || rw->interrupts < 0)
		return rim_fail(err, -errno, "worker %u: no descriptor to wait on: %s", rw->w.id,
			strerror(errno));
	rw->poll[BELL] = (struct pollfd){.fd = rw->bell, .events = POLLIN};
	return 0;
}

void rim_wait_fini(struct rim_worker *rw)
{
	if (rw->bell >= 0)
		close(rw->bell);
	if (rw->interrupts >= 0)
		close(rw->interrupts);
	rw->bell = rw->interrupts = -1;
}

void rim_wake(struct rim_worker *rw)
{
	const uint64_t one = 1;
	ssize_t full;

	if (atomic_fetch_or_explicit(&rw->asleep, 0, memory_order_acq_rel) == 0)
		return;
	/* A bell that cannot be rung once more rings already. */
	full = write(rw->bell, &one, sizeof(one));
	(void)full;
}

void rim_wake_all(struct rim *rim)
{
	for (uint32_t id = 0; id < rim->cfg.n_workers; id++)
		if (rim->worker[id] != NULL)
			rim_wake(rim->worker[id]);
}

/* A descriptor for each queue, from what was noted or from the driver. */
static bool descriptors(struct rim_port *p)
{
	if (p->sockets.n == p->n_rxq) {
		memcpy(p->rx_fd, p->sockets.fd, sizeof(p->rx_fd));
		return true;
	}
	if (!p->rx_interrupt)
		return false;
	/* Drivers without interrupts call that an error. */
	rim_driver_quiet(true);
	for (uint16_t q = 0; q < p->n_rxq; q++) {
		p->rx_fd[q] = rte_eth_dev_rx_intr_ctl_q_get_fd(p->eth, q);
		if (p->rx_fd[q] <= 0) {
			p->rx_interrupt = false;
			break;
		}
	}
	rim_driver_quiet(false);
	return p->rx_interrupt;
}

/* Edges: an interrupt's counter need not be read, and drivers differ in what reading does. */
static bool interrupts_add(struct rim *rim, struct rim_port *p)
{
	for (uint16_t q = 0; q < p->n_rxq; q++) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
		int set = rim->worker[p->rx_worker[q]]->interrupts;

		if (epoll_ctl(set, EPOLL_CTL_ADD, p->rx_fd[q], &ev) != 0) {
			rim_wait_port_gone(rim, p);
			return false;
		}
	}
	return true;
}

void rim_wait_port(struct rim *rim, struct rim_port *p)
{
	p->wake = RIM_WAKE_TIMER;
	if (!descriptors(p))
		return;
	if (p->sockets.n == p->n_rxq || rim_port_kinds[p->cfg.kind].rx_readable)
		p->wake = RIM_WAKE_DESCRIPTOR;
	else if (interrupts_add(rim, p))
		p->wake = RIM_WAKE_INTERRUPT;
}

void rim_wait_port_gone(struct rim *rim, struct rim_port *p)
{
	if (!p->rx_interrupt || rim_port_kinds[p->cfg.kind].rx_readable)
		return;
	for (uint16_t q = 0; q < p->n_rxq; q++)
		(void)epoll_ctl(
			rim->worker[p->rx_worker[q]]->interrupts, EPOLL_CTL_DEL, p->rx_fd[q], NULL);
}

/* --- workers ------------------------------------------------------------------------------------
 */

static void watch(struct rim_worker *rw, const struct rim_rxq *q)
{
	const struct rim_port *p = rw->view->port[q->port];

	/* Nothing comes from a port that is down; control rings when it is up. */
	if ((rw->ports_up & 1u << q->port) == 0)
		return;
	if (p->wake == RIM_WAKE_DESCRIPTOR)
		rw->poll[rw->n_poll++] =
			(struct pollfd){.fd = p->rx_fd[q->queue], .events = POLLIN};
	else if (p->wake == RIM_WAKE_INTERRUPT && rte_eth_dev_rx_intr_enable(q->eth, q->queue) == 0)
		rw->armed = true;
	else
		rw->timed = true;
}

const struct rim_view *rim_wait_arm(struct rim_worker *rw)
{
	struct rim *rim = rw->rim;

	(void)atomic_exchange_explicit(&rw->asleep, 1, memory_order_acq_rel);
	rw->view = atomic_load_explicit(&rim->view, memory_order_acquire);
	rw->ports_up = atomic_load_explicit(&rim->ports_up, memory_order_relaxed);
	rw->n_poll = BELL + 1;
	/* A worker that drains leaves in the queues what is there. */
	rw->timed = atomic_load_explicit(&rim->draining, memory_order_relaxed);
	for (uint32_t q = 0; q < rw->view->n_rxq[rw->w.id]; q++)
		watch(rw, &rw->view->rxq[rw->w.id][q]);
	if (rw->armed) {
		rw->poll[rw->n_poll++] = (struct pollfd){.fd = rw->interrupts, .events = POLLIN};
		/* Drivers of shared memory leave it to their caller that the peer sees the flag
		 * before the queue is looked at again. */
		rte_mb();
	}
	return rw->view;
}

void rim_wait_disarm(struct rim_worker *rw)
{
	const struct rim_view *v;

	atomic_store_explicit(&rw->asleep, 0, memory_order_relaxed);
	if (!rw->armed)
		return;
	rw->armed = false;
	/* The ports that there are now: one that was removed meanwhile may be closed. */
	v = atomic_load_explicit(&rw->rim->view, memory_order_acquire);
	for (uint32_t n = 0; n < v->n_rxq[rw->w.id]; n++) {
		const struct rim_rxq *q = &v->rxq[rw->w.id][n];

		if (v->port[q->port]->wake == RIM_WAKE_INTERRUPT)
			(void)rte_eth_dev_rx_intr_disable(q->eth, q->queue);
	}
}

static uint32_t how_long_us(struct rim_worker *rw)
{
	uint32_t us = rw->sleep_us, longest = rw->rim->cfg.idle.sleep_max_us;

	if (!rw->timed && !rw->vain)
		return 1000 * (rw->w.held_count != 0 ? 1 : rw->rim->wait_ms);
	rw->sleep_us = us < longest / 2 ? 2 * us : longest;
	return us;
}

/* Takes what ended the wait; true when it was a queue. */
static bool take(struct rim_worker *rw)
{
	bool queue = false;

	if (rw->poll[BELL].revents != 0) {
		uint64_t rings;
		ssize_t empty = read(rw->bell, &rings, sizeof(rings));

		(void)empty;
	}
	for (uint32_t n = BELL + 1; n < rw->n_poll; n++) {
		const struct pollfd *p = &rw->poll[n];
		struct epoll_event ev[8];
		socklen_t size = sizeof(int);
		int error;

		if (p->revents == 0)
			continue;
		queue = true;
		if (p->fd == rw->interrupts)
			while (epoll_wait(rw->interrupts, ev, 8, 0) == 8)
				;
		else if ((p->revents & POLLERR) != 0)
			/* An interface that was down: told once, when it is asked for. */
			(void)getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	}
	return queue;
}

/* Polling on would have been better than a sleep that was shorter than the most that is polled. */
static void spin_adapt(struct rim_worker *rw, uint64_t slept)
{
	uint64_t most = rw->rim->spin_ticks;

	rw->spin_ticks = slept < most ? most : rw->spin_ticks / 2;
	if (rw->spin_ticks < most / RIM_SPIN_SHRINK)
		rw->spin_ticks = most / RIM_SPIN_SHRINK;
}

void rim_wait(struct rim_worker *rw)
{
	struct timespec ts = {0};
	uint64_t start = rte_rdtsc();
	uint32_t us = how_long_us(rw);
	int n;

	ts.tv_sec = us / 1000000;
	ts.tv_nsec = (long)(us % 1000000) * 1000;
	if (rw->vain)
		rw->n_poll = BELL + 1;
	rte_rcu_qsbr_thread_offline(rw->rim->qsbr, rw->w.id);
	n = ppoll(rw->poll, rw->n_poll, &ts, NULL);
	rte_rcu_qsbr_thread_online(rw->rim->qsbr, rw->w.id);
	atomic_fetch_add_explicit(&rw->sleeps, 1, memory_order_relaxed);
	rw->slept = true;
	rw->vain = false;
	if (n > 0 && take(rw)) {
		/* Until the frame is there: what woke us may be ahead of it, as TAP's descriptor is
		 * of the driver's signal. If none comes the next sleep is a timed one. */
		rw->vain = true;
		rw->busy_tsc = rte_rdtsc();
		spin_adapt(rw, rw->busy_tsc - start);
	}
}
