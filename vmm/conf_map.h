/* SPDX-License-Identifier: BSD-3-Clause */
/* The planned IPA space, for people. */
#ifndef VMM_CONF_MAP_H
#define VMM_CONF_MAP_H

#include <stdio.h>

struct layout;
struct vm_config;

/** conf_map() - print what lies where, from the lowest address on */
void conf_map(const struct vm_config *c, const struct layout *l, FILE *to);

#endif
