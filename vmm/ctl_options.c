// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/ctl_options.h"

#include "vmm/core/err.h"

#define MIB_MAX (UINT64_C(1) << 32)

#define NAME { .name = "name", .letter = 'n', .arg = "NAME", .help = "name of the guest", \
	       .text = "The same as the word NAME.", \
	       .parse = opt_string, .offset = offsetof(struct ctl_sel, name) }
#define ALL { .name = "all", .letter = 'a', .flags = OPT_FLAG, .help = "all guests of this user", \
	      .parse = opt_flag, .offset = offsetof(struct ctl_sel, all) }
#define HELP { .name = "help", .letter = 'h', .flags = OPT_FLAG, .help = "list the options", \
	       .parse = opt_flag, .offset = offsetof(struct ctl_sel, help) }
#define JSON(type) { .name = "json", .flags = OPT_FLAG, .help = "print JSON", \
		     .parse = opt_flag, .offset = offsetof(struct type, json) }

static const char *const groups[] = { "Options" };

#define TABLE(command, rows) \
	const struct opt_table command##_table = { .opt = (rows), .nr = ARRAY_SIZE(rows), \
		.group = groups, .nr_groups = ARRAY_SIZE(groups), .word = "name", \
		.hint = "see realmtool " #command " --help" }

/* clang-format off */
#define TO(field) .offset = offsetof(struct list_options, field)
static const struct opt list_rows[] = {
	NAME,
	{ .name = "run", .letter = 'i', .flags = OPT_FLAG, .help = "guests that run",
	  .text = "The default; called as lkvm the default is both kinds.",
	  .parse = opt_flag, TO(run) },
	{ .name = "rootfs", .letter = 'r', .flags = OPT_FLAG, .help = "root file systems in ~/.lkvm",
	  .text = "Those that \"setup\" made.", .parse = opt_flag, TO(rootfs) },
	{ .name = "json", .flags = OPT_FLAG, .help = "print JSON, with whole measurements",
	  .text = "A measurement that nobody has asked for yet is computed now, which can take some "
		  "seconds; after five it is given as null.",
	  .parse = opt_flag, TO(json) },
	HELP,
};
#undef TO
TABLE(list, list_rows);

static const struct opt stop_rows[] = {
	NAME,
	ALL,
	{ .name = "force", .letter = 'f', .flags = OPT_FLAG, .help = "at once, without its power button",
	  .parse = opt_flag, .offset = offsetof(struct stop_options, force) },
	{ .name = "timeout", .arg = "S", .help = "wait so long for its end (default 60, 0: do not)",
	  .text = "In seconds, beyond what --stop-timeout gives the guest. When the command "
		  "returns, the guest's disks are unlocked, its devices and its name are free.",
	  .parse = opt_uint, .offset = offsetof(struct stop_options, timeout), .max = 86400 },
	HELP,
};
TABLE(stop, stop_rows);

static const struct opt pause_rows[] = { NAME, ALL, HELP };
TABLE(pause, pause_rows);
TABLE(resume, pause_rows);

#define TO(field) .offset = offsetof(struct console_options, field)
static const struct opt console_rows[] = {
	NAME,
	{ .name = "view", .flags = OPT_FLAG, .help = "look only",
	  .text = "Nothing that is typed reaches the guest.", .parse = opt_flag, TO(view) },
	{ .name = "new", .flags = OPT_FLAG, .help = "begin with what comes, not with the log",
	  .parse = opt_flag, TO(new) },
	{ .name = "log", .flags = OPT_FLAG, .help = "print the log and leave",
	  .text = "It has the last 64 KiB of output, of boots before a reset, too.",
	  .parse = opt_flag, TO(log) },
	HELP,
};
#undef TO
TABLE(console, console_rows);

#define TO(field) .offset = offsetof(struct wait_options, field)
static const struct opt wait_rows[] = {
	NAME,
	{ .name = "for", .arg = "REGEX", .help = "wait for a line on the console that matches",
	  .text = "An extended regular expression of POSIX. What there is of the last line counts as "
		  "one, so a prompt can be waited for. The line is printed.",
	  .parse = opt_string, TO(regex) },
	{ .name = "new", .flags = OPT_FLAG, .help = "not for one that is in the log already",
	  .parse = opt_flag, TO(new) },
	{ .name = "timeout", .arg = "S", .help = "give up after so many seconds",
	  .text = "Then a guest of this name need not run yet: until then one is waited for, too.",
	  .parse = opt_uint, TO(timeout), .min = 1, .max = 10000000 },
	{ .name = "quiet", .letter = 'q', .flags = OPT_FLAG, .help = "print nothing",
	  .parse = opt_flag, TO(quiet) },
	HELP,
};
#undef TO
TABLE(wait, wait_rows);

static int take_watch(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct stat_options *s = dest;
	uint64_t n = 1;
	int ret = value ? opt_number(o, value, &n, e) : 0;

	s->watch = true;
	s->every = n;
	return ret;
}

#define TO(field) .offset = offsetof(struct stat_options, field)
static const struct opt stat_rows[] = {
	NAME,
	ALL,
	{ .name = "memory", .letter = 'm', .flags = OPT_FLAG, .help = "the memory (the default)",
	  .parse = opt_flag, TO(memory) },
	{ .name = "map", .flags = OPT_FLAG, .help = "draw the IPA space",
	  .text = "What lies where, and the RAM in blocks.", .parse = opt_flag, TO(map) },
	{ .name = "watch", .flags = OPT_OPTIONAL, .arg = "S", .help = "again every S seconds (default 1)",
	  .text = "Until the guest ends.", .parse = take_watch, .min = 1, .max = 3600 },
	JSON(stat_options),
	HELP,
};
#undef TO
TABLE(stat, stat_rows);

static const struct opt metrics_rows[] = { NAME, ALL, JSON(metrics_options), HELP };
TABLE(metrics, metrics_rows);

#define TO(field) .offset = offsetof(struct balloon_options, field)
static const struct opt balloon_rows[] = {
	NAME,
	{ .name = "inflate", .letter = 'i', .arg = "MB", .help = "take so many MiB more from the guest",
	  .parse = opt_u64, TO(inflate), .max = MIB_MAX },
	{ .name = "deflate", .letter = 'd', .arg = "MB", .help = "give so many MiB back",
	  .parse = opt_u64, TO(deflate), .max = MIB_MAX },
	{ .name = "size", .arg = "MB", .help = "let the balloon hold so many MiB",
	  .parse = opt_u64, TO(size), .max = MIB_MAX },
	JSON(balloon_options),
	HELP,
};
#undef TO
TABLE(balloon, balloon_rows);

#define TO(field) .offset = offsetof(struct debug_options, field)
static const struct opt debug_rows[] = {
	NAME,
	ALL,
	{ .name = "dump", .letter = 'd', .flags = OPT_FLAG, .help = "print the registers of all vCPUs",
	  .text = "The default. The vCPUs stand for the moment in which they are read.",
	  .parse = opt_flag, TO(dump) },
	{ .name = "sysrq", .letter = 's', .arg = "KEY", .help = "send a SysRq key on the console",
	  .text = "To a Linux, as a break and the key on the serial console, as ctrl-o and the key on "
		  "the virtio console.",
	  .parse = opt_string, TO(sysrq) },
	{ .name = "nmi", .letter = 'm', .arg = "CPU", .help = "refused: KVM has no NMI for arm64",
	  .parse = opt_uint, TO(nmi), .max = DEBUG_NO_NMI - 1 },
	HELP,
};
#undef TO
TABLE(debug, debug_rows);

const struct ctl_table ctl_tables[] = {
	{ "list", &list_table },       { "stop", &stop_table },	      { "pause", &pause_table },
	{ "resume", &resume_table },   { "console", &console_table }, { "wait", &wait_table },
	{ "stat", &stat_table },       { "metrics", &metrics_table }, { "balloon", &balloon_table },
	{ "debug", &debug_table },     { NULL },
};
/* clang-format on */
