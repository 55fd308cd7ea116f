// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/gdb_packet.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmm/core/parse.h"

#define ESCAPE		'}'
#define ESCAPE_XOR	0x20

static const char digits[] = "0123456789abcdef";

int gdb_hex_digit(char c)
{
	int v = parse_hex_digit(c);

	return v < 16 ? v : -1;
}

static void rx_start(struct gdb_rx *rx)
{
	rx->state = GDB_RX_BODY;
	rx->len = 0;
	rx->sum = 0;
	rx->sum_told = 0;
	rx->sum_bad = false;
	rx->too_long = false;
}

static void rx_put(struct gdb_rx *rx, uint8_t c)
{
	if (rx->len < GDB_PACKET_MAX)
		rx->buf[rx->len++] = (char)c;
	else
		rx->too_long = true;
}

static enum gdb_rx_event rx_idle(struct gdb_rx *rx, uint8_t c)
{
	switch (c) {
	case '$':
		rx_start(rx);
		return GDB_RX_NONE;
	case '+':
		return GDB_RX_ACK;
	case '-':
		return GDB_RX_NAK;
	case 0x03:
		return GDB_RX_INTERRUPT;
	default:
		return GDB_RX_GARBAGE;
	}
}

static void rx_sum_digit(struct gdb_rx *rx, uint8_t c)
{
	int d = gdb_hex_digit((char)c);

	if (d < 0)
		rx->sum_bad = true;
	else
		rx->sum_told = (uint8_t)(rx->sum_told << 4 | d);
}

enum gdb_rx_event gdb_rx_byte(struct gdb_rx *rx, uint8_t c)
{
	switch (rx->state) {
	case GDB_RX_IDLE:
		return rx_idle(rx, c);
	case GDB_RX_BODY:
		if (c == '$') {
			rx_start(rx);
		} else if (c == '#') {
			rx->state = GDB_RX_SUM_HIGH;
		} else {
			rx->sum += c;
			if (c == ESCAPE)
				rx->state = GDB_RX_ESCAPE;
			else
				rx_put(rx, c);
		}
		return GDB_RX_NONE;
	case GDB_RX_ESCAPE:
		rx->sum += c;
		rx_put(rx, c ^ ESCAPE_XOR);
		rx->state = GDB_RX_BODY;
		return GDB_RX_NONE;
	case GDB_RX_SUM_HIGH:
		rx_sum_digit(rx, c);
		rx->state = GDB_RX_SUM_LOW;
		return GDB_RX_NONE;
	case GDB_RX_SUM_LOW:
		break;
	}
	rx_sum_digit(rx, c);
	rx->state = GDB_RX_IDLE;
	rx->buf[rx->len] = '\0';
	if (rx->sum_bad || rx->sum != rx->sum_told)
		return GDB_RX_BAD_SUM;
	return rx->too_long ? GDB_RX_TOO_LONG : GDB_RX_PACKET;
}

void gdb_tx_begin(struct gdb_tx *tx)
{
	tx->buf[0] = '$';
	tx->len = 1;
	tx->overflow = false;
}

size_t gdb_tx_room(const struct gdb_tx *tx)
{
	return GDB_PACKET_MAX + 1 - tx->len;
}

void gdb_tx_printf(struct gdb_tx *tx, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text) || (size_t)n > gdb_tx_room(tx)) {
		tx->overflow = true;
		return;
	}
	memcpy(tx->buf + tx->len, text, (size_t)n);
	tx->len += (size_t)n;
}

void gdb_tx_hex(struct gdb_tx *tx, const void *buf, size_t len)
{
	const uint8_t *b = buf;

	if (len > gdb_tx_room(tx) / 2) {
		tx->overflow = true;
		return;
	}
	for (size_t i = 0; i < len; i++) {
		tx->buf[tx->len++] = (uint8_t)digits[b[i] >> 4];
		tx->buf[tx->len++] = (uint8_t)digits[b[i] & 0xf];
	}
}

void gdb_tx_le(struct gdb_tx *tx, uint64_t val, unsigned int bytes)
{
	uint8_t b[8];

	for (unsigned int i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(val >> (8 * i));
	gdb_tx_hex(tx, b, MIN(bytes, sizeof(b)));
}

size_t gdb_tx_binary(struct gdb_tx *tx, const void *buf, size_t len)
{
	const uint8_t *b = buf;
	size_t i;

	for (i = 0; i < len; i++) {
		/* '*' begins a run length in replies, so it is escaped too. */
		bool esc = b[i] == '$' || b[i] == '#' || b[i] == '*' || b[i] == ESCAPE;

		if (gdb_tx_room(tx) < (esc ? 2u : 1u))
			break;
		if (esc)
			tx->buf[tx->len++] = ESCAPE;
		tx->buf[tx->len++] = esc ? b[i] ^ ESCAPE_XOR : b[i];
	}
	return i;
}

void gdb_tx_end(struct gdb_tx *tx)
{
	uint8_t sum = 0;

	if (tx->overflow) {
		gdb_tx_begin(tx);
		gdb_tx_printf(tx, "E07");
	}
	for (size_t i = 1; i < tx->len; i++)
		sum += tx->buf[i];
	/* gdb_tx_room() leaves the last 3 bytes of the buffer for this. */
	tx->buf[tx->len++] = '#';
	tx->buf[tx->len++] = (uint8_t)digits[sum >> 4];
	tx->buf[tx->len++] = (uint8_t)digits[sum & 0xf];
}

bool gdb_get_hex(const char **p, uint64_t *val)
{
	const char *s = *p;
	uint64_t v = 0;
	int d;

	if (gdb_hex_digit(*s) < 0)
		return false;
	for (; (d = gdb_hex_digit(*s)) >= 0; s++) {
		if (v >> 60)
			return false;
		v = v << 4 | (uint64_t)d;
	}
	*p = s;
	*val = v;
	return true;
}

bool gdb_get_char(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

bool gdb_get_bytes(const char **p, void *buf, size_t len)
{
	uint8_t *b = buf;

	for (size_t i = 0; i < len; i++) {
		int hi = gdb_hex_digit((*p)[0]);
		int lo = hi < 0 ? -1 : gdb_hex_digit((*p)[1]);

		if (lo < 0)
			return false;
		b[i] = (uint8_t)(hi << 4 | lo);
		*p += 2;
	}
	return true;
}

bool gdb_get_le(const char **p, uint64_t *val, unsigned int bytes)
{
	uint8_t b[8] = { 0 };

	if (bytes > sizeof(b) || !gdb_get_bytes(p, b, bytes))
		return false;
	*val = 0;
	for (unsigned int i = 0; i < sizeof(b); i++)
		*val |= (uint64_t)b[i] << (8 * i);
	return true;
}
