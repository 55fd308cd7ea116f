/* SPDX-License-Identifier: BSD-3-Clause */
/* What every unit test includes: cmocka wants these in this order. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
