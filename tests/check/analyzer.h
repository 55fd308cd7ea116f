/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For "make check" only: what the analyzers cannot see, because it is in another file. Whoever sets
 * an error returns a negative code.
 */
#include "vmm/core/err.h"

#define err_set(e, code, ...) ({						\
	const int code_ = (code);						\
										\
	if (code_ >= 0)								\
		__builtin_unreachable();					\
	(err_set)((e), code_, __VA_ARGS__);					\
	code_;									\
})

#define err_prefix(e, ...) ({							\
	const int code_ = (err_prefix)((e), __VA_ARGS__);			\
										\
	if (code_ >= 0)								\
		__builtin_unreachable();					\
	code_;									\
})
