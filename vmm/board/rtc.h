/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real-time clock: MC146818 as lkvm maps it, index register at offset 0 and data register at 1.
 * It tells the host's time (UTC) and cannot be set; it has no interrupt.
 */
#ifndef BOARD_RTC_H
#define BOARD_RTC_H

#include "vmm/core/types.h"

struct err;
struct mmio_bus;
struct rtc;

/**
 * rtc_new() - make the clock and put it on the bus
 * @base: IPA of the registers
 * @now:  seconds since 1970; NULL: the host's CLOCK_REALTIME
 *
 * Return: 0 or a negative errno (-ENOMEM, and what mmio_add() says).
 */
int rtc_new(struct mmio_bus *bus, ipa_t base, int64_t (*now)(void), struct rtc **out,
	    struct err *e);

/** rtc_free() - no vCPU runs any more */
void rtc_free(struct rtc *r);

#endif
