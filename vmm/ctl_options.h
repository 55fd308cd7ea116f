/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of the commands that speak to guests which run: list, stop, pause, resume, console,
 * wait, stat, metrics, balloon, debug. Their help and the option part of their manual pages come
 * from these tables.
 */
#ifndef VMM_CTL_OPTIONS_H
#define VMM_CTL_OPTIONS_H

#include "vmm/core/opt.h"
#include "vmm/core/types.h"

/**
 * struct ctl_sel - which guests a command is for; first member of what its options fill
 * @name: of --name, or the word that is no option
 */
struct ctl_sel {
	bool all, help;
	char *name;
};

struct list_options {
	struct ctl_sel sel;
	bool run, rootfs, json;
};

struct stop_options {
	struct ctl_sel sel;
	bool force;
	unsigned int timeout;	/* seconds, 0: do not wait */
};

struct console_options {
	struct ctl_sel sel;
	bool view, new, log;
};

struct wait_options {
	struct ctl_sel sel;
	char *regex;
	bool new, quiet;
	unsigned int timeout;	/* seconds, 0: none */
};

struct stat_options {
	struct ctl_sel sel;
	bool memory, json, map, watch;
	unsigned int every;	/* seconds, with @watch */
};

struct metrics_options {
	struct ctl_sel sel;
	bool json;
};

#define BALLOON_NOT_GIVEN UINT64_MAX
struct balloon_options {
	struct ctl_sel sel;
	uint64_t inflate, deflate, size;	/* MiB */
	bool json;
};

#define DEBUG_NO_NMI UINT32_MAX
struct debug_options {
	struct ctl_sel sel;
	bool dump;
	unsigned int nmi;
	char *sysrq;
};

extern const struct opt_table list_table, stop_table, pause_table, resume_table, console_table,
	wait_table, stat_table, metrics_table, balloon_table, debug_table;

/** struct ctl_table - a command and its options; NULL ends */
struct ctl_table {
	const char *name;
	const struct opt_table *options;
};
extern const struct ctl_table ctl_tables[];

#endif
