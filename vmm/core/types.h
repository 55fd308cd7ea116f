/* SPDX-License-Identifier: BSD-3-Clause */
/* Small things that every room uses. */
#ifndef CORE_TYPES_H
#define CORE_TYPES_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * An intermediate physical address: what the guest calls a physical address. How an IPA splits
 * into a protected and a shared half is known to realm/ipa.h alone.
 */
typedef uint64_t ipa_t;
#define PRIipa "#" PRIx64

#define SZ_4K	UINT64_C(0x1000)
#define SZ_64K	UINT64_C(0x10000)
#define SZ_1M	UINT64_C(0x100000)
#define SZ_2M	UINT64_C(0x200000)
#define SZ_1G	UINT64_C(0x40000000)

/* The RMM's granule, and the page size of every host that runs realms today. */
#define GRANULE_SIZE SZ_4K

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
/* Each argument is evaluated once, so that a call can be one; not for constant expressions. */
#define PASTE2_(a, b)		a##b
#define PASTE_(a, b)		PASTE2_(a, b)
#define CHOOSE_(op, a, b, x, y)	({ __typeof__((a) + (b)) x = (a), y = (b); x op y ? x : y; })
#define CHOOSE(op, a, b, n)	CHOOSE_(op, a, b, PASTE_(x_, n), PASTE_(y_, n))
#define MIN(a, b)		CHOOSE(<, a, b, __COUNTER__)
#define MAX(a, b)		CHOOSE(>, a, b, __COUNTER__)
#define ALIGN_DOWN(x, a)	((x) & ~((__typeof__(x))(a) - 1))
#define ALIGN_UP(x, a)		ALIGN_DOWN((x) + ((__typeof__(x))(a) - 1), a)
#define IS_ALIGNED(x, a)	(((x) & ((__typeof__(x))(a) - 1)) == 0)
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

#define PRINTF_LIKE(f, a)	__attribute__((format(printf, f, a)))

#endif
