/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packet layer of gdb's remote serial protocol: framing, checksums, escapes, hexadecimal.
 * Appendix "gdb Remote Serial Protocol" of the gdb manual, sections Overview, Packet
 * Acknowledgment. The peer is hostile: nothing it sends makes these functions leave their buffers.
 */
#ifndef VMM_GDB_PACKET_H
#define VMM_GDB_PACKET_H

#include "vmm/core/types.h"

/* Longest payload in either direction, told to gdb as PacketSize. */
#define GDB_PACKET_MAX	0x4000
/* A frame: '$', payload, '#', two digits. */
#define GDB_FRAME_MAX	(GDB_PACKET_MAX + 4)

enum gdb_rx_event {
	GDB_RX_NONE,		/* the byte is consumed, nothing complete yet */
	GDB_RX_PACKET,		/* payload in rx->buf, rx->len bytes and a NUL after them */
	GDB_RX_ACK,		/* + */
	GDB_RX_NAK,		/* - */
	GDB_RX_INTERRUPT,	/* 0x03 between packets: ctrl-C */
	GDB_RX_BAD_SUM,		/* a packet ended whose checksum is wrong or not hexadecimal */
	GDB_RX_TOO_LONG,	/* a packet ended that is longer than GDB_PACKET_MAX */
	GDB_RX_GARBAGE,		/* a byte between packets that gdb never sends */
};

/** struct gdb_rx - a receiver; zero it to begin */
struct gdb_rx {
	enum {
		GDB_RX_IDLE,
		GDB_RX_BODY,
		GDB_RX_ESCAPE,
		GDB_RX_SUM_HIGH,
		GDB_RX_SUM_LOW,
	} state;
	uint8_t sum;		/* of the bytes received */
	uint8_t sum_told;	/* of the trailer */
	bool sum_bad;
	bool too_long;
	size_t len;
	char buf[GDB_PACKET_MAX + 1];
};

/**
 * gdb_rx_byte() - take one byte from the wire
 *
 * Escaped bytes are unescaped. A '$' inside of a packet starts a new one.
 */
enum gdb_rx_event gdb_rx_byte(struct gdb_rx *rx, uint8_t c);

/** struct gdb_tx - one frame under construction */
struct gdb_tx {
	uint8_t buf[GDB_FRAME_MAX];
	size_t len;
	bool overflow;
};

/** gdb_tx_begin() - start a frame */
void gdb_tx_begin(struct gdb_tx *tx);
/** gdb_tx_room() - bytes of payload that still fit */
size_t gdb_tx_room(const struct gdb_tx *tx);
/** gdb_tx_printf() - append text that needs no escapes; sets overflow if it does not fit */
void gdb_tx_printf(struct gdb_tx *tx, const char *fmt, ...) PRINTF_LIKE(2, 3);
/** gdb_tx_hex() - append bytes as hexadecimal digits */
void gdb_tx_hex(struct gdb_tx *tx, const void *buf, size_t len);
/** gdb_tx_le() - append the low @bytes bytes (1 to 8) of a number, as hex in target byte order */
void gdb_tx_le(struct gdb_tx *tx, uint64_t val, unsigned int bytes);
/** gdb_tx_binary() - append bytes, escaped. Return: how many fitted */
size_t gdb_tx_binary(struct gdb_tx *tx, const void *buf, size_t len);
/** gdb_tx_end() - add the checksum; a frame that overflowed becomes the error E07 (E2BIG) */
void gdb_tx_end(struct gdb_tx *tx);

/** gdb_hex_digit() - value of a hexadecimal digit, or -1 */
int gdb_hex_digit(char c);

/**
 * gdb_get_hex() - read a hexadecimal number and advance
 * @p: at least one digit, at most 16 significant ones; left at the first byte that is none
 *
 * Return: false if there is no digit or the number exceeds 64 bits.
 */
bool gdb_get_hex(const char **p, uint64_t *val);

/** gdb_get_char() - advance over one expected character. Return: was it there? */
bool gdb_get_char(const char **p, char c);

/**
 * gdb_get_bytes() - read exactly @len bytes written as 2 * @len digits, and advance
 *
 * Return: false at the first character that is no digit (the end of the string is none).
 */
bool gdb_get_bytes(const char **p, void *buf, size_t len);

/** gdb_get_le() - read a number of @bytes bytes (1 to 8) in target byte order, and advance */
bool gdb_get_le(const char **p, uint64_t *val, unsigned int bytes);

#endif
