// SPDX-License-Identifier: BSD-3-Clause
/* Config files: each option has a key and each key an option; layers, paths, errors. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/conf_parse.h"
#include "vmm/conffile.h"
#include "vmm/config.h"
#include "vmm/core/err.h"
#include "vmm/options.h"
#include "vmm/options_dev.h"

#define NEEDS_CONFUSE()                                                                            \
	do {                                                                                       \
		if (!conf_can_parse)                                                               \
			skip();                                                                    \
	} while (0)

static struct vm_config c;
static struct conf f;
static struct err e;
static char start[4096], dir[64];

static int clean(void **state)
{
	config_free(&c);
	conf_free(&f);
	memset(&e, 0, sizeof(e));
	return 0;
}

/* An empty folder to work in, which is HOME as well. */
static int enter(void **state)
{
	conf_init(&f, &run_options);
	memset(&c, 0, sizeof(c));
	snprintf(dir, sizeof(dir), "/tmp/test_conf.XXXXXX");
	if (!getcwd(start, sizeof(start)) || !mkdtemp(dir) || chdir(dir) < 0)
		return -1;
	setenv("HOME", dir, 1);
	unsetenv("XDG_CONFIG_HOME");
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	return remove(path);
}

static int leave(void **state)
{
	clean(NULL);
	if (chdir(start) < 0)
		return -1;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make(const char *path, const char *text)
{
	char name[256];
	FILE *to;

	snprintf(name, sizeof(name), "%s", path);
	for (char *p = strchr(name + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(name, 0700);
		*p = '/';
	}
	to = fopen(path, "w");
	assert_non_null(to);
	fputs(text, to);
	fclose(to);
}

static int run_argv(char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	clean(NULL);
	return options_run(&c, false, argc, argv, &e);
}
#define RUN(...) run_argv((char *[]){__VA_ARGS__, NULL})
#define GOOD(...)                                                                                  \
	do {                                                                                       \
		if (RUN(__VA_ARGS__))                                                              \
			fail_msg("refused: %s", e.msg);                                            \
	} while (0)
#define BAD(text, ...)                                                                             \
	do {                                                                                       \
		assert_true(RUN(__VA_ARGS__) < 0);                                                 \
		if (!strstr(e.msg, text))                                                          \
			fail_msg("no \"%s\" in: %s", text, e.msg);                                 \
	} while (0)

/* ---- the table ------------------------------------------------------------------------------- */

static void each_option_has_a_key(void **state)
{
	for (unsigned int i = 0; i < run_options.nr; i++) {
		const struct opt *o = &run_options.opt[i], *other;
		int ways = !!o->key + !!o->no_key + !!o->same_as;

		if (o->flags & (OPT_NOOP | OPT_REFUSED)) {
			if (ways)
				fail_msg("--%s does nothing, and has a key", o->name);
			continue;
		}
		if (ways != 1)
			fail_msg("--%s needs a key, or why it has none, or what it is the same as",
				 o->name);
		if (o->same_as) {
			other = opt_find(&run_options, o->same_as);
			if (!other || !other->key)
				fail_msg("--%s is the same as --%s, which has no key", o->name,
					 o->same_as);
		}
		if (!o->key)
			continue;
		if (opt_find_key(&run_options, o->key) != o)
			fail_msg("--%s shares its key %s", o->name, o->key);
		if (!o->words != !!strchr(o->key, '.'))
			fail_msg("--%s: the key %s must %shave a section", o->name, o->key,
				 o->words ? "be one, not " : "");
	}
}

struct caught {
	struct conf_item item;
	unsigned int nr, errors;
	char msg[300];
};

static void on_item(void *ctx, unsigned int line, const struct conf_item *i)
{
	struct caught *x = ctx;

	if (!i->value)
		return;
	x->item = *i;
	x->nr++;
	assert_string_equal(i->value, "x");
	assert_int_equal(line, 2);
}

static void on_error(void *ctx, unsigned int line, const char *msg)
{
	struct caught *x = ctx;

	x->errors++;
	snprintf(x->msg, sizeof(x->msg), "%u: %s", line, msg);
}

static void expect_key(const struct opt *o, const struct opt *sub)
{
	struct caught x = { .nr = 0 };
	const struct conf_sink sink = { on_item, on_error, &x };
	char text[200], section[40];
	const char *key = conf_section(o, section, sizeof(section));
	bool title = !key && o->flags & OPT_REPEAT;

	snprintf(text, sizeof(text), "%s %s {\n %s = x }\n", section, title ? "\"t\"" : "",
		 sub ? sub->name : key);
	conf_parse(&run_options, text, strlen(text), &sink);
	if (x.errors || x.nr != 1)
		fail_msg("%s: %s", text, x.msg);
	assert_ptr_equal(x.item.opt, o);
	assert_ptr_equal(x.item.sub, sub);
	assert_true(x.item.first);
}

static void each_key_is_an_option(void **state)
{
	unsigned int n = 0;

	NEEDS_CONFUSE();
	for (unsigned int i = 0; i < run_options.nr; i++) {
		const struct opt *o = &run_options.opt[i];

		if (!o->key)
			continue;
		n++;
		if (!o->words) {
			expect_key(o, NULL);
			continue;
		}
		assert_true(o->words->size > 0);
		for (unsigned int k = 0; k < o->words->nr; k++)
			if (!(o->words->opt[k].flags & OPT_NOOP))
				expect_key(o, &o->words->opt[k]);
		assert_true(!o->words->title || opt_find(o->words, o->words->title));
		assert_true(!o->words->word2 || opt_find(o->words, o->words->word2));
	}
	assert_true(n > 40);
}

static void defaults_are_true(void **state)
{
	static struct vm_config was;
	struct opt_state st;
	unsigned int n = 0;

	for (unsigned int i = 0; i < run_options.nr; i++) {
		const struct opt *o = &run_options.opt[i];

		if (!o->def)
			continue;
		memset(&st, 0, sizeof(st));
		memset(&was, 0, sizeof(was));
		memset(&c, 0, sizeof(c));
		config_defaults(&was);
		config_defaults(&c);
		if (opt_set(&run_options, &st, &c, o, o->name, o->def, &e) < 0)
			fail_msg("%s", e.msg);
		if (memcmp(&was, &c, sizeof(c)))
			fail_msg("%s is not the default of --%s", o->def, o->name);
		n++;
	}
	assert_true(n > 10);
}

/* ---- what a file gives ----------------------------------------------------------------------- */

static const char web[] =
	"# the first line\n"
	"machine {\n"
	"	cpus = 4 // four\n"
	"	memory = 1G /* of\n"
	"	bytes */ pmu = yes\n"
	"}\n"
	"boot {\n"
	"	kernel = Image\n"
	"	initrd = '/abs/initrd'\n"
	"	params = { \"console=ttyS0 ${HOME}\", 'a b' }\n"
	"}\n"
	"disk \"root\" { path = \"%n.img\" ro = yes }\n"
	"disk \"data\" { path = \"a,b\"\n"
	"	queues = 2 }\n"
	"net \"lan\" { mode = user script = none }\n"
	"share \"src\" { dir = %h/src }\n"
	"vsock { cid = 3 path = sock }\n"
	"balloon { }\n"
	"console { tty = {1, 2} }\n"
	"run { gdb = unix:gdb.sock loglevel = error }\n";

static void file(void **state)
{
	char text[128];

	NEEDS_CONFUSE();
	make("sub/web.conf", web);
	GOOD("sub/web.conf");
	assert_int_equal(c.cpus, 4);
	assert_true(c.mem == SZ_1G && c.pmu);
	assert_string_equal(c.name, "web");
	assert_string_equal(c.kernel, "sub/Image");
	assert_string_equal(c.initrd, "/abs/initrd");
	/* environment variables are text */
	assert_string_equal(c.params, "console=ttyS0 ${HOME} a b");
	assert_int_equal(c.nr_disks, 2);
	assert_string_equal(c.disk[0].path, "sub/web.img");
	assert_true(c.disk[0].readonly);
	assert_string_equal(c.disk[1].path, "sub/a,b");
	assert_int_equal(c.disk[1].queues, 2);
	assert_int_equal(c.nr_nets, 1);
	assert_int_equal(c.net[0].mode, NET_USER);
	assert_string_equal(c.net[0].script, "none");
	snprintf(text, sizeof(text), "%s/src", dir);
	assert_string_equal(c.share[0].dir, text);
	assert_string_equal(c.share[0].tag, "src");
	assert_int_equal(c.vsock.cid, 3);
	assert_string_equal(c.vsock.path, "sub/sock");
	assert_true(c.balloon && !c.balloon_size);
	assert_int_equal(c.tty_mask, 6);
	assert_string_equal(c.gdb, "unix:sub/gdb.sock");
	assert_int_equal(c.loglevel, LOG_ERROR);
}

static void command_line_overrides(void **state)
{
	NEEDS_CONFUSE();
	make("web.conf", web);
	GOOD("-c", "8", "web.conf", "-m", "2G", "--no-pmu", "-p", "quiet", "-d", "x", "--vsock", "5",
	     "--debug", "other", "--balloon=64M");
	assert_int_equal(c.cpus, 8);
	assert_true(c.mem == 2 * SZ_1G && !c.pmu);
	/* the second word is a kernel again, relative to here */
	assert_string_equal(c.kernel, "other");
	assert_string_equal(c.params, "console=ttyS0 ${HOME} a b quiet");
	assert_int_equal(c.nr_disks, 3);
	assert_string_equal(c.disk[2].path, "x");
	assert_int_equal(c.vsock.cid, 5);
	assert_null(c.vsock.path);	/* not a half of each */
	assert_int_equal(c.loglevel, LOG_DEBUG);
	assert_true(c.balloon_size == 64 * SZ_1M);
	BAD("second config file", "web.conf", "web.conf");
	BAD("is given twice", "web.conf", "-c", "8", "-c", "8");
	BAD("only one word", "web.conf", "a", "b");
	assert_int_equal(RUN("web.conf", "--help"), OPTIONS_HELP);
	/* an option that is another's other name overrides it as well */
	make("a.conf", "boot { kernel = k }\nmachine { sve-max-vl = 256 }\n"
	     "realm { mode = emulated personalization = abc }\ndevice { virtio-transport = mmio }\n");
	GOOD("a.conf", "--sve-vl=512", "--realm-pv-hex=41", "--force-pci");
	assert_int_equal(c.sve_max_vl, 512);
	assert_int_equal(c.rpv[0], 'A');
	assert_int_equal(c.rpv[1], 0);
	assert_int_equal(c.transport, TRANSPORT_PCI);
	GOOD("a.conf", "--mem=1024@4096");
	make("b.conf", "boot { kernel = k }\nmachine { memory = 512@4096 }");
	GOOD("b.conf", "-m", "600");
	assert_true(c.mem_base == 2 * SZ_1G);	/* not the file's */
}

static void drop_ins(void **state)
{
	NEEDS_CONFUSE();
	make("web.conf", web);
	make("web.conf.d/20-b.conf", "machine { cpus = 6 }\nboot { params = { } params += last }\n"
	     "disk \"data\" { queues = 3 }\ndisk \"more\" { path = m }");
	make("web.conf.d/10-a.conf", "machine { cpus = 5 }\nboot { kernel = K params += x }\n");
	make("web.conf.d/.hidden.conf", "nonsense");
	make("web.conf.d/notes.txt", "nonsense");
	GOOD("./web.conf");
	assert_int_equal(c.cpus, 6);
	assert_string_equal(c.kernel, "./web.conf.d/K");
	assert_int_equal(c.nr_disks, 3);
	assert_int_equal(c.disk[1].queues, 3);
	assert_string_equal(c.disk[1].path, "./a,b");
	assert_string_equal(c.disk[2].path, "./web.conf.d/m");
	make("web.conf.d/30-c.conf", "boot { params += y }\nconsole { tty = 3 }");
	GOOD("web.conf");
	assert_int_equal(c.tty_mask, 8);
	make("web.conf.d/20-b.conf", "machine { cpus = 0 }");
	BAD("web.conf.d/20-b.conf:1: option machine.cpus: 0 is out of range", "web.conf");
}

static void lists(void **state)
{
	NEEDS_CONFUSE();
	make("a.conf", "boot { kernel = k params = a params += { b, \"c d\" } }");
	GOOD("a.conf");
	assert_string_equal(c.params, "a b c d");
	make("a.conf.d/1.conf", "boot { params += e }");
	GOOD("a.conf");
	assert_string_equal(c.params, "a b c d e");
	make("a.conf.d/2.conf", "boot { params = f }");
	GOOD("a.conf");
	assert_string_equal(c.params, "f");
	make("a.conf.d/3.conf", "boot { params = \"\" }");
	GOOD("a.conf");
	assert_string_equal(c.params, "");
	make("a.conf.d/3.conf", "boot { params = g params = h }");
	BAD("given twice, in line 1 too: give it once, or add with +=", "a.conf");
}

static void names(void **state)
{
	char *path;

	NEEDS_CONFUSE();
	make(".config/realmtool/web.conf", "boot { kernel = home }");
	make("xdg/realmtool/web.conf", "boot { kernel = xdg }");
	make(".config/realmtool/db@.conf", "boot { kernel = \"%i-%n\" }\nmachine { cpus = 3 }");
	make(".config/realmtool/db@.conf.d/a.conf", "machine { cpus = 4 }");
	make(".config/realmtool/db@two.conf.d/a.conf", "machine { cpus = 5 }");
	GOOD("web");
	assert_true(strstr(c.kernel, "/.config/realmtool/home") != NULL);
	GOOD("web.conf");
	setenv("XDG_CONFIG_HOME", "xdg", 1);
	GOOD("web");	/* a relative one does not count */
	assert_true(strstr(c.kernel, "/realmtool/home") != NULL);
	unsetenv("XDG_CONFIG_HOME");
	GOOD("db@one");
	assert_true(strstr(c.kernel, "/one-db@one") != NULL);
	assert_string_equal(c.name, "db-one");
	assert_int_equal(c.cpus, 4);
	GOOD("db@two");
	assert_int_equal(c.cpus, 5);
	GOOD("db@two", "--name", "x");
	assert_string_equal(c.name, "x");

	/* a kernel stays one */
	make("Image", "");
	make("web", "");
	GOOD("Image");
	assert_string_equal(c.kernel, "Image");
	GOOD("web");
	assert_string_equal(c.kernel, "web");
	GOOD("./none");
	assert_string_equal(c.kernel, "./none");
	GOOD("none");
	assert_string_equal(c.kernel, "none");
	GOOD("-k", "web.conf");
	assert_string_equal(c.kernel, "web.conf");
	unlink("web");
	mkdir("web", 0700);	/* a folder is no kernel */
	GOOD("web");
	assert_true(strstr(c.kernel, "home") != NULL);

	BAD("no such config file", "none.conf");
	BAD("no such config file", "./none.conf");
	assert_int_equal(conf_find("", &path, &e), 0);
	assert_null(path);
	assert_int_equal(conf_find(".conf", &path, &e), 0);
	assert_null(path);
	make("bad name.conf", "boot { kernel = k }");
	BAD("the name of the config file: rename it, or give --name", "bad name.conf");
}

static void specifiers(void **state)
{
	NEEDS_CONFUSE();
	make("a@b@c.conf", "boot { kernel = k params = \"%n %i %% 100%%\" }");
	GOOD("a@b@c.conf");
	assert_string_equal(c.params, "a@b@c b@c % 100%");
	make("a.conf", "boot { kernel = k params = \"[%i]\" }");
	GOOD("a.conf");
	assert_string_equal(c.params, "[]");
	make("a.conf", "boot { kernel = k params = \"5%\" }");
	BAD("a.conf:1: % is unknown", "a.conf");
	make("a.conf", "boot { kernel = %q }");
	BAD("%q is unknown: %h is the home folder", "a.conf");
	make("a.conf", "boot { kernel = ~/k }");
	BAD("write %h", "a.conf");
}

static void paths(void **state)
{
	NEEDS_CONFUSE();
	make("d/a.conf", "boot { kernel = k }\n"
	     "realm { mode = emulated host-profile = fvp expect-rim = abc emulated-keys = keys }\n"
	     "run { gdb = 1234 }");
	GOOD("d/a.conf");
	assert_string_equal(c.host_profile, "fvp");
	assert_string_equal(c.expect_rim, "abc");
	assert_string_equal(c.emulated_keys, "d/keys");
	assert_string_equal(c.gdb, "1234");
	make("d/a.conf", "boot { kernel = k }\n"
	     "realm { mode = emulated host-profile = my expect-rim = @rim.txt }\n"
	     "vfio \"nic\" { device = 0000:00:01.0 rom = off }\n"
	     "vfio \"gpu\" { device = 0000:00:02.0 rom = x.rom }");
	GOOD("d/a.conf");
	assert_string_equal(c.host_profile, "d/my");
	assert_string_equal(c.expect_rim, "@d/rim.txt");
	assert_true(c.vfio[0].no_rom && !c.vfio[0].rom);
	assert_string_equal(c.vfio[0].device, "0000:00:01.0");
	assert_string_equal(c.vfio[1].rom, "d/x.rom");
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* All errors of a text, as they are printed, without the path in front. */
static void expect_errors(const char *text, const char *lines)
{
	char *all = NULL, *p, *line;
	size_t len;
	FILE *to;

	clean(NULL);
	config_defaults(&c);
	assert_int_equal(conf_read(&f, "F", text, strlen(text), &e), 0);
	f.name = strdup("F");
	f.instance = strdup("");
	f.path = strdup("F");
	options_apply(&f, &c, false, &e);
	to = open_memstream(&all, &len);
	conf_print_errors(&f, to);
	fclose(to);
	p = all;
	for (char *copy = strdup(lines), *rest = copy, *want; ; ) {
		want = strsep(&rest, "\n");
		line = strsep(&p, "\n");
		if (!want || !*want) {
			if (line && *line)
				fail_msg("for \"%s\": too much: %s", text, line);
			free(copy);
			break;
		}
		if (!line || strncmp(line, "F:", 2) ||
		    strncmp(line + 2, want, strcspn(want, " ")) ||
		    !strstr(line, want + strcspn(want, " ") + 1))
			fail_msg("for \"%s\": no \"%s\" in \"%s\"", text, want, line ? line : "nothing");
	}
	free(all);
}

static void errors(void **state)
{
	static const struct {
		const char *text, *lines;
	} t[] = {
		{ "machine { cpus = 0 }\n\n# x\nboot { kernel = k }\nrealm {\nmode = kvn }\n"
		  "disk \"a\" { path = x\nqueues = 1000 queue-size = 30\n}",
		  "1: machine.cpus: 0 is out of range\n"
		  "6: realm.mode: \"kvn\" is unknown: did you mean kvm?\n"
		  "8: queues: 1000 is out of range\n"
		  "8: queue-size: 30 is not a power of 2" },
		{ "machine {\n cpsu = 1\n memory = zzz\n}\ndisc \"x\" { path = y }\n"
		  "boots { kernel = k }\ncpus = 4\nrealm { cpus = 3 }",
		  "2: unknown key cpsu: did you mean cpus?\n"
		  "3: machine.memory: size \"zzz\"\n"
		  "5: unknown section disc: did you mean disk?\n"
		  "6: unknown section boots: did you mean boot?\n"
		  "7: cpus must stand in a section: write machine { cpus = ... }\n"
		  "8: unknown key cpus: it stands in section machine" },
		{ "machine { cpus = 1 cpus = 2 }", "1: cpus is given twice, in line 1 too" },
		{ "disk \"a\" { ro = yes\n}", "1: disk \"a\": this section names no file" },
		{ "disk \"a\" { path = x socket = y }", "1: disk \"a\": this section names a file and a socket" },
		{ "disk { path = x }", "1: missing title for section 'disk': write" },
		{ "disk \"a\" { path = x }\ndisk \"a\" { path = y }", "2: found duplicate title 'a'" },
		{ "machine = 4", "1: missing opening brace" },
		{ "machine { cpus 4 }", "1: missing equal sign" },
		{ "machine { cpus = 4 }\n}", "2: unexpected closing brace" },
		{ "\nmachine {\n cpus = 4\n", "2: a } is missing" },
		{ "boot { kernel = k }\nmachine", "2: premature end" },
		{ "boot { kernel = \"a\n}", "1: does not end in its line" },
		{ "boot { kernel = 'a\n}", "1: does not end in its line" },
		{ "\n/* boot\n\n", "2: the comment has no end" },
		{ "boot { kernel = /a/* }", "1: * must stand in quotes" },
		{ "boot { kernel = a+b }", "1: + must stand in quotes" },
		{ "boot { kernel = \"\\400\" }", "1: a backslash and a digit" },
		{ "boot { kernel = \"\\x00\" }", "1: \\x0 cannot be" },
		{ "boot { kernel = \"a\\nb\" }", "1: a control character cannot be" },
		{ "boot { kernel = ${HOME} }", "1: unexpected token '{'" },
		{ "machine|cpus = 4", "1: | must stand in quotes" },
		{ "\"machine|cpus\" = 4", "1: a key is no path" },
		{ "include(\"/etc/passwd\")", "1: unknown section include" },
		{ "machine { cpus += 1 }", "1: attempt to append" },
		{ "console { tty = { 1, 2 } tty = 3 }", "1: tty is given twice" },
		{ "console { tty = { 1, 9 } }", "1: console.tty: 9 is out of range" },
		{ "vsock { path = x }", "1: vsock: this section has no CID" },
		{ "vsock {\n}", "2: vsock: this section has no CID" },
		{ "disk \"\" { path = x }", "1: the name of section disk" },
		{ "share \"a\" { dir = x tag = b }\nshare \"b\" { dir = y }",
		  "2: two folders have the tag" },
		{ "machine { cpus = \"\" }", "1: machine.cpus: the value is empty" },
		{ "machine { pmu = maybe }", "1: machine.pmu: \"maybe\" is neither yes nor no" },
		{ "net \"n\" { modes = user }", "1: unknown key modes: did you mean mode?" },
		{ "a { b = { c, d } e { } } machine { cpus = 0 }",
		  "1: unknown section a\n1: machine.cpus: 0" },
		{ "machine { x = \"y } z\" \"q\" = { 1 , 2 } cpus = 0 }",
		  "1: unknown key x\n1: unknown key q\n1: machine.cpus: 0" },
	};

	NEEDS_CONFUSE();
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		expect_errors(t[i].text, t[i].lines);
}

static void one_line(void **state)
{
	NEEDS_CONFUSE();
	make("a.conf", "machine { cpus = 0\nmemory = x }");
	BAD("a.conf:1: option machine.cpus: 0 is out of range: give 1 to 512 (one of 2 errors: "
	    "\"realmtool config check a.conf\" lists them all)", "a.conf");
	make("a.conf", "machine { cpus = 1 }");
	BAD("a.conf: no kernel", "a.conf");
	make("a.conf", "");
	BAD("a.conf: no kernel", "a.conf");
}

static void bad_files(void **state)
{
	char *big, name[64];
	int i;

	NEEDS_CONFUSE();
	big = calloc(1, CONF_FILE_MAX + 10);
	memset(big, '\n', CONF_FILE_MAX + 1);
	make("big.conf", big);
	free(big);
	BAD("more than 256 KiB", "big.conf");
	assert_int_equal(symlink("/dev/zero", "zero.conf"), 0);
	BAD("not a file", "zero.conf");
	assert_int_equal(mkfifo("fifo.conf", 0600), 0);
	BAD("not a file", "fifo.conf");
	for (i = 0; i < CONF_MAX_FILES; i++) {
		snprintf(name, sizeof(name), "many.conf.d/%02d.conf", i);
		make(name, "");
	}
	make("many.conf", "boot { kernel = k }");
	BAD("more than 63 drop-ins", "many.conf");
	assert_int_equal(conf_read(&f, "F", "boot { kernel = \"a\0b\" }", 23, &e), 0);
	assert_int_equal(f.nr_errs, 1);
	assert_string_equal(f.err[0].msg, "a control character: a config file is text");
	make("good.conf", "boot { kernel = k }");	/* and libConfuse has seen nothing of it */
	GOOD("good.conf");
}

/* Whatever the bytes are: lines and texts, no crash, and the parser is as new the next time. */
static void garbage(void **state)
{
	static const char some[] = "{}=\"'\\/*#+$,()| \n\t\r\0\1ax%";
	char text[sizeof(web)];
	unsigned int errors_seen = 0;

	NEEDS_CONFUSE();
	srandom(1);
	for (int i = 0; i < 4000; i++) {
		size_t len = i & 1 ? sizeof(web) - 1 : (size_t)random() % (sizeof(web) - 1);

		memcpy(text, web, sizeof(web));
		for (int k = 0; k < i % 5; k++)
			text[random() % (sizeof(web) - 1)] = some[random() % (sizeof(some) - 1)];
		clean(NULL);
		config_defaults(&c);
		f.name = strdup("F");
		f.instance = strdup("");
		assert_int_equal(conf_read(&f, "F", text, len, &e), 0);
		errors_seen += f.nr_errs != 0;
		if (i % 10 == 5 && f.nr_errs)
			fail_msg("after %d: %s", i, f.err[0].msg);
		options_apply(&f, &c, false, &e);
		for (unsigned int k = 0; k < f.nr_errs; k++)
			assert_null(strchr(f.err[k].msg, '\n'));
	}
	assert_true(errors_seen > 1000 && errors_seen < 4000);
	make("web.conf", web);
	GOOD("web.conf");
	assert_int_equal(c.nr_disks, 2);
}

/* ---- from the command line to a file and back ------------------------------------------------ */

/* Are two configs the same? Words that differ can only be pointers to equal strings. */
static void expect_same(const struct vm_config *a, const struct vm_config *b)
{
	const uintptr_t *x = (const void *)a, *y = (const void *)b;

	for (size_t i = 0; i < sizeof(*a) / sizeof(*x); i++) {
		if (x[i] == y[i])
			continue;
		if (x[i] < 4096 || y[i] < 4096)
			fail_msg("the configs differ at byte %zu: %lx, %lx", i * sizeof(*x), x[i], y[i]);
		assert_string_equal((const char *)x[i], (const char *)y[i]);
	}
}

static void round_trip_argv(char **argv)
{
	static struct vm_config before;
	char *text = NULL;
	size_t len;
	FILE *to;
	int argc = 0;

	while (argv[argc])
		argc++;
	clean(NULL);
	memset(&before, 0, sizeof(before));
	if (conf_args(&f, argc, argv, &e) || options_apply(&f, &before, false, &e))
		fail_msg("%s: %s", argv[0], e.msg);
	to = open_memstream(&text, &len);
	assert_int_equal(conf_write(&f, to, 0, &e), 0);
	fclose(to);
	clean(NULL);
	f.name = strdup(before.name);
	f.instance = strdup("");
	assert_int_equal(conf_read(&f, "F", text, len, &e), 0);
	if (options_apply(&f, &c, false, &e))
		fail_msg("%s: %s\n%s", argv[0], e.msg, text);
	expect_same(&before, &c);
	free(text);
	config_free(&before);
}
#define ROUND_TRIP(...) round_trip_argv((char *[]){__VA_ARGS__, NULL})

static void round_trip(void **state)
{
	NEEDS_CONFUSE();
	ROUND_TRIP("/Image");
	ROUND_TRIP("-k", "/Image", "-c", "8", "-m", "1G@4G", "--irqchip", "gicv3", "--ipa-bits=40",
		   "--vcpu-affinity=0-3,5", "--pmu", "--pmu-counters=8", "--dev", "/dev/kvm2",
		   "--hugetlbfs", "/huge", "--sve-vl=512", "--name", "x");
	ROUND_TRIP("-k", "/Image", "--realm", "--measurement-algo=sha512", "--realm-pv-hex=4142",
		   "--ripas-ram", "0x80000000+2M,0x81000000-0x82000000", "--populate",
		   "kernel=unmeasured", "--populate", "dtb=unmeasured", "--breakpoints=4",
		   "--watchpoints=2", "--rmm=2.0", "--host-profile=fvp", "--best-effort",
		   "--rmi-generation=e:7", "--rmi-cap=300", "--rmi-psci=user");
	ROUND_TRIP("-k", "/Image", "--realm=emulated", "--emulated-strict", "--emulated-keys=/keys",
		   "--realm-pv", "a \"quoted\" \\ % # text", "--expect-rim=@/rim", "--swiotlb=64");
	ROUND_TRIP("-k", "/a b/Image", "-i", "/initrd", "-p", "a='b c' ${X} %i", "-p", "",
		   "-p", "tab\there // # /* \xc3\xa4", "--kaslr-seed=7", "--nodefaults", "--no-pmu",
		   "--dtb=/x.dtb", "--flash=/f");
	ROUND_TRIP("--firmware", "/fw", "--firmware-address=0x80001000", "--loglevel=debug");
	ROUND_TRIP("-k", "/k", "-d", "/a=b,ro,direct,cache=unsafe,queues=2,serial=x y",
		   "-d", "socket=/s", "-d", "path=/ro,discard=off,format=qcow2", "-n", "user", "-n",
		   "mode=tap,tapif=t0,vhost=1,mq=4,script=none,guest_mac=02:15:15:15:15:15,trans=mmio",
		   "-n", "none", "-n", "fd=9", "--9p", "/,root,ro", "--9p", "dir=/x,tag=/dev/root",
		   "--fs", "socket=/v,tag=fs", "--vsock", "7,path=/v", "--balloon=64M,stats=5",
		   "--pmem=/p,ro,ro", "--console-port", "agent", "--console-port", "b,path=/b",
		   "--tty", "1", "--tty", "3", "--console=hv", "--virtio-ring=packed",
		   "--io-threads=0", "--no-rng", "--no-dhcp", "--force-pci", "--vfio-pci",
		   "01:00.0,rom=off", "--no-reboot", "--gdb", "unix:/g");
	ROUND_TRIP("-k", "/k", "--balloon", "--gdb=1234", "--compat=lkvm", "--loglevel=error",
		   "--vsock=3", "--rng", "--pmu", "--pmu", "--disable-mte");
}

/* What show prints is a config file that gives the same. */
static void show(void **state)
{
	static struct vm_config before;
	char *text = NULL, *first;
	size_t len;
	FILE *to;

	NEEDS_CONFUSE();
	make("web.conf", web);
	make("web.conf.d/a.conf", "machine { cpus = 7 }\nboot { params += '3' }");
	conf_args(&f, 3, (char *[]){ "web.conf", "-m", "2G" }, &e);
	assert_int_equal(options_apply(&f, &before, false, &e), 0);
	to = open_memstream(&text, &len);
	assert_int_equal(conf_write(&f, to, CONF_SOURCES | CONF_DEFAULTS, &e), 0);
	fclose(to);
	assert_non_null(strstr(text, "# web.conf.d/a.conf:1\n"));
	assert_non_null(strstr(text, "# command line\n"));
	first = strstr(text, "memory = 2G");
	assert_non_null(first);
	assert_int_equal(strcspn(first, "#"), 32);
	assert_non_null(strstr(text, "# irqchip = gicv3-its"));
	make("again.conf", text);
	GOOD("again.conf", "--name", "web");
	expect_same(&before, &c);
	config_free(&before);
	free(text);
}

static void no_place(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *to;

	assert_int_equal(conf_args(&f, 5, (char *[]){ "-k", "k", "--dump-dtb=x", "-p", "a\nb" }, &e), 0);
	to = open_memstream(&text, &len);
	assert_int_equal(conf_write(&f, to, 0, &e), -EINVAL);
	fclose(to);
	assert_non_null(strstr(e.msg, "control character"));
	free(text);
	conf_free(&f);
	assert_int_equal(conf_args(&f, 5, (char *[]){ "-k", "k", "--dump-dtb=x", "--debug",
						      "--force-pci" }, &e), 0);
	to = open_memstream(&text, &len);
	assert_int_equal(conf_write(&f, to, 0, &e), 0);
	fclose(to);
	assert_non_null(strstr(text, "# option --dump-dtb is not for config files: it writes a file"));
	/* the other names of options */
	assert_non_null(strstr(text, "loglevel = debug"));
	assert_non_null(strstr(text, "virtio-transport = pci"));
	/* relative to here, wherever the file will be */
	assert_non_null(strstr(text, dir));
	free(text);
}

static void without_libconfuse(void **state)
{
	if (conf_can_parse)
		skip();
	make("a.conf", "boot { kernel = k }");
	BAD("built without libConfuse", "a.conf");
}

#define IN_FOLDER(fn) cmocka_unit_test_setup_teardown(fn, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(each_option_has_a_key),
		IN_FOLDER(each_key_is_an_option),
		IN_FOLDER(defaults_are_true),
		IN_FOLDER(file),
		IN_FOLDER(command_line_overrides),
		IN_FOLDER(drop_ins),
		IN_FOLDER(lists),
		IN_FOLDER(names),
		IN_FOLDER(specifiers),
		IN_FOLDER(paths),
		IN_FOLDER(errors),
		IN_FOLDER(one_line),
		IN_FOLDER(bad_files),
		IN_FOLDER(garbage),
		IN_FOLDER(round_trip),
		IN_FOLDER(show),
		IN_FOLDER(no_place),
		IN_FOLDER(without_libconfuse),
	};

	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
