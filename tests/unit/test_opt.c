// SPDX-License-Identifier: BSD-3-Clause
/* The option engine, with a table of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/err.h"
#include "vmm/core/opt.h"

enum color { RED, GREEN, BLUE };

struct result {
	unsigned int count;
	uint64_t big;
	char *file, *word, *text;
	bool flag;
	enum color color;
	int nr_many;
	char many[4][8];
	char odd[16];
};

static int take_many(const struct opt *o, const char *value, void *dest, struct err *e)
{
	struct result *r = dest;

	if (r->nr_many == 4)
		return err_set(e, -ENOSPC, "too many");
	snprintf(r->many[r->nr_many++], sizeof(r->many[0]), "%s", value);
	return 0;
}

static int take_odd(const struct opt *o, const char *value, void *dest, struct err *e)
{
	if (strcmp(value, "good"))
		return err_set(e, -EINVAL, "\"%s\" is not good", value);
	return 0;
}

static int take_stop(const struct opt *o, const char *value, void *dest, struct err *e)
{
	return 7;
}

static const struct opt_choice colors[] = {{"red", RED},
					   {"green", GREEN},
					   {"blue", BLUE},
					   {"pink", 0, "there is no pink: mix red and white"},
					   {NULL}};

#define TO(f) .offset = offsetof(struct result, f)

/* clang-format off */
static const struct opt options[] = {
	{ .name = "count", .letter = 'c', .arg = "N", .help = "a number",
	  .parse = opt_uint, TO(count),
	  .min = 1, .max = 8, .key = "main.count" },
	{ .name = "big", .arg = "N", .help = "a large number", .parse = opt_u64, TO(big),
	  .max = UINT64_MAX },
	{ .name = "file", .letter = 'f', .arg = "FILE", .help = "a file",
	  .parse = opt_string, TO(file) },
	{ .name = "word", .arg = "WORD", .help = "the word", .parse = opt_string, TO(word) },
	{ .name = "text", .letter = 't', .flags = OPT_EMPTY, .arg = "TEXT", .help = "may be empty",
	  .parse = opt_string, TO(text) },
	{ .name = "flag", .letter = 'x', .flags = OPT_FLAG | OPT_NEGATE, .help = "a switch",
	  .parse = opt_flag, TO(flag) },
	{ .name = "no-undo", .letter = 'u', .flags = OPT_FLAG, .help = "begins with no-",
	  .parse = opt_flag, TO(flag) },
	{ .name = "color", .letter = 'C', .flags = OPT_OPTIONAL, .arg = "COLOR",
	  .help = "red, green or blue", .parse = opt_choice, TO(color), .choice = colors },
	{ .name = "many", .letter = 'm', .flags = OPT_REPEAT, .arg = "WORD", .help = "repeatable",
	  .parse = take_many },
	{ .name = "idle", .flags = OPT_FLAG | OPT_NOOP, .help = "nothing", .why = "nothing to do" },
	{ .name = "idle-value", .flags = OPT_NOOP, .arg = "V", .help = "nothing", .why = "no",
	  .parse = take_odd, TO(odd) },
	{ .name = "never", .letter = 'n', .flags = OPT_REFUSED, .arg = "V", .help = "refused",
	  .why = "not here: use --file" },
	{ .name = "stop", .letter = 'h', .flags = OPT_FLAG, .help = "ends it", .parse = take_stop },
	{ .name = "secret", .flags = OPT_FLAG | OPT_HIDDEN, .help = "hidden", .parse = opt_flag,
	  TO(flag), .group = 1 },
	{ .name = "last", .flags = OPT_FLAG,
	  .help = "a help that is so long that it does not fit into what is left of a line of "
		  "eighty columns",
	  .text = "One sentence. -x is a dash.",
	  .parse = opt_flag, TO(flag), .group = 1 },
};
/* clang-format on */

static const char *const groups[] = {"First", "Second"};

static const struct opt_table table = {
	.opt = options,
	.nr = ARRAY_SIZE(options),
	.group = groups,
	.nr_groups = 2,
	.word = "word",
	.hint = "see the list",
};

static struct result r;
static struct opt_state st;
static struct err e;

static int reset(void **state)
{
	free(r.file);
	free(r.word);
	free(r.text);
	memset(&r, 0, sizeof(r));
	memset(&st, 0, sizeof(st));
	memset(&e, 0, sizeof(e));
	return 0;
}

static int parse_argv(char **argv)
{
	int argc = 0;

	reset(NULL);
	while (argv[argc])
		argc++;
	return opt_parse(&table, &st, &r, argc, argv, &e);
}
#define PARSE(...) parse_argv((char *[]){__VA_ARGS__, NULL})

/* The line is refused, and the error has this text in it. */
#define REFUSED(text, ...)                                                                         \
	do {                                                                                       \
		assert_true(PARSE(__VA_ARGS__) < 0);                                               \
		if (!strstr(e.msg, text))                                                          \
			fail_msg("no \"%s\" in: %s", text, e.msg);                                 \
		assert_true(e.code < 0);                                                           \
	} while (0)

static void nothing(void **state)
{
	assert_int_equal(opt_parse(&table, &st, &r, 0, NULL, &e), 0);
}

static void all_forms(void **state)
{
	assert_int_equal(PARSE("--count", "3", "--file", "a"), 0);
	assert_int_equal(r.count, 3);
	assert_string_equal(r.file, "a");
	assert_int_equal(PARSE("--count=4", "--file=a=b"), 0);
	assert_int_equal(r.count, 4);
	assert_string_equal(r.file, "a=b");
	assert_int_equal(PARSE("-c", "5", "-f", "-"), 0);
	assert_int_equal(r.count, 5);
	assert_string_equal(r.file, "-");
	assert_int_equal(PARSE("-c6", "-fname"), 0);
	assert_int_equal(r.count, 6);
	assert_string_equal(r.file, "name");
	assert_int_equal(PARSE("-xc7"), 0); /* a switch and an option with its value */
	assert_int_equal(r.count, 7);
	assert_true(r.flag);
}

static void first_word(void **state)
{
	assert_int_equal(PARSE("Image", "-c", "2"), 0);
	assert_string_equal(r.word, "Image");
	assert_int_equal(PARSE("-c", "2", "-"), 0);
	assert_string_equal(r.word, "-");
	assert_int_equal(PARSE("-x", "--", "--flag"), 0);
	assert_string_equal(r.word, "--flag");
	REFUSED("unexpected word \"two\"", "one", "two");
	REFUSED("unexpected word \"two\"", "--word", "one", "two");
	REFUSED("--word is given twice", "one", "--word", "two");
}

static void no_word(void **state)
{
	struct opt_table t = table;
	char *argv[] = {(char *)"Image"};

	t.word = NULL;
	assert_int_equal(opt_parse(&t, &st, &r, 1, argv, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "unexpected word \"Image\": see the list"));
}

static void missing_values(void **state)
{
	REFUSED("--file needs a value: --file FILE", "--file");
	REFUSED("-f (--file) needs a value", "-f");
	REFUSED("--flag follows", "--file", "--flag");
	REFUSED("write --file=--count=3", "--file", "--count=3");
	REFUSED("the value is empty", "--file=");
	REFUSED("the value is empty", "--file", "");
	assert_int_equal(PARSE("--text="), 0);
	assert_string_equal(r.text, "");
	assert_int_equal(PARSE("-t", ""), 0);
	/* What only looks like an option is a value. */
	assert_int_equal(PARSE("--text", "--unknown", "--file", "-x"), 0);
	assert_string_equal(r.text, "--unknown");
	assert_string_equal(r.file, "-x");
	assert_int_equal(PARSE("--file=--flag"), 0);
	assert_string_equal(r.file, "--flag");
}

static void switches(void **state)
{
	assert_int_equal(PARSE("--flag", "--flag"), 0);
	assert_true(r.flag);
	assert_int_equal(PARSE("--flag", "--no-flag"), 0);
	assert_false(r.flag);
	assert_int_equal(PARSE("--no-undo"), 0);
	assert_true(r.flag);
	REFUSED("--flag takes no value", "--flag=yes");
	REFUSED("--no-flag takes no value", "--no-flag=yes");
	REFUSED("unknown option --no-count", "--no-count", "3");
	REFUSED("unknown option --no-bogus", "--no-bogus");
	REFUSED("unknown option --no-", "--no-");
}

static void given_twice(void **state)
{
	REFUSED("option --count is given twice", "--count", "3", "--count", "3");
	REFUSED("option -c (--count) is given twice", "--count", "3", "-c4");
	assert_int_equal(PARSE("-m", "a", "--many=b", "-mc"), 0);
	assert_int_equal(r.nr_many, 3);
	assert_string_equal(r.many[0], "a");
	assert_string_equal(r.many[2], "c");
	assert_int_equal(opt_given(&table, &st, "many"), 3);
	assert_int_equal(opt_given(&table, &st, "count"), 0);
	REFUSED("option -m (--many): too many", "-ma", "-mb", "-mc", "-md", "-me");
}

static void numbers(void **state)
{
	REFUSED("option --count: \"4x\" is not a number: give 1 to 8", "--count", "4x");
	REFUSED("option -c (--count): \"=4\" is not a number", "-c=4");
	REFUSED("\"-1\" is not a number", "--count=-1");
	REFUSED("0 is out of range: give 1 to 8", "--count=0");
	REFUSED("9 is out of range", "--count=9");
	REFUSED("99999999999999999999999 is out of range", "--count=99999999999999999999999");
	REFUSED("a leading 0 means octal", "--count=08");
	assert_int_equal(PARSE("--count=0x8", "--big=0xffffffffffffffff"), 0);
	assert_int_equal(r.count, 8);
	assert_true(r.big == UINT64_MAX);
}

static void choices(void **state)
{
	assert_int_equal(PARSE("--color=blue"), 0);
	assert_int_equal(r.color, BLUE);
	r.color = BLUE;
	assert_int_equal(PARSE("--color", "Image"), 0); /* the value may be left out */
	assert_int_equal(r.color, RED);
	assert_string_equal(r.word, "Image");
	assert_int_equal(PARSE("-Cgreen"), 0);
	assert_int_equal(r.color, GREEN);
	REFUSED("write --color=green", "--color", "green");
	REFUSED("did you mean green? (one of red, green, blue)", "--color=gren");
	REFUSED("give one of red, green, blue", "--color=7");
	REFUSED("pink: there is no pink", "--color=pink");
}

static void unknown_options(void **state)
{
	REFUSED("unknown option --cuont: did you mean --count?", "--cuont=3");
	REFUSED("did you mean --count?", "--coun", "3"); /* not abbreviated */
	REFUSED("unknown option --zzz: see the list", "--zzz");
	REFUSED("unknown option -z: see the list", "-z");
	REFUSED("unknown option -z", "-xz");
	REFUSED("unknown option -file: did you mean --file, with two dashes?", "-file", "a");
	REFUSED("did you mean --count, with two dashes?", "-count=3");
	REFUSED("unknown option --: see the list", "--=a");
	/* A hidden option exists, and is not suggested. */
	assert_int_equal(PARSE("--secret"), 0);
	REFUSED("unknown option --secre: see the list", "--secre");
}

static void long_unknown_option(void **state)
{
	char name[5000];

	memset(name, 'a', sizeof(name) - 1);
	name[0] = name[1] = '-';
	name[sizeof(name) - 1] = 0;
	REFUSED("unknown option --aaaa", name);
	name[1] = 'c';
	REFUSED("is not a number", name);
}

static void idle_and_refused(void **state)
{
	assert_int_equal(PARSE("--idle", "--idle", "--idle-value=good", "--idle-value", "good"), 0);
	assert_int_equal(opt_given(&table, &st, "idle-value"), 2);
	REFUSED("option --idle-value: \"bad\" is not good", "--idle-value=bad");
	REFUSED("option --never: not here: use --file", "--never");
	REFUSED("option --never: not here", "--never=1");
	REFUSED("option -n (--never): not here", "-n1");
}

static void stops(void **state)
{
	assert_int_equal(PARSE("--stop", "--bogus"), 7);
	assert_int_equal(PARSE("-xh", "--bogus"), 7);
	assert_true(r.flag);
}

static void from_config_file(void **state)
{
	const struct opt *o = opt_find_key(&table, "main.count");

	assert_non_null(o);
	assert_null(opt_find_key(&table, "main"));
	assert_int_equal(opt_set(&table, &st, &r, o, "x.conf:3: count", "5", &e), 0);
	assert_int_equal(r.count, 5);
	assert_int_equal(opt_set(&table, &st, &r, o, "x.conf:4: count", "5", &e), -EINVAL);
	o = opt_find(&table, "flag");
	assert_int_equal(opt_set(&table, &st, &r, o, "flag", "yes", &e), 0);
	assert_true(r.flag);
	assert_int_equal(opt_set(&table, &st, &r, o, "flag", "off", &e), 0);
	assert_false(r.flag);
	assert_int_equal(opt_set(&table, &st, &r, o, "flag", "maybe", &e), -EINVAL);
	assert_string_equal(e.msg, "option flag: \"maybe\" is neither yes nor no");
}

static char *output(bool man, bool full)
{
	static char buf[8192];
	FILE *f = fmemopen(buf, sizeof(buf), "w");

	assert_non_null(f);
	if (man)
		opt_man(f, &table);
	else
		opt_help(f, &table, full);
	assert_int_equal(fclose(f), 0);
	return buf;
}

static void help(void **state)
{
	char *s = output(false, false);

	assert_non_null(strstr(s, "\nFirst\n  -c, --count N               a number\n"));
	assert_non_null(strstr(s, "\n      --big N                 a large number\n"));
	assert_non_null(strstr(s, "--color[=COLOR]"));
	assert_non_null(strstr(s, "\nSecond\n      --last                  a help"));
	assert_non_null(strstr(s, "  --idle --idle-value\n"));
	assert_non_null(strstr(s, "  --never\n"));
	assert_null(strstr(s, "secret"));
	assert_null(strstr(s, "One sentence"));
	for (char *line = strtok(s, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 80);

	s = output(false, true);
	assert_non_null(strstr(s, "One sentence."));
	assert_non_null(strstr(s, "nothing to do"));
	assert_non_null(strstr(s, "not here: use --file"));
	assert_non_null(strstr(s, "there is no pink"));
	assert_null(strstr(s, "secret"));
	for (char *line = strtok(s, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 80);
}

static void manual(void **state)
{
	char *s = output(true, false);

	assert_non_null(
		strstr(s, ".Ss First\n.Bl -tag -width Ds\n.It Fl c Ar N , Fl \\-count Ar N\n"));
	assert_non_null(strstr(s, ".It Fl C Ar COLOR , Fl \\-color Ns Op = Ns Ar COLOR\n"));
	assert_non_null(strstr(s, ".It Fl x , Fl \\-flag\n"));
	assert_non_null(strstr(s, "One sentence.\n\\-x is a dash.\n"));
	assert_null(strstr(s, "secret"));
	for (char *line = strtok(s, "\n"); line; line = strtok(NULL, "\n"))
		if (*line == '.')
			assert_true(!strncmp(line, ".It ", 4) || !strncmp(line, ".Ql ", 4) ||
				    !strncmp(line, ".Ss ", 4) || !strncmp(line, ".Bl ", 4) ||
				    !strcmp(line, ".El"));
}

/* ---- two tables --------------------------------------------------------------------------- */

static struct {
	bool verbose;
	char *out;
} own;

static const struct opt own_options[] = {
	{ .name = "verbose", .letter = 'v', .flags = OPT_FLAG, .help = "more", .parse = opt_flag },
	{ .name = "out", .arg = "FILE", .help = "a file", .parse = opt_string,
	  .offset = sizeof(char *) },
};

static const struct opt_table own_table = {
	.opt = own_options, .nr = ARRAY_SIZE(own_options), .group = groups, .nr_groups = 1,
	.hint = "see the other list",
};

static char left_text[200];

/* What is left stands in left_text, with blanks between. */
static int split_argv(char **argv)
{
	struct opt_state own_st = {{0}};
	char *left[20];
	int argc = 0, nr = -1, ret;

	free(own.out);
	memset(&own, 0, sizeof(own));
	while (argv[argc])
		argc++;
	ret = opt_split(&own_table, &own_st, &own, &table, argc, argv, left, &nr, &e);
	left_text[0] = '\0';
	for (int i = 0; i < nr; i++) {
		strcat(left_text, i ? " " : "");
		strcat(left_text, left[i]);
	}
	return ret;
}
#define SPLIT(...) split_argv((char *[]){__VA_ARGS__, NULL})

static void split(void **state)
{
	_Static_assert(offsetof(__typeof__(own), out) == sizeof(char *), "own_options");

	assert_int_equal(SPLIT("--count", "3", "-v", "--out", "x", "word", "-xf", "a"), 0);
	assert_string_equal(left_text, "--count 3 word -xf a");
	assert_true(own.verbose);
	assert_string_equal(own.out, "x");
	assert_int_equal(SPLIT("--out=y", "--never", "-x"), 0);
	assert_string_equal(left_text, "--never -x");
	assert_string_equal(own.out, "y");
	/* what looks like ours is a value of the other one's, or stands behind -- */
	assert_int_equal(SPLIT("-f", "-v", "--text", "-v", "-t-v", "--file=-v", "--", "-v", "--out"), 0);
	assert_string_equal(left_text, "-f -v --text -v -t-v --file=-v -- -v --out");
	assert_false(own.verbose);
	assert_null(own.out);
	/* these take none from the next word */
	assert_int_equal(SPLIT("--color", "-v"), 0);
	assert_string_equal(left_text, "--color");
	assert_true(own.verbose);
	assert_int_equal(SPLIT("-C", "-v", "--flag", "--verbose", "--unknown", "-v"), 0);
	assert_string_equal(left_text, "-C --flag --unknown");
	/* a forgotten value is not ours */
	assert_int_equal(SPLIT("--file", "--verbose"), 0);
	assert_string_equal(left_text, "--file");
	assert_true(own.verbose);
	assert_int_equal(SPLIT("--file", "--count", "--verbose"), 0);
	assert_string_equal(left_text, "--file --count");
	assert_int_equal(SPLIT("--count"), 0);
	assert_string_equal(left_text, "--count");
	/* errors in our own */
	assert_int_equal(SPLIT("--out"), -EINVAL);
	assert_non_null(strstr(e.msg, "--out needs a value"));
	assert_int_equal(SPLIT("--out", "--verbose"), -EINVAL);
	assert_int_equal(SPLIT("--out=a", "--out=b"), -EINVAL);
	assert_int_equal(SPLIT("--verbose=1"), -EINVAL);
	free(own.out);
	own.out = NULL;
}

/* ---- words between commas, and who looks on ------------------------------------------------ */

static const struct opt pair_options[] = {
	{ .name = "path", .arg = "FILE", .help = "a file", .parse = opt_string, TO(file),
	  .path = "" },
	{ .name = "tag", .arg = "TAG", .help = "a tag", .parse = opt_string, TO(word) },
	{ .name = "ro", .flags = OPT_FLAG, .help = "read-only", .parse = opt_flag, TO(flag) },
	{ .name = "idle", .flags = OPT_NOOP, .arg = "V", .help = "nothing", .why = "no" },
};

static const struct opt_table pair = {
	.opt = pair_options, .nr = ARRAY_SIZE(pair_options), .word = "path", .word2 = "tag",
	.title = "tag", .hint = "FILE,TAG", .size = sizeof(struct result),
};

static int words(const char *text)
{
	reset(NULL);
	return opt_words(&pair, &r, text, &e);
}

static void second_word(void **state)
{
	assert_int_equal(words("a,b,ro"), 0);
	assert_string_equal(r.file, "a");
	assert_string_equal(r.word, "b");
	assert_true(r.flag);
	assert_int_equal(words("a,ro"), 0);	/* the second word, whatever it is */
	assert_string_equal(r.word, "ro");
	assert_false(r.flag);
	assert_int_equal(words("a,tag=b,ro"), 0);
	assert_true(r.flag);
	assert_int_equal(words("path=a,b"), -EINVAL);
	assert_int_equal(words("a,"), -EINVAL);
	assert_int_equal(words("a,b,c"), -EINVAL);
}

static void separator(void **state)
{
	assert_int_equal(words("\x1fpath=a,b\x1ftag=c,ro"), 0);
	assert_string_equal(r.file, "a,b");
	assert_string_equal(r.word, "c,ro");
	assert_false(r.flag);
	assert_int_equal(words("\x1f"), 0);
	assert_null(r.file);
	assert_int_equal(words("\x1f""a"), -EINVAL);	/* no word goes without its name there */
}

static char seen[200];

static int see(void *ctx, const struct opt *o, const char *shown, const char *value,
	       struct err *err)
{
	size_t n = strlen(seen);

	assert_ptr_equal(ctx, &own);
	snprintf(seen + n, sizeof(seen) - n, "%s(%s)=%s ", o->name, shown, value ? value : "-");
	return !strcmp(o->name, "stop") ? 7 : 0;
}

static int see_word(void *ctx, const char *word, struct err *err)
{
	assert_ptr_equal(ctx, &own);
	return !strcmp(word, "mine") ? 1 : !strcmp(word, "bad") ? -EPERM : 0;
}

static void hooks(void **state)
{
	const struct opt_hook hook = { see, see_word, &own };
	char *line[] = { "-c", "77", "mine", "--color", "mine", "x", "--no-flag", "-hx", "--big=1" };

	reset(NULL);
	st.hook = &hook;
	seen[0] = '\0';
	assert_int_equal(opt_parse(&table, &st, NULL, ARRAY_SIZE(line), line, &e), 7);
	/* values are not looked at, and --stop ends it */
	assert_string_equal(seen, "count(-c (--count))=77 color(--color)=- word(word)=x "
				  "flag(--no-flag)=no stop(-h (--stop))=- ");
	assert_int_equal(opt_given(&table, &st, "word"), 1);
	assert_int_equal(opt_parse(&table, &st, NULL, 1, (char *[]){ "bad" }, &e), -EPERM);
	assert_int_equal(opt_parse(&table, &st, NULL, 1, (char *[]){ "--never=1" }, &e), -EINVAL);
	assert_int_equal(opt_parse(&table, &st, NULL, 1, (char *[]){ "--count=" }, &e), -EINVAL);
	seen[0] = '\0';
	assert_int_equal(opt_words_hook(&pair, &hook, "a,b,ro,idle=x", &e), 0);
	assert_string_equal(seen, "path(path)=a tag(tag)=b ro(ro)=- idle(idle)=x ");
}

static void keys_manual(void **state)
{
	static const struct opt with_keys[] = {
		{ .name = "a", .arg = "N", .help = "an a", .key = "one.a", .flags = OPT_REPEAT },
		{ .name = "p", .arg = "X", .help = "a pair", .key = "pair", .words = &pair,
		  .flags = OPT_REPEAT },
		{ .name = "b", .help = "a b", .key = "one.b", .flags = OPT_FLAG },
		{ .name = "c", .help = "no key", .flags = OPT_FLAG },
	};
	const struct opt_table t = { .opt = with_keys, .nr = ARRAY_SIZE(with_keys) };
	char buf[2000] = "";
	FILE *to = fmemopen(buf, sizeof(buf), "w");

	opt_man_keys(to, &t);
	assert_int_equal(fclose(to), 0);
	assert_string_equal(buf,
		".Ss one\n.Bl -tag -width Ds\n"
		".It Cm a No = Ar N\nan a.\nA list.\n.Pq Fl \\-a\n"
		".It Cm b No = Cm yes | no\na b.\n.Pq Fl \\-b\n.El\n"
		".Ss pair Qq Ar name\na pair.\nIt is the option\n.Fl \\-p\nof\n.Xr realmtool-run 1 .\n"
		"Without a key\n.Cm tag ,\nthe name of the section is its value.\n"
		".Bl -tag -width Ds -compact\n"
		".It Cm path No = Ar FILE\na file; a path.\n"
		".It Cm tag No = Ar TAG\na tag.\n"
		".It Cm ro No = Cm yes | no\nread\\-only.\n.El\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(nothing, reset),
		cmocka_unit_test_teardown(all_forms, reset),
		cmocka_unit_test_teardown(first_word, reset),
		cmocka_unit_test_teardown(no_word, reset),
		cmocka_unit_test_teardown(missing_values, reset),
		cmocka_unit_test_teardown(switches, reset),
		cmocka_unit_test_teardown(given_twice, reset),
		cmocka_unit_test_teardown(numbers, reset),
		cmocka_unit_test_teardown(choices, reset),
		cmocka_unit_test_teardown(unknown_options, reset),
		cmocka_unit_test_teardown(long_unknown_option, reset),
		cmocka_unit_test_teardown(idle_and_refused, reset),
		cmocka_unit_test_teardown(stops, reset),
		cmocka_unit_test_teardown(from_config_file, reset),
		cmocka_unit_test_teardown(help, reset),
		cmocka_unit_test_teardown(manual, reset),
		cmocka_unit_test_teardown(second_word, reset),
		cmocka_unit_test_teardown(separator, reset),
		cmocka_unit_test_teardown(hooks, reset),
		cmocka_unit_test_teardown(keys_manual, reset),
		cmocka_unit_test(split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
