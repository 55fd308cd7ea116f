// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/conffile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/conf_parse.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/path.h"

#define SYSTEM_DIR "/etc/realmtool"

void conf_init(struct conf *f, const struct opt_table *t)
{
	*f = (struct conf){ .t = t };
}

static void free_set(struct conf_set *s)
{
	for (unsigned int i = 0; i < s->nr; i++)
		free(s->val[i].text);
	free(s->val);
	free(s->title);
	free(s->shown);
}

void conf_free(struct conf *f)
{
	for (unsigned int i = 0; i < f->nr_sets; i++)
		free_set(&f->set[i]);
	free(f->set);
	for (unsigned int i = 0; i < f->nr_files; i++)
		free(f->file[i]);
	for (unsigned int i = 0; i < f->nr_errs; i++)
		free(f->err[i].msg);
	free(f->path);
	free(f->name);
	free(f->instance);
	conf_init(f, f->t);
}

/* ---- errors ---------------------------------------------------------------------------------- */

void conf_error(struct conf *f, int file, unsigned int line, const char *msg)
{
	char *copy;

	if (f->nr_errs == CONF_MAX_ERRORS)
		return;
	if (f->nr_errs == CONF_MAX_ERRORS - 1)
		msg = "and more errors, which are not shown";
	copy = strdup(msg);
	for (char *p = copy; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	f->err[f->nr_errs++] = (struct conf_err){ file, line, copy };
}

static int by_place(const void *va, const void *vb)
{
	const struct conf_err *a = va, *b = vb;

	if (a->file != b->file)
		return a->file < b->file ? -1 : 1;
	return a->line < b->line ? -1 : a->line > b->line;
}

static const char *place(const struct conf *f, const struct conf_err *x, char *text, size_t room)
{
	const char *path = x->file >= 0 ? f->file[x->file] : "command line";

	if (x->line)
		snprintf(text, room, "%.300s:%u", path, x->line);
	else
		snprintf(text, room, "%.300s", path);
	return text;
}

static const char *message(const struct conf_err *x)
{
	return x->msg ? x->msg : "out of memory";
}

int conf_failed(struct conf *f, struct err *e)
{
	char where[320];

	if (!f->nr_errs)
		return 0;
	qsort(f->err, f->nr_errs, sizeof(f->err[0]), by_place);
	if (f->nr_errs == 1)
		return err_set(e, -EINVAL, "%s: %s", place(f, &f->err[0], where, sizeof(where)),
			       message(&f->err[0]));
	return err_set(e, -EINVAL, "%s: %s (one of %u errors: \"realmtool config check %.200s\" lists "
		       "them all)", place(f, &f->err[0], where, sizeof(where)), message(&f->err[0]),
		       f->nr_errs, f->path ? f->path : "FILE");
}

void conf_print_errors(struct conf *f, FILE *to)
{
	char where[320];

	qsort(f->err, f->nr_errs, sizeof(f->err[0]), by_place);
	for (unsigned int i = 0; i < f->nr_errs; i++)
		fprintf(to, "%s: %s\n", place(f, &f->err[i], where, sizeof(where)),
			message(&f->err[i]));
}

static void no_memory(struct conf *f)
{
	conf_error(f, f->reading, 0, "out of memory");
}

/* ---- from what is written to what is meant --------------------------------------------------- */

/* Not from the passwd file: a static program cannot ask all the sources of the host's. */
static const char *home(void)
{
	const char *dir = getenv("HOME");

	return dir && *dir ? dir : NULL;
}

/* %h, %n, %i and %%, as systemd has them; NULL: an error was told. */
static char *expand(struct conf *f, unsigned int line, const char *text)
{
	char msg[160], *out = NULL;
	const char *with;
	size_t len, n;
	FILE *to = open_memstream(&out, &len);

	if (!to) {
		no_memory(f);
		return NULL;
	}
	for (; *text; text += n) {
		n = strcspn(text, "%");
		fwrite(text, 1, n, to);
		if (!text[n])
			continue;
		text += n;
		n = 2;
		with = NULL;
		switch (text[1]) {
		case 'h':
			with = home();
			break;
		case 'n':
			with = f->name;
			break;
		case 'i':
			with = f->instance;
			break;
		case '%':
			with = "%";
			break;
		}
		if (with) {
			fputs(with, to);
			continue;
		}
		if (text[1] == 'h')
			snprintf(msg, sizeof(msg), "%%h: HOME is not set: set it, or write the whole path");
		else
			snprintf(msg, sizeof(msg), "%%%.1s is unknown: %%h is the home folder, %%n the "
				 "name, %%i the instance; write %%%% for a percent sign", text + 1);
		conf_error(f, f->reading, line, msg);
		fclose(to);
		free(out);
		return NULL;
	}
	if (fclose(to)) {
		no_memory(f);
		free(out);
		return NULL;
	}
	return out;
}

/* Where in a value the path is; NULL: nowhere. */
static const char *path_in(const struct opt *o, const char *text)
{
	size_t n = o->path ? strlen(o->path) : 0;

	if (!o->path || strncmp(text, o->path, n) || opt_is_choice(o, text) || !text[n])
		return NULL;
	return text + n;
}

const char *conf_path(const struct opt *o, const char *text)
{
	const char *path = text && !(o->flags & OPT_LATER) ? path_in(o, text) : NULL;

	return path && strncmp(path, "fd:", 3) ? path : NULL;
}

/* A relative path is relative to a folder; @text is freed. NULL: no memory. */
static char *resolve(const struct opt *o, char *text, const char *dir, size_t dir_len)
{
	const char *path = path_in(o, text);
	char *out;
	int n;

	if (!path || *path == '/' || !dir_len || path_is_fd(path))
		return text;
	n = asprintf(&out, "%.*s%.*s/%s", (int)(path - text), text, (int)dir_len, dir, path);
	free(text);
	return n < 0 ? NULL : out;
}

static size_t folder(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
}

/* What a value of the file that is read now means; NULL: an error was told. */
static char *meaning(struct conf *f, unsigned int line, const struct opt *o, const char *value)
{
	const char *file = f->file[f->reading], *path;
	char *text = expand(f, line, value);

	for (const char *p = text; p && *p; p++)
		if ((unsigned char)*p < ' ' && *p != '\t') {
			conf_error(f, f->reading, line, "a control character cannot be in a value");
			free(text);
			return NULL;
		}
	if (!text)
		return NULL;
	path = path_in(o, text);
	if (path && *path == '~') {
		conf_error(f, f->reading, line, "~ is no home folder here: write %h");
		free(text);
		return NULL;
	}
	text = resolve(o, text, file, folder(file));
	if (!text)
		no_memory(f);
	return text;
}

/* ---- settings -------------------------------------------------------------------------------- */

static struct conf_set *find_set(struct conf *f, const struct opt *o, const char *title)
{
	for (unsigned int i = 0; i < f->nr_sets; i++) {
		struct conf_set *s = &f->set[i];

		if (s->opt == o && !s->shown && !s->title == !title &&
		    (!title || !strcmp(s->title, title)))
			return s;
	}
	return NULL;
}

bool conf_has(const struct conf *f, const char *name)
{
	for (unsigned int i = 0; i < f->nr_sets; i++)
		if (!f->set[i].dropped && !strcmp(f->set[i].opt->name, name))
			return true;
	return false;
}

static struct conf_set *add_set(struct conf *f, const struct conf_set *new)
{
	struct conf_set *set = reallocarray(f->set, f->nr_sets + 1, sizeof(*set));

	if (!set)
		return NULL;
	f->set = set;
	set[f->nr_sets] = *new;
	return &set[f->nr_sets++];
}

static bool add_val(struct conf_set *s, const struct opt *o, char *text, int file,
		    unsigned int line)
{
	struct conf_val *val = reallocarray(s->val, s->nr + 1, sizeof(*val));

	if (!val)
		return false;
	s->val = val;
	val[s->nr++] = (struct conf_val){ o, text, file, line };
	return true;
}

static struct conf_set *set_for(struct conf *f, unsigned int line, const struct conf_item *i)
{
	struct conf_set *s = find_set(f, i->opt, i->title);
	struct conf_set new = {
		.opt = i->opt, .words = i->opt->words, .file = f->reading, .line = line,
	};

	if (s)
		return s;
	new.title = i->title ? strdup(i->title) : NULL;
	if (i->title && !new.title)
		return NULL;
	s = add_set(f, &new);
	if (!s)
		free(new.title);
	return s;
}

static void put_val(struct conf *f, struct conf_set *s, unsigned int line,
		    const struct conf_item *i, const struct opt *o, char *text)
{
	char msg[160];
	unsigned int n = 0;

	/* a key of a section is one of many; the values of a list are all of one key */
	while (n < s->nr && s->val[n].opt != o)
		n++;
	if (n < s->nr && i->first && s->val[n].file == f->reading) {
		snprintf(msg, sizeof(msg), "%s is given twice, in line %u too: give it once%s", o->name,
			 s->val[n].line, o->flags & OPT_REPEAT ? ", or add with +=" : "");
		conf_error(f, f->reading, line, msg);
		free(text);
		return;
	}
	if (n < s->nr && i->first && i->sub) {	/* a drop-in has it too */
		free(s->val[n].text);
		s->val[n].text = text;
		s->val[n].file = f->reading;
		s->val[n].line = line;
		return;
	}
	while (!i->sub && i->first && s->nr)
		free(s->val[--s->nr].text);
	if (!add_val(s, o, text, f->reading, line)) {
		free(text);
		no_memory(f);
	}
}

static void on_item(void *ctx, unsigned int line, const struct conf_item *i)
{
	struct conf *f = ctx;
	struct conf_set *s = set_for(f, line, i);
	const struct opt *o = i->sub ? i->sub : i->opt;
	char *text;

	if (!s) {
		no_memory(f);
		return;
	}
	if (!i->value)
		return;
	text = meaning(f, line, o, i->value);
	if (text)
		put_val(f, s, line, i, o, text);
}

static void on_error(void *ctx, unsigned int line, const char *msg)
{
	struct conf *f = ctx;

	conf_error(f, f->reading, line, msg);
}

int conf_read(struct conf *f, const char *path, const char *text, size_t len, struct err *e)
{
	const struct conf_sink sink = { on_item, on_error, f };
	char *copy;

	if (f->nr_files == CONF_MAX_FILES)
		return err_set(e, -E2BIG, "%.200s: more than %d drop-ins", path, CONF_MAX_FILES - 1);
	copy = strdup(path);
	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	f->reading = f->nr_files;
	f->file[f->nr_files++] = copy;
	conf_parse(f->t, text, len, &sink);
	return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int read_file(const char *path, char **text, size_t *len, struct err *e)
{
	int fd = path_open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
	size_t size = CONF_FILE_MAX + 1;
	struct stat st;
	ssize_t n;
	int ret;

	if (fd < 0)
		return err_set(e, -errno, "%.300s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		ret = err_set(e, -EINVAL, "%.300s: not a file", path);
		goto out;
	}
	*text = malloc(size);
	ret = *text ? 0 : err_set(e, -ENOMEM, "out of memory");
	for (*len = 0; !ret && *len < size; *len += n) {
		n = read(fd, *text + *len, size - *len);
		if (n < 0)
			ret = err_set(e, -errno, "%.300s: %s", path, strerror(errno));
		if (n <= 0)
			break;
	}
	if (!ret && *len == size)
		ret = err_set(e, -EFBIG, "%.300s: more than %d KiB are no config file", path,
			      CONF_FILE_MAX / 1024);
	if (ret < 0)
		free(*text);
out:
	close(fd);
	return ret;
}

static int load_file(struct conf *f, const char *path, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int ret = read_file(path, &text, &len, e);

	if (ret < 0)
		return ret;
	ret = conf_read(f, path, text, len, e);
	free(text);
	return ret;
}

static bool has_suffix(const char *name)
{
	size_t n = strlen(name), m = strlen(CONF_SUFFIX);

	return n > m && !strcmp(name + n - m, CONF_SUFFIX);
}

static int is_drop_in(const struct dirent *d)
{
	return d->d_name[0] != '.' && has_suffix(d->d_name);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* A drop-in that cannot be read is an error like one in it. */
static int load_drop_ins(struct conf *f, const char *dir, struct err *e)
{
	struct dirent **d;
	int n = scandir(dir, &d, is_drop_in, by_name), ret = 0;
	struct err why = {0};
	char *path;

	if (n < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 :
		       err_set(e, -errno, "%.300s: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (!ret && asprintf(&path, "%s/%s", dir, d[i]->d_name) < 0) {
			ret = err_set(e, -ENOMEM, "out of memory");
		} else if (!ret) {
			if (load_file(f, path, &why) < 0)
				conf_error(f, 0, 0, why.msg);
			free(path);
		}
		free(d[i]);
	}
	free(d);
	return ret;
}

/* NAME@INSTANCE; the instance of a file NAME@.conf is what the user asked for. */
static int set_name(struct conf *f, const char *word)
{
	const char *base = strrchr(word, '/'), *at;

	base = base ? base + 1 : word;
	f->name = strndup(base, strlen(base) - (has_suffix(base) ? strlen(CONF_SUFFIX) : 0));
	at = f->name ? strchr(f->name, '@') : NULL;
	f->instance = strdup(at ? at + 1 : "");
	return f->name && f->instance ? 0 : -ENOMEM;
}

/* Those of a file, or (with a folder and a name) of an instance. */
static int drop_ins_of(struct conf *f, const char *path, size_t len, const char *name,
		       struct err *e)
{
	char *dir;
	int ret;

	if (asprintf(&dir, "%.*s%s%s.d", (int)len, path, name, *name ? CONF_SUFFIX : "") < 0)
		return err_set(e, -ENOMEM, "out of memory");
	ret = load_drop_ins(f, dir, e);
	free(dir);
	return ret;
}

static int load(struct conf *f, const char *path, const char *word, struct err *e)
{
	const char *base = strrchr(path, '/');
	int ret;

	f->path = strdup(path);
	if (!f->path || set_name(f, word) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	ret = load_file(f, path, e);
	if (!ret)
		ret = drop_ins_of(f, path, strlen(path), "", e);
	/* those of this instance, beside those of all */
	base = base ? base + 1 : path;
	if (!ret && (strncmp(base, f->name, strlen(f->name)) ||
		     strcmp(base + strlen(f->name), CONF_SUFFIX)))
		ret = drop_ins_of(f, path, base - path, f->name, e);
	return ret;
}

int conf_load(struct conf *f, const char *path, struct err *e)
{
	return load(f, path, path, e);
}

static bool is_file(const char *path)
{
	struct stat st;

	return path_stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

/* FOLDER/NAME.conf, or the template of an instance. */
static char *in_folder(const char *dir, const char *sub, const char *name)
{
	const char *at = strchr(name, '@');
	char *path;

	if (asprintf(&path, "%s%s/%s" CONF_SUFFIX, dir, sub, name) < 0)
		return NULL;
	if (is_file(path))
		return path;
	free(path);
	if (!at || asprintf(&path, "%s%s/%.*s@" CONF_SUFFIX, dir, sub, (int)(at - name), name) < 0)
		return NULL;
	if (is_file(path))
		return path;
	free(path);
	return NULL;
}

static char *in_folders(const char *name)
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *dir = home();
	char *path = NULL;

	/* a relative one is to be ignored: XDG Base Directory Specification */
	if (xdg && *xdg == '/')
		path = in_folder(xdg, "/realmtool", name);
	else if (dir)
		path = in_folder(dir, "/.config/realmtool", name);
	return path ? path : in_folder(SYSTEM_DIR, "", name);
}

int conf_find(const char *word, char **path, struct err *e)
{
	bool suffix = has_suffix(word), bare = !strchr(word, '/');
	char *name;

	*path = NULL;
	if (is_file(word) && (suffix || path_is_fd(word))) {
		*path = strdup(word);
		return *path ? 0 : err_set(e, -ENOMEM, "out of memory");
	}
	if (is_file(word) || !*word || *word == '.')
		return suffix ? err_set(e, -ENOENT, "%.200s: there is no such config file", word) : 0;
	if (bare) {
		name = strndup(word, strlen(word) - (suffix ? strlen(CONF_SUFFIX) : 0));
		if (!name)
			return err_set(e, -ENOMEM, "out of memory");
		*path = in_folders(name);
		free(name);
	}
	if (!*path && suffix)
		return err_set(e, -ENOENT, "%.200s: there is no such config file%s", word, bare ?
			       ", neither here nor in ~/.config/realmtool nor in " SYSTEM_DIR : "");
	return 0;
}

/* ---- command line ---------------------------------------------------------------------------- */

static const struct opt *canonical(const struct opt_table *t, const struct opt *o)
{
	return o->same_as ? opt_find(t, o->same_as) : o;
}

struct args {
	struct conf *f;
	char *word, *path;	/* of the config file */
};

static int on_option(void *ctx, const struct opt *o, const char *shown, const char *value,
		     struct err *e)
{
	struct args *a = ctx;
	struct conf_set new = { .opt = o, .file = CONF_COMMAND_LINE }, *s;
	char *text = value ? strdup(value) : NULL;

	new.shown = strdup(shown);
	s = new.shown && (text || !value) ? add_set(a->f, &new) : NULL;
	if (!s) {
		free(new.shown);
		free(text);
		return err_set(e, -ENOMEM, "out of memory");
	}
	if (!add_val(s, o, text, CONF_COMMAND_LINE, 0)) {
		free(text);
		return err_set(e, -ENOMEM, "out of memory");
	}
	/* --help ends the command line, whatever else stands there */
	if (o->flags & OPT_ENDS)
		return o->parse(o, value, NULL, e);
	return 0;
}

static int on_word(void *ctx, const char *word, struct err *e)
{
	struct args *a = ctx;
	char *path;
	int ret = conf_find(word, &path, e);

	if (ret < 0 || !path)
		return ret;
	if (a->path) {
		free(path);
		return err_set(e, -EINVAL, "\"%.200s\" is a second config file: give one, and more as "
			       "drop-ins (realmtool.conf(5))", word);
	}
	a->path = path;
	a->word = strdup(word);
	return a->word ? 1 : err_set(e, -ENOMEM, "out of memory");
}

/* What the command line says counts, and what can be given often is added. */
static void drop_overridden(struct conf *f, unsigned int nr_args)
{
	for (unsigned int i = 0; i < nr_args; i++) {
		const struct opt *o = canonical(f->t, f->set[i].opt);

		for (unsigned int k = nr_args; k < f->nr_sets && !(o->flags & OPT_REPEAT); k++)
			if (f->set[k].opt == o)
				f->set[k].dropped = true;
	}
}

/* The first @n come last. */
static int rotate(struct conf *f, unsigned int n)
{
	struct conf_set *set = calloc(f->nr_sets + 1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	memcpy(set, f->set + n, (f->nr_sets - n) * sizeof(*set));
	memcpy(set + f->nr_sets - n, f->set, n * sizeof(*set));
	free(f->set);
	f->set = set;
	return 0;
}

int conf_args(struct conf *f, int argc, char **argv, struct err *e)
{
	struct args a = { .f = f };
	const struct opt_hook hook = { on_option, on_word, &a };
	struct opt_state st = { .hook = &hook };
	unsigned int nr_args;
	int ret;

	ret = opt_parse(f->t, &st, NULL, argc, argv, e);
	nr_args = f->nr_sets;
	if (!ret && a.path) {
		ret = load(f, a.path, a.word, e);
		if (!ret) {
			drop_overridden(f, nr_args);
			if (nr_args && rotate(f, nr_args) < 0)
				ret = err_set(e, -ENOMEM, "out of memory");
		}
	}
	free(a.path);
	free(a.word);
	return ret;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* Each key of a section by itself, so that its line can be told. */
static bool check_words(struct conf *f, const struct conf_set *s)
{
	const struct opt_table *t = s->opt->words;
	struct err e = {0};
	bool good = true;

	for (unsigned int i = 0; i < s->nr; i++) {
		struct opt_state st = {0};
		const struct conf_val *v = &s->val[i];
		void *base = calloc(1, t->size);

		if (!base || opt_set(t, &st, base, v->opt, v->opt->name, v->text, &e) < 0) {
			conf_error(f, v->file, v->line, base ? e.msg : "out of memory");
			good = false;
		}
		if (base && t->free)
			t->free(base);
		free(base);
	}
	return good;
}

/* The keys as opt_words() takes them; the title may be one. NULL: no memory. */
static char *join_words(const struct conf_set *s)
{
	const char *title = s->title ? s->opt->words->title : NULL;
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);
	bool first = true;

	if (!to)
		return NULL;
	fputc(OPT_SEP, to);
	for (unsigned int i = 0; i < s->nr; i++) {
		if (title && !strcmp(s->val[i].opt->name, title))
			title = NULL;
		fprintf(to, "%s%s=%s", first ? "" : (char[]){ OPT_SEP, '\0' }, s->val[i].opt->name,
			s->val[i].text);
		first = false;
	}
	if (title)
		fprintf(to, "%s%s=%s", first ? "" : (char[]){ OPT_SEP, '\0' }, title, s->title);
	if (fclose(to)) {
		free(text);
		return NULL;
	}
	return text;
}

/* An error that quotes what a section was made into: that is nothing the user wrote. */
static void section_error(struct conf *f, const struct conf_set *s, const char *msg)
{
	const char *quote = strstr(msg, "\"?"), *end = quote ? strchr(quote + 1, '"') : NULL;
	char text[sizeof(((struct err *)NULL)->msg) + 16];

	/* err_set() made a ? of the separator */
	if (end)
		snprintf(text, sizeof(text), "%.*sthis section%s", (int)(quote - msg), msg, end + 1);
	conf_error(f, s->file, s->line, end ? text : msg);
}

static void apply_words(struct conf *f, struct opt_state *st, void *base, const struct conf_set *s)
{
	char shown[CONF_TITLE_MAX + 40], *text;
	struct err e = {0};

	if (!check_words(f, s))
		return;
	text = join_words(s);
	if (s->title)
		snprintf(shown, sizeof(shown), "%s \"%s\"", s->opt->key, s->title);
	else
		snprintf(shown, sizeof(shown), "%s", s->opt->key);
	/* without any key: an option without its value, if it can do without */
	if (!text)
		conf_error(f, s->file, s->line, "out of memory");
	else if (opt_set(f->t, st, base, s->opt, shown, !text[1] && s->opt->flags & OPT_OPTIONAL ?
			 NULL : text, &e) < 0)
		section_error(f, s, e.msg);
	free(text);
}

int conf_apply(struct conf *f, struct opt_state *st, void *base, struct err *e)
{
	struct err why = {0};
	int ret = 0;

	for (unsigned int i = 0; i < f->nr_sets && !ret; i++) {
		const struct conf_set *s = &f->set[i];

		if (s->dropped)
			continue;
		if (s->words) {
			apply_words(f, st, base, s);
			continue;
		}
		for (unsigned int k = 0; k < s->nr && !ret; k++) {
			const struct conf_val *v = &s->val[k];

			if (s->shown)
				ret = opt_set(f->t, st, base, s->opt, s->shown, v->text, e);
			else if (opt_set(f->t, st, base, s->opt, s->opt->key, v->text, &why) < 0)
				conf_error(f, v->file, v->line, why.msg);
		}
	}
	return ret;
}
