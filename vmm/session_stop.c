// SPDX-License-Identifier: BSD-3-Clause
/* The end of a session that somebody outside wants, and what a service manager sees of it. */
#include <signal.h>
#include <string.h>

#include "vmm/board/pl061.h"
#include "vmm/core/log.h"
#include "vmm/session.h"

#define NSEC_PER_SEC	UINT64_C(1000000000)
#define PRESS_NS	(NSEC_PER_SEC / 10)	/* Linux debounces for 5 ms */

/* ---- the end --------------------------------------------------------------------------------- */

static void end_now(struct session *s)
{
	if (s->stop.signal)
		s->signal = s->stop.signal;
	if (s->m)
		machine_end(s->m, END_LEAVE);
	else
		s->left = true;
}

static void on_release(struct loop_timer *t)
{
	struct session *s = container_of(t, struct session, stop.release);

	if (!s->m || !s->m->gpio)
		return;
	/* held until the guest looks: Linux takes notice of that when its driver comes up */
	if (!pl061_awaited(s->m->gpio, MAP_GPIO_POWER))
		loop_timer_set(t, PRESS_NS);
	else
		pl061_set(s->m->gpio, MAP_GPIO_POWER, false);
}

static void on_force(struct loop_timer *t)
{
	struct session *s = container_of(t, struct session, stop.force);

	log_warning("the guest has not switched itself off within %u s: ending the VM",
		    s->cfg->stop_timeout);
	end_now(s);
}

static bool can_ask(const struct session *s)
{
	return s->m && s->m->gpio && s->cfg->stop_timeout && !atomic_load(&s->m->end);
}

static void press(struct session *s)
{
	/* a guest that stands cannot switch itself off */
	ctl_vm_resume(s);
	pl061_set(s->m->gpio, MAP_GPIO_POWER, true);
	loop_timer_set(&s->stop.release, PRESS_NS);
	loop_timer_set(&s->stop.force, s->cfg->stop_timeout * NSEC_PER_SEC);
	s->stop.force_ns = loop_now() + s->cfg->stop_timeout * NSEC_PER_SEC;
}

unsigned int session_stop(struct session *s, int sig, bool now)
{
	const char *who = sig ? strsignal(sig) : "stop";
	bool asked = s->stop.asked;

	s->stop.asked = true;
	s->stop.signal = sig ? sig : s->stop.signal;
	if (!asked)
		notify_send(&s->notify, "STOPPING=1\nSTATUS=Ending: %s", who);
	if (now || (!asked && !can_ask(s))) {
		log_info("%s: ending the VM", who);
		end_now(s);
		return 0;
	}
	if (!asked) {
		log_info("%s: the power button is pressed; in %u s the VM is ended", who,
			 s->cfg->stop_timeout);
		press(s);
	}
	if (s->stop.force_ns <= loop_now())
		return 0;
	return (s->stop.force_ns - loop_now() + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
}

/* ---- the service manager ---------------------------------------------------------------------*/

static void on_watchdog(struct loop_timer *t)
{
	struct session *s = container_of(t, struct session, stop.watchdog);

	notify_send(&s->notify, "WATCHDOG=1");
	/* as sd_watchdog_enabled(3) advises */
	loop_timer_set(t, s->notify.watchdog_ns / 2);
}

static void on_ready(void *ctx)
{
	struct session *s = ctx;

	if (s->cfg->ready_set)
		log_info("the guest is up");
	notify_send(&s->notify, "READY=1\nSTATUS=The guest is up");
}

int session_notify_open(struct session *s, struct err *e)
{
	int ret;

	notify_open(&s->notify);
	notify_send(&s->notify, "STATUS=Starting the guest");
	ret = loop_timer_add(&s->loop, &s->stop.release, on_release);
	if (!ret)
		ret = loop_timer_add(&s->loop, &s->stop.force, on_force);
	if (!ret)
		ret = loop_timer_add(&s->loop, &s->stop.watchdog, on_watchdog);
	if (ret < 0)
		return err_set(e, ret, "timer: %s", strerror(-ret));
	if (s->notify.watchdog_ns)
		on_watchdog(&s->stop.watchdog);
	if (s->notify.fd < 0 && !s->cfg->ready_set)
		return 0;
	return ready_open(&s->loop, s->cfg, on_ready, s, &s->ready, e);
}

void session_notify_close(struct session *s, int ret, const struct err *e)
{
	ready_close(s->ready);
	s->ready = NULL;
	if (ret < 0)
		notify_send(&s->notify, "STOPPING=1\nERRNO=%d\nSTATUS=%s", -ret, e->msg);
	else if (!s->stop.asked)
		notify_send(&s->notify, "STOPPING=1\nSTATUS=The guest has ended");
	notify_close(&s->notify);
	loop_timer_del(&s->loop, &s->stop.watchdog);
	loop_timer_del(&s->loop, &s->stop.force);
	loop_timer_del(&s->loop, &s->stop.release);
}
