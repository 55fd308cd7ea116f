/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this host can do, as a table of findings: `realmtool check` prints it, for people or as
 * JSON. Collecting changes nothing on the host: VMs made for a question are gone with its answer,
 * and device nodes other than KVM's are looked at, not opened.
 */
#ifndef VMM_CHECK_H
#define VMM_CHECK_H

#include <stdio.h>

#include "realm/host.h"
#include "vmm/core/types.h"

struct err;
struct sandbox_host;

enum check_mark {
	CHECK_UNKNOWN,		/* could not be asked: no line for it, null in JSON */
	CHECK_OK,
	CHECK_NOTE,		/* neither good nor bad, or good with a limit */
	CHECK_MISSING,
};

enum check_kind {		/* of a finding's value in JSON */
	CHECK_BOOL,
	CHECK_NUM,
	CHECK_STR,
	CHECK_LIST,		/* words of @str */
};

/* What a missing thing makes impossible. */
#define CHECK_PLAIN	(1U << 0)
#define CHECK_EMULATED	(1U << 1)
#define CHECK_REALM	(1U << 2)
#define CHECK_ALL	(CHECK_PLAIN | CHECK_EMULATED | CHECK_REALM)

/**
 * struct check_finding - a line of the report
 * @section, @key: its name in JSON, which never changes; @label: the one for people
 * @num, @str: value, see @kind
 * @text:     value for people
 * @stops:    CHECK_PLAIN and so on, if CHECK_MISSING
 * @prevents: what does not work because of it; empty if @stops says it all
 * @helps:    what would bring it
 */
struct check_finding {
	const char *section, *key, *label;
	enum check_kind kind;
	enum check_mark mark;
	uint64_t num;
	char str[160];
	char text[288];
	unsigned int stops;
	char prevents[192];
	char helps[288];
};

#define CHECK_MAX 64

/**
 * struct check - all of it
 * @can:     CHECK_PLAIN and so on: what can be launched
 * @summary: the same in a sentence
 */
struct check {
	struct check_finding f[CHECK_MAX];
	unsigned int nr;
	unsigned int can;
	char summary[288];
};

/**
 * struct check_env - where to look for all that is not KVM; tests put a model in its place
 * @root:      put before each path; NULL: nothing
 * @release, @machine: as uname() has them; NULL: ask it
 * @page_size: 0: ask the kernel
 * @uring:     can this process have a ring? 0 or negative errno; NULL: try
 * @sandbox:   what of the sandbox the host allows; NULL: try
 * @find:      where is a program? As helper_find(), which NULL stands for
 */
struct check_env {
	const char *root;
	const char *release, *machine;
	long page_size;
	int (*uring)(void);
	void (*sandbox)(struct sandbox_host *h);
	char *(*find)(const char *name);
};

/**
 * struct check_want - what the user says
 * @kvm_dev: NULL: /dev/kvm
 */
struct check_want {
	const char *kvm_dev;
	struct realm_host_want host;
};

/**
 * check_collect() - find out
 * @sys: NULL: the real kernel
 * @env: NULL: the real host
 *
 * Return: 0, however bad the findings are; a negative errno if @want makes no sense.
 */
int check_collect(struct check *c, const struct kvm_sys *sys, const struct check_env *env,
		  const struct check_want *want, struct err *e);

/** check_exit_code() - 0: realms; 1: emulated realms or plain VMs only; 2: nothing */
int check_exit_code(const struct check *c);
/** check_stops() - the names of what @stops makes impossible: "realms and emulated realms" */
const char *check_stops(unsigned int stops);
/** check_mark_name() - "ok", "note", "no"; "unknown" */
const char *check_mark_name(enum check_mark mark);

/* in cmd_check.c */
void check_print(const struct check *c, FILE *f);
void check_json(const struct check *c, FILE *f);

#endif
