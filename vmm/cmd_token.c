// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "realm/report.h"
#include "realm/token.h"
#include "vmm/cmd.h"
#include "vmm/core/err.h"
#include "vmm/core/json.h"
#include "vmm/core/opt.h"
#include "vmm/core/parse.h"
#include "vmm/core/path.h"

#define EXIT_UNVERIFIED	1	/* a signature, the binding or the challenge is wrong */
#define NAME_WIDTH	26

struct token_options {
	char *file, *expect_rim, *challenge, *platform_key;
	bool json, help;
};

#define TO(field)	.offset = offsetof(struct token_options, field)

static const char *const groups[] = { "Options" };

/* clang-format off */
static const struct opt options[] = {
	{ .name = "file", .flags = OPT_HIDDEN, .arg = "FILE", .parse = opt_string, TO(file), .path = "" },
	{ .name = "platform-key", .arg = "FILE",
	  .help = "check the platform token's signature with this key (PEM)",
	  .text = "The public key that the platform's maker publishes; of an emulated realm "
		  "platform.pem in the folder of its keys, a private key whose public half is taken.",
	  .parse = opt_string, TO(platform_key), .path = "" },
	{ .name = "expect-rim", .arg = "RIM",
	  .help = "the initial measurement must be this one",
	  .text = "In hexadecimal or base64, or @FILE with the output of \"realmtool measure\".",
	  .parse = opt_string, TO(expect_rim), .path = "@" },
	{ .name = "expect-challenge", .arg = "HEX",
	  .help = "the challenge must be this one",
	  .text = "In hexadecimal. What was asked for may be shorter than the 64 bytes of the token: "
		  "the rest must be zero.",
	  .parse = opt_string, TO(challenge) },
	{ .name = "json", .flags = OPT_FLAG, .help = "print JSON",
	  .text = "What is verified is in the member verified: true, false, or null for what was not "
		  "asked for or cannot be told.",
	  .parse = opt_flag, TO(json) },
	{ .name = "help", .letter = 'h', .flags = OPT_FLAG, .help = "list the options",
	  .parse = opt_flag, TO(help) },
};
/* clang-format on */

const struct opt_table token_table = {
	.opt = options,
	.nr = ARRAY_SIZE(options),
	.group = groups,
	.nr_groups = ARRAY_SIZE(groups),
	.word = "file",
	.hint = "see realmtool token --help",
};

int cmd_help_token(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s token [OPTIONS] FILE\n\n"
	       "Takes a CCA attestation token apart, of a realm or of an emulated one, prints what it\n"
	       "says, and what of that is verified. FILE - is the standard input.\n\n"
	       "Exit code: 0 if all that could be checked is right (without --platform-key that does\n"
	       "not make it a token of a real platform), 1 if something is wrong, 3 if only the\n"
	       "measurement is not the one of --expect-rim, 128 if this is no token.\n", cx->prog);
	opt_help(stdout, &token_table, full);
	return cmd_flush(e);
}

/* ---- what is checked ------------------------------------------------------------------------- */

enum { CHECK_REALM, CHECK_BINDING, CHECK_PLATFORM, CHECK_CHALLENGE, CHECK_RIM, NR_CHECKS };

static const struct {
	const char *json, *good;
} check_names[NR_CHECKS] = {
	[CHECK_REALM] = { "realm_signature", "the realm token is signed with the key it names" },
	[CHECK_BINDING] = { "binding", "the platform token vouches for that key" },
	[CHECK_PLATFORM] = { "platform_signature", "the platform token is signed with the given key" },
	[CHECK_CHALLENGE] = { "challenge", "the challenge is the expected one" },
	[CHECK_RIM] = { "rim", "the initial measurement is the expected one" },
};

struct result {
	bool done;
	struct err e;		/* code 0: right; -EBADMSG: wrong; else it could not be told */
};

static void check_challenge(const struct token *t, const uint8_t *want, size_t len,
			    struct result *r)
{
	static const uint8_t zero[TOKEN_CHALLENGE];
	const uint8_t *got = t->realm.challenge.p;

	r->done = true;
	if (memcmp(got, want, len) || memcmp(got + len, zero, TOKEN_CHALLENGE - len))
		err_set(&r->e, -EBADMSG, "the challenge is not the expected one: the token answers "
			"another question");
}

static void check_rim(const struct token *t, const struct report_expected *x, struct result *r)
{
	r->done = true;
	if (t->realm.rim.len != x->len || memcmp(t->realm.rim.p, x->rim, x->len))
		err_set(&r->e, -EBADMSG, "the initial measurement is not the expected one");
}

/* Whatever can be checked; wrong options are errors, a wrong token is none. */
static int check(const struct token *t, const struct token_options *o, struct result r[NR_CHECKS],
		 struct err *e)
{
	uint8_t challenge[TOKEN_CHALLENGE];
	struct report_expected x;
	struct key_pub pub;
	size_t len;
	int ret;

	r[CHECK_REALM].done = r[CHECK_BINDING].done = true;
	token_check_realm(t, &r[CHECK_REALM].e);
	token_check_binding(t, &r[CHECK_BINDING].e);
	if (o->platform_key) {
		ret = key_pub_load(o->platform_key, &pub, e);
		if (ret < 0)
			return err_prefix(e, "option --platform-key");
		r[CHECK_PLATFORM].done = true;
		token_check_platform(t, &pub, &r[CHECK_PLATFORM].e);
	}
	if (o->challenge) {
		ret = parse_hex(o->challenge, challenge, sizeof(challenge), &len);
		if (ret < 0)
			return err_set(e, ret, "option --expect-challenge: %s", ret == -ERANGE ?
				       "these are more than 64 bytes" :
				       "give an even number of hexadecimal digits");
		check_challenge(t, challenge, len, &r[CHECK_CHALLENGE]);
	}
	if (o->expect_rim) {
		ret = report_expect(o->expect_rim, &x, e);
		if (ret < 0)
			return ret;
		check_rim(t, &x, &r[CHECK_RIM]);
		report_expect_free(&x);
	}
	return 0;
}

static int exit_code(const struct result r[NR_CHECKS])
{
	int code = 0;

	for (unsigned int i = 0; i < NR_CHECKS; i++)
		if (r[i].e.code)
			code = i == CHECK_RIM && !code ? EXIT_RIM : EXIT_UNVERIFIED;
	return code;
}

/* ---- as text --------------------------------------------------------------------------------- */

static void name(const char *text)
{
	printf("  %-*s ", NAME_WIDTH, text);
}

static void bytes(const char *what, const struct token_blob *b)
{
	if (!b->p)
		return;
	name(what);
	for (size_t i = 0; i < b->len; i++)
		printf("%02x", b->p[i]);
	putchar('\n');
}

/* Whoever made the token chose these bytes: no control character reaches the terminal. */
static void clean(const struct token_blob *b)
{
	for (size_t i = 0; i < b->len; i++)
		putchar(b->p[i] < 0x20 || b->p[i] > 0x7e ? '?' : b->p[i]);
}

static void text(const char *what, const struct token_blob *b)
{
	if (!b->p)
		return;
	name(what);
	clean(b);
	putchar('\n');
}

/* An identifier that is text in disguise is shown as such too. */
static void identifier(const char *what, const struct token_blob *b)
{
	bytes(what, b);
	for (size_t i = 0; i < b->len; i++)
		if (b->p[i] < 0x20 || b->p[i] > 0x7e)
			return;
	name("");
	printf("\"");
	clean(b);
	printf("\"\n");
}

static const char *alg_name(int64_t alg)
{
	return alg == -7 ? "ES256" : alg == -35 ? "ES384" : alg == -36 ? "ES512" : "unknown";
}

static void others(const struct token_part *part)
{
	if (!part->others)
		return;
	name("other claims");
	for (unsigned int i = 0; i < MIN(part->others, (unsigned int)TOKEN_OTHERS_MAX); i++)
		if (part->other[i])
			printf("%lld ", (long long)part->other[i]);
		else
			printf("? ");
	puts(part->others > TOKEN_OTHERS_MAX ? "..." : "");
}

static void print_platform(const struct token *t)
{
	printf("Platform token, %s (%lld)\n", alg_name(t->platform.part.alg),
	       (long long)t->platform.part.alg);
	text("profile", &t->platform.profile);
	identifier("implementation", &t->platform.implementation);
	bytes("instance", &t->platform.instance);
	name("lifecycle");
	printf("%#" PRIx64 " (%s)\n", t->platform.lifecycle, token_lifecycle(t->platform.lifecycle));
	bytes("challenge", &t->platform.challenge);
	identifier("configuration", &t->platform.config);
	text("hash algorithm", &t->platform.hash);
	text("verification service", &t->platform.service);
	if (t->platform.has_client) {
		name("client");
		printf("%lld\n", (long long)t->platform.client);
	}
	bytes("manufacturing", &t->platform.manufacturing);
	bytes("peer signers", &t->platform.peers);
	for (unsigned int i = 0; i < t->platform.nr_components; i++) {
		const struct token_component *c = &t->platform.component[i];

		text("software", &c->type);
		text("  version", &c->version);
		bytes("  measurement", &c->measurement);
		text("  hash algorithm", &c->hash);
		bytes("  signer", &c->signer);
	}
	others(&t->platform.part);
}

static void print_realm(const struct token *t)
{
	static const char *const mec[] = { "shared", "private" };
	const struct token_blob point = { t->rak.point, t->rak.len };
	char key[16];

	printf("\nRealm token, %s (%lld)\n", alg_name(t->realm.part.alg),
	       (long long)t->realm.part.alg);
	text("profile", &t->realm.profile);
	bytes("challenge", &t->realm.challenge);
	bytes("initial measurement", &t->realm.rim);
	for (unsigned int i = 0; i < TOKEN_NR_REMS; i++) {
		snprintf(key, sizeof(key), "measurement %u", i);
		bytes(key, &t->realm.rem[i]);
	}
	bytes("personalization value", &t->realm.rpv);
	bytes("instance", &t->realm.instance);
	text("hash algorithm", &t->realm.hash);
	bytes("key (point)", &point);
	text("hash algorithm of the key", &t->realm.rak_hash);
	if (t->realm.has_mec) {
		name("MEC policy");
		printf("%lld (%s)\n", (long long)t->realm.mec,
		       t->realm.mec == 0 || t->realm.mec == 1 ? mec[t->realm.mec] : "unknown");
	}
	text("MEC policy", &t->realm.mec_text);
	if (t->realm.has_lfa) {
		name("LFA policy");
		printf("%lld\n", (long long)t->realm.lfa);
	}
	bytes("hash of devices' tokens", &t->realm.devices);
	others(&t->realm.part);
}

static void print_checks(const struct token *t, const struct result r[NR_CHECKS])
{
	puts("\nVerified");
	for (unsigned int i = 0; i < NR_CHECKS; i++) {
		if (r[i].done)
			printf("  %-5s %s\n", !r[i].e.code ? "yes" :
			       r[i].e.code == -EBADMSG ? "NO" : "?", r[i].e.code ? r[i].e.msg :
			       check_names[i].good);
		else if (i == CHECK_PLATFORM)
			puts("  -     the platform token's signature was not checked: without "
			     "--platform-key anybody\n        can have made this token");
	}
	puts("  -     whether a platform like this one is to be trusted is for its verifier to say");
	if (token_is_rehearsal(t))
		puts("\nA REHEARSAL: an emulated realm made this token. It proves nothing.");
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static void json_blob(struct json *j, const char *key, const struct token_blob *b)
{
	if (b->p)
		json_hex(j, key, b->p, b->len);
}

static void json_text(struct json *j, const char *key, const struct token_blob *b)
{
	char *s;

	if (!b->p)
		return;
	s = strndup((const char *)b->p, b->len);
	json_str(j, key, s);
	free(s);
}

/* There is no member for negative numbers in the writer; claims that are, are text. */
static void json_int(struct json *j, const char *key, int64_t val)
{
	char s[24];

	if (val >= 0) {
		json_u64(j, key, val);
		return;
	}
	snprintf(s, sizeof(s), "%" PRId64, val);
	json_str(j, key, s);
}

static void json_platform(struct json *j, const struct token *t)
{
	json_object_begin(j, "platform");
	json_str(j, "signed_with", alg_name(t->platform.part.alg));
	json_text(j, "profile", &t->platform.profile);
	json_blob(j, "implementation_id", &t->platform.implementation);
	json_blob(j, "instance_id", &t->platform.instance);
	json_u64(j, "lifecycle", t->platform.lifecycle);
	json_str(j, "lifecycle_state", token_lifecycle(t->platform.lifecycle));
	json_blob(j, "challenge", &t->platform.challenge);
	json_blob(j, "config", &t->platform.config);
	json_text(j, "hash_algorithm", &t->platform.hash);
	json_text(j, "verification_service", &t->platform.service);
	if (t->platform.has_client)
		json_int(j, "client_id", t->platform.client);
	json_blob(j, "manufacturing_config", &t->platform.manufacturing);
	json_blob(j, "peer_signers", &t->platform.peers);
	json_array_begin(j, "software");
	for (unsigned int i = 0; i < t->platform.nr_components; i++) {
		const struct token_component *c = &t->platform.component[i];

		json_object_begin(j, NULL);
		json_text(j, "type", &c->type);
		json_text(j, "version", &c->version);
		json_blob(j, "measurement", &c->measurement);
		json_text(j, "hash_algorithm", &c->hash);
		json_blob(j, "signer_id", &c->signer);
		json_object_end(j);
	}
	json_array_end(j);
	json_u64(j, "other_claims", t->platform.part.others);
	json_object_end(j);
}

static void json_realm(struct json *j, const struct token *t)
{
	json_object_begin(j, "realm");
	json_str(j, "signed_with", alg_name(t->realm.part.alg));
	json_text(j, "profile", &t->realm.profile);
	json_blob(j, "challenge", &t->realm.challenge);
	json_blob(j, "rim", &t->realm.rim);
	json_array_begin(j, "rem");
	for (unsigned int i = 0; i < TOKEN_NR_REMS; i++)
		json_blob(j, NULL, &t->realm.rem[i]);
	json_array_end(j);
	json_blob(j, "rpv", &t->realm.rpv);
	json_blob(j, "instance_id", &t->realm.instance);
	json_text(j, "hash_algorithm", &t->realm.hash);
	json_hex(j, "public_key", t->rak.point, t->rak.len);
	json_text(j, "public_key_hash_algorithm", &t->realm.rak_hash);
	if (t->realm.has_mec)
		json_int(j, "mec_policy", t->realm.mec);
	json_text(j, "mec_policy", &t->realm.mec_text);
	if (t->realm.has_lfa)
		json_int(j, "lfa_policy", t->realm.lfa);
	json_blob(j, "devices_hash", &t->realm.devices);
	json_u64(j, "other_claims", t->realm.part.others);
	json_object_end(j);
}

/* null: not asked for, or it could not be told */
static void json_checks(struct json *j, const struct result r[NR_CHECKS])
{
	json_object_begin(j, "verified");
	for (unsigned int i = 0; i < NR_CHECKS; i++) {
		if (r[i].done && (!r[i].e.code || r[i].e.code == -EBADMSG))
			json_bool(j, check_names[i].json, !r[i].e.code);
		else
			json_str(j, check_names[i].json, NULL);
	}
	json_object_end(j);
}

static void print_json(const struct token *t, const struct result r[NR_CHECKS])
{
	struct json j = { .f = stdout };

	json_object_begin(&j, NULL);
	json_bool(&j, "rehearsal", token_is_rehearsal(t));
	json_u64(&j, "exit_code", exit_code(r));
	json_checks(&j, r);
	json_u64(&j, "tag", t->tag);
	json_platform(&j, t);
	json_realm(&j, t);
	json_object_end(&j);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int slurp(const char *file, uint8_t *buf, size_t size, size_t *len, struct err *e)
{
	bool in = !strcmp(file, "-");
	const char *shown = in ? "standard input" : file;
	int fd = in ? STDIN_FILENO : path_open(file, O_RDONLY, 0);
	int ret = 0;

	*len = 0;
	if (fd < 0)
		return err_set(e, -errno, "token %.200s: %s", shown, strerror(errno));
	while (*len < size) {
		ssize_t n = read(fd, buf + *len, size - *len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			ret = err_set(e, -errno, "token %.200s: %s", shown, strerror(errno));
		if (n <= 0)
			break;
		*len += n;
	}
	if (!in)
		close(fd);
	return ret;
}

static int show(const struct token_options *o, struct err *e)
{
	struct result r[NR_CHECKS] = { 0 };
	uint8_t *buf = malloc(TOKEN_FILE_MAX + 1);	/* one more: to see that it is too long */
	struct token t;
	size_t len;
	int ret;

	if (!buf)
		return err_set(e, -ENOMEM, "no memory for a token");
	ret = slurp(o->file, buf, TOKEN_FILE_MAX + 1, &len, e);
	if (ret < 0)
		goto out;
	ret = token_read(&t, buf, len, e);
	if (ret < 0) {
		err_prefix(e, "%.200s", o->file);
		goto out;
	}
	ret = check(&t, o, r, e);
	if (ret < 0)
		goto out;
	if (o->json) {
		print_json(&t, r);
	} else {
		print_platform(&t);
		print_realm(&t);
		print_checks(&t, r);
	}
	ret = cmd_flush(e);
	if (!ret)
		ret = exit_code(r);
out:
	free(buf);
	return ret;
}

int cmd_token(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct token_options o = { 0 };
	struct opt_state st = { { 0 } };
	int ret;

	ret = opt_parse(&token_table, &st, &o, argc, argv, e);
	if (!ret && o.help)
		ret = cmd_help_token(cx, false, e);
	else if (!ret && !o.file)
		ret = err_set(e, -EINVAL, "token needs a file, or - for the standard input");
	else if (!ret)
		ret = show(&o, e);
	free(o.file);
	free(o.expect_rim);
	free(o.challenge);
	free(o.platform_key);
	return ret;
}
