// SPDX-License-Identifier: BSD-3-Clause
/*
 * A real-time clock, MC146818A (Motorola data sheet: address map in figure 12, registers A to D).
 *
 * Its user is UEFI: edk2's PcatRealTimeClockRuntimeDxe, which gives the time to Linux. The format
 * is fixed to BCD and 24 hours, as register B says.
 */
#include "vmm/board/rtc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/core/mmio.h"

#define OFF_INDEX	0
#define OFF_DATA	1

#define CMOS_SIZE	128

#define REG_SECONDS	0x00
#define REG_MINUTES	0x02
#define REG_HOURS	0x04
#define REG_WEEKDAY	0x06
#define REG_DAY		0x07
#define REG_MONTH	0x08
#define REG_YEAR	0x09
#define REG_A		0x0a
#define REG_B		0x0b
#define REG_C		0x0c
#define REG_D		0x0d
#define REG_CENTURY	0x32		/* where PCs and lkvm have it */

#define A_UIP		0x80
#define A_32KHZ_1KHZ	0x26		/* the usual time base and rate */
#define B_24H		0x02
#define B_BINARY	0x04
#define D_VALID		0x80

struct rtc {
	pthread_mutex_t lock;
	int64_t (*now)(void);
	int64_t shown;			/* the second that the time registers tell */
	uint8_t index;
	uint8_t cmos[CMOS_SIZE];
};

static int64_t host_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

static uint8_t bcd(int val)
{
	return (val / 10 % 10) << 4 | val % 10;
}

static bool is_time(unsigned int reg)
{
	switch (reg) {
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
		return true;
	default:
		return false;
	}
}

static uint8_t read_time(struct rtc *r, unsigned int reg)
{
	int64_t now = r->now();
	struct tm tm;
	time_t t;

	/*
	 * UIP is never set, so a guest cannot see an update coming. Instead the time stands still
	 * from a read of the seconds, with which drivers begin, for one second: 11:59:59 never
	 * turns into 11:00:00 between two registers.
	 */
	if (reg == REG_SECONDS || now < r->shown || now > r->shown + 1)
		r->shown = now;
	t = r->shown;
	if (!gmtime_r(&t, &tm))
		return 0;
	switch (reg) {
	case REG_SECONDS:
		return bcd(MIN(tm.tm_sec, 59));	/* a leap second is none here */
	case REG_MINUTES:
		return bcd(tm.tm_min);
	case REG_HOURS:
		return bcd(tm.tm_hour);
	case REG_WEEKDAY:
		return tm.tm_wday + 1;		/* Sunday is 1 */
	case REG_DAY:
		return bcd(tm.tm_mday);
	case REG_MONTH:
		return bcd(tm.tm_mon + 1);
	case REG_YEAR:
		return bcd((tm.tm_year + 1900) % 100);
	default:
		return bcd((tm.tm_year + 1900) / 100);
	}
}

static uint64_t rtc_read(void *dev, uint64_t off, unsigned int len)
{
	struct rtc *r = dev;
	uint8_t val = 0;

	pthread_mutex_lock(&r->lock);
	if (off == OFF_INDEX)
		val = r->index;
	else if (off == OFF_DATA)
		val = is_time(r->index) ? read_time(r, r->index) : r->cmos[r->index];
	pthread_mutex_unlock(&r->lock);
	return val;
}

static void write_data(struct rtc *r, uint8_t val)
{
	if (is_time(r->index))
		return;
	switch (r->index) {
	case REG_A:
		r->cmos[REG_A] = val & ~A_UIP;
		break;
	case REG_B:
		r->cmos[REG_B] = (val & ~B_BINARY) | B_24H;
		break;
	case REG_C:
	case REG_D:
		break;
	default:
		/* Alarm and CMOS memory: stored, without effect. */
		r->cmos[r->index] = val;
	}
}

static void rtc_write(void *dev, uint64_t off, uint64_t val, unsigned int len)
{
	struct rtc *r = dev;

	pthread_mutex_lock(&r->lock);
	if (off == OFF_INDEX)
		r->index = val % CMOS_SIZE;	/* bit 7 masks the NMI on a PC */
	else if (off == OFF_DATA)
		write_data(r, val);
	pthread_mutex_unlock(&r->lock);
}

static const struct mmio_ops rtc_ops = {
	.read = rtc_read,
	.write = rtc_write,
};

int rtc_new(struct mmio_bus *bus, ipa_t base, int64_t (*now)(void), struct rtc **out,
	    struct err *e)
{
	struct rtc *r = calloc(1, sizeof(*r));
	int rc;

	*out = NULL;
	if (!r)
		return err_set(e, -ENOMEM, "rtc: out of memory");
	r->now = now ? now : host_now;
	r->cmos[REG_A] = A_32KHZ_1KHZ;
	r->cmos[REG_B] = B_24H;
	r->cmos[REG_D] = D_VALID;
	pthread_mutex_init(&r->lock, NULL);
	rc = mmio_add(bus, base, MAP_RTC_SIZE, &rtc_ops, r, "rtc", e);
	if (rc) {
		pthread_mutex_destroy(&r->lock);
		free(r);
		return rc;
	}
	*out = r;
	return 0;
}

void rtc_free(struct rtc *r)
{
	if (!r)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}
