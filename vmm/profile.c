// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "realm/host.h"
#include "realm/ipa.h"
#include "realm/rim.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/core/parse.h"
#include "vmm/core/path.h"

#define FILE_MAX 16384

/* ---- the profiles that are always there ---------------------------------------------------- */

/* The compiler runs in the top folder of the tree. */
#define BUILT_IN(id, path) \
	extern const char profile_##id[], profile_##id##_end[]; \
	__asm__(".pushsection .rodata\n" \
		"profile_" #id ":\n" \
		".incbin \"" path "\"\n" \
		"profile_" #id "_end:\n" \
		".byte 0\n" \
		".popsection\n")

BUILT_IN(fvp, "configs/profiles/fvp.profile");
BUILT_IN(qemu_max, "configs/profiles/qemu-max.profile");
BUILT_IN(qemu_max_v14, "configs/profiles/qemu-max-v14.profile");
BUILT_IN(generic, "configs/profiles/generic.profile");

static const struct {
	const char *name, *text, *end;
} built_in[] = {
	{ "fvp", profile_fvp, profile_fvp_end },
	{ "qemu-max", profile_qemu_max, profile_qemu_max_end },
	{ "qemu-max-v14", profile_qemu_max_v14, profile_qemu_max_v14_end },
	{ "generic", profile_generic, profile_generic_end },
};

/* ---- reading ------------------------------------------------------------------------------- */

enum type { NUMBER, POWER_OF_2, YES_NO, DIALECT, GENERATION };

static const struct key {
	const char *name;
	size_t offset;
	enum type type;
	int min, max;
	const char *what;	/* accepted values */
} keys[] = {
	{ "breakpoints", offsetof(struct host_profile, breakpoints), NUMBER, 1, 16, "1 to 16" },
	{ "watchpoints", offsetof(struct host_profile, watchpoints), NUMBER, 1, 16, "1 to 16" },
	{ "breakpoints-fixed", offsetof(struct host_profile, breakpoints_fixed), YES_NO, 0, 0,
	  "yes or no" },
	{ "pmu-counters", offsetof(struct host_profile, pmu_counters), NUMBER, 0, 31, "0 to 31" },
	{ "sve-vl", offsetof(struct host_profile, sve_vl), POWER_OF_2, 0, 2048,
	  "0, 128, 256, 512, 1024 or 2048" },
	{ "ipa-bits", offsetof(struct host_profile, ipa_bits), NUMBER, IPA_MIN_BITS, IPA_MAX_BITS,
	  "32 to 52" },
	{ "lpa2", offsetof(struct host_profile, lpa2), YES_NO, 0, 0, "yes or no" },
	{ "rmm", offsetof(struct host_profile, rmm), DIALECT, 0, 0, "1.0, tf-rmm or 2.0" },
	{ "rmi-generation", offsetof(struct host_profile, generation), GENERATION, 0, 0,
	  "a, v12, v13, c, d or d2" },
};

static int parse_value(const struct key *k, const char *text, void *dest)
{
	struct realm_host_want want = { 0 };
	uint64_t v;
	bool yes;

	switch (k->type) {
	case NUMBER:
	case POWER_OF_2:
		if (parse_u64(text, &v) < 0 || v < (uint64_t)k->min || v > (uint64_t)k->max)
			return -EINVAL;
		if (k->type == POWER_OF_2 && ((v & (v - 1)) || (v && v < 128)))
			return -EINVAL;
		*(int *)dest = v;
		return 0;
	case YES_NO:
		if (parse_bool(text, &yes) < 0)
			return -EINVAL;
		*(int *)dest = yes;
		return 0;
	case DIALECT:
		for (int d = RIM_A; d <= RIM_C; d++)
			if (!strcmp(text, rim_dialect_name(d))) {
				*(int *)dest = d;
				return 0;
			}
		return -EINVAL;
	case GENERATION:
		want.generation = text;
		if (strlen(text) >= sizeof(((struct host_profile *)NULL)->generation) ||
		    realm_host_check_want(&want, NULL) < 0)
			return -EINVAL;
		strcpy(dest, text);
		return 0;
	}
	return -EINVAL;
}

/* Cuts blanks off both ends. */
static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t");
	for (n = strlen(s); n && strchr(" \t\r", s[n - 1]); n--)
		s[n - 1] = '\0';
	return s;
}

static int parse_line(char *line, struct host_profile *p, unsigned int *seen, struct err *e)
{
	struct nearest n = { 0 };
	char *value, *key;

	line[strcspn(line, "#")] = '\0';
	key = trim(line);
	if (!*key)
		return 0;
	value = strchr(key, '=');
	if (!value)
		return err_set(e, -EINVAL, "\"%.60s\" is not \"key = value\"", key);
	*value++ = '\0';
	key = trim(key);
	value = trim(value);
	n.word = key;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct key *k = &keys[i];

		nearest_offer(&n, k->name);
		if (strcmp(key, k->name))
			continue;
		if (*seen & 1U << i)
			return err_set(e, -EINVAL, "%s stands there twice", key);
		*seen |= 1U << i;
		if (parse_value(k, value, (char *)p + k->offset) < 0)
			return err_set(e, -EINVAL, "%s = \"%.60s\": give %s", key, value, k->what);
		return 0;
	}
	if (n.best)
		return err_set(e, -EINVAL, "unknown key \"%.60s\": did you mean %s?", key, n.best);
	return err_set(e, -EINVAL, "unknown key \"%.60s\"", key);
}

int profile_parse(const char *name, const char *text, size_t len, struct host_profile *p,
		  struct err *e)
{
	const char *end = text + len;
	unsigned int seen = 0;

	*p = (struct host_profile){
		.breakpoints = PROFILE_NONE, .watchpoints = PROFILE_NONE,
		.pmu_counters = PROFILE_NONE, .sve_vl = PROFILE_NONE, .ipa_bits = PROFILE_NONE,
		.lpa2 = PROFILE_NONE, .rmm = PROFILE_NONE,
	};
	for (unsigned int nr = 1; text < end; nr++) {
		const char *eol = memchr(text, '\n', end - text);
		size_t n = (eol ? eol : end) - text;
		char line[256];

		if (n >= sizeof(line) || memchr(text, '\0', n))
			return err_set(e, -EINVAL, "%s:%u: this line is not text, or longer than %zu "
				       "bytes", name, nr, sizeof(line) - 1);
		memcpy(line, text, n);
		line[n] = '\0';
		if (parse_line(line, p, &seen, e) < 0)
			return err_prefix(e, "%s:%u", name, nr);
		text += n + 1;
	}
	if (p->breakpoints_fixed == 1 && p->breakpoints == PROFILE_NONE)
		return err_set(e, -EINVAL, "%s: \"breakpoints-fixed = yes\" needs their number, "
			       "breakpoints", name);
	return 0;
}

static int load_file(const char *path, struct host_profile *p, struct err *e)
{
	char names[80] = "", text[FILE_MAX + 1];
	size_t len = 0;
	ssize_t n;
	int fd;

	/* it is read several times, and a descriptor that was passed on can be taken only once */
	if (path_is_fd(path))
		path_keep(path, O_RDONLY | O_NONBLOCK, 0);
	/* O_NONBLOCK: a FIFO must not keep us waiting */
	fd = path_open(path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0) {
		int code = -errno;

		for (size_t i = 0; i < ARRAY_SIZE(built_in); i++)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
				 i ? ", " : "", built_in[i].name);
		return err_set(e, code, "host profile %.200s: %s; give a file, or one of %s", path,
			       strerror(-code), names);
	}
	while (len < sizeof(text) && (n = path_read(fd, text + len, sizeof(text) - len, len)) > 0)
		len += n;
	if (n < 0)
		err_set(e, -errno, "host profile %.200s: %s", path, strerror(errno));
	close(fd);
	if (n < 0)
		return -EIO;
	if (len > FILE_MAX)
		return err_set(e, -EFBIG, "host profile %.200s: more than %d bytes", path, FILE_MAX);
	return profile_parse(path, text, len, p, e);
}

int profile_load(const char *what, struct host_profile *p, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(built_in); i++)
		if (!strcmp(what, built_in[i].name))
			return profile_parse(what, built_in[i].text,
					     built_in[i].end - built_in[i].text, p, e);
	return load_file(what, p, e);
}

/* ---- using --------------------------------------------------------------------------------- */

static int limit(const char *option, unsigned int asked, int has, const char *what, struct err *e)
{
	if (has == PROFILE_NONE || asked <= (unsigned int)has)
		return 0;
	return err_set(e, -EINVAL, "option --%s: the host of this profile has %d%s, not %u: give less",
		       option, has, what, asked);
}

int profile_apply(struct vm_config *c, struct err *e)
{
	struct host_profile p;
	int ret;

	if (!c->host_profile)
		return 0;
	ret = profile_load(c->host_profile, &p, e);
	if (ret < 0)
		return err_prefix(e, "option --host-profile");
	if (p.breakpoints_fixed == 1 && c->breakpoints_set &&
	    c->breakpoints != (unsigned int)p.breakpoints)
		return err_set(e, -EINVAL, "host profile %.200s: option --breakpoints: a guest of this host "
			       "has %d, not %u: leave it out", c->host_profile, p.breakpoints,
			       c->breakpoints);
	if (p.breakpoints_fixed == 1)
		c->breakpoints = p.breakpoints;
	if (c->pmu && !p.pmu_counters)
		ret = err_set(e, -EINVAL, "option --pmu: the host of this profile has no PMU: leave "
			      "it out");
	if (c->pmu && !c->pmu_counters && p.pmu_counters > 0)
		c->pmu_counters = p.pmu_counters;
	if (!c->rmm && p.rmm != PROFILE_NONE)
		c->rmm = p.rmm + 1;
	if (!ret)
		ret = limit("breakpoints", c->breakpoints, p.breakpoints, "", e);
	if (!ret)
		ret = limit("watchpoints", c->watchpoints, p.watchpoints, "", e);
	if (!ret)
		ret = limit("pmu-counters", c->pmu_counters, p.pmu_counters, "", e);
	if (!ret)
		ret = limit("sve-max-vl", c->sve_max_vl, p.sve_vl, " bits", e);
	if (!ret)
		ret = limit("ipa-bits", c->ipa_bits, p.ipa_bits, "", e);
	return ret < 0 ? err_prefix(e, "host profile %.200s", c->host_profile) : 0;
}

int profile_check_host(const struct host_profile *p, const struct host_profile *host,
		       struct err *e)
{
	const struct {
		const char *what;
		int expected, found;
	} list[] = {
		{ "breakpoints", p->breakpoints, host->breakpoints },
		{ "watchpoints", p->watchpoints, host->watchpoints },
		{ "PMU counters", p->pmu_counters, host->pmu_counters },
		{ "bits of SVE vectors", p->sve_vl, host->sve_vl },
		{ "address bits of a realm", p->ipa_bits, host->ipa_bits },
		{ "LPA2 (1: yes)", p->lpa2, host->lpa2 },
	};
	char text[400] = "";
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		if (list[i].expected != PROFILE_NONE && list[i].found != PROFILE_NONE &&
		    list[i].expected != list[i].found)
			len += snprintf(text + len, sizeof(text) - len, "%s%s %d, not %d",
					len ? "; " : "", list[i].what, list[i].found,
					list[i].expected);
	if (!len)
		return 0;
	return err_set(e, -ENODEV, "this host is not that of the profile: %s: give another "
		       "--host-profile, or leave it out", text);
}
