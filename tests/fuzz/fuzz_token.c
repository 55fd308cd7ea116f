// SPDX-License-Identifier: BSD-3-Clause
/*
 * The reader of attestation tokens. What it names lies in the input; an error is one line; a token
 * that was made is read as it was meant, and not believed any more with a byte changed.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "realm/keys.h"
#include "realm/token.h"
#include "vmm/core/err.h"

static void inside(const struct token_blob *b, const uint8_t *data, size_t size)
{
	if (b->p && (b->p < data || b->len > size || b->p > data + size - b->len))
		abort();
}

static void look(const uint8_t *data, size_t size)
{
	struct token t;
	struct err e = { 0 };
	unsigned int i;

	if (token_read(&t, data, size, &e) < 0) {
		ERROR_IS_A_LINE(e);
		return;
	}
	inside(&t.platform.profile, data, size);
	inside(&t.platform.part.payload, data, size);
	inside(&t.realm.part.sig, data, size);
	inside(&t.realm.rim, data, size);
	for (i = 0; i < TOKEN_NR_REMS; i++)
		inside(&t.realm.rem[i], data, size);
	for (i = 0; i < t.platform.nr_components; i++)
		inside(&t.platform.component[i].type, data, size);
	token_check_realm(&t, &e);
	token_check_binding(&t, &e);
	token_check_platform(&t, &t.rak, &e);
	token_is_rehearsal(&t);
	token_lifecycle(t.platform.lifecycle);
}

/* ---- tokens that are well made, and then damaged --------------------------------------------- */

static bool is_in(const struct token_blob *b, const uint8_t *p)
{
	return p >= b->p && p < b->p + b->len;
}

/* One that says what the input wants, read again; then with a byte that differs. */
static void make(struct input *in)
{
	static struct key *realm, *platform;
	uint8_t buf[TOKEN_MAX], how = in_u8(in), flip;
	struct token_request rq = { .form = how & 1, .algo = (how >> 1) % 3, .instance = { 1 } };
	unsigned int n = realm_hash_len(rq.algo);
	struct key_pub pub;
	struct err e = { 0 };
	struct token t;
	size_t len, at;

	if (!realm && (key_make(&realm, &e) < 0 || key_make(&platform, &e) < 0))
		return;		/* built without libcrypto */
	in_bytes(in, rq.challenge, sizeof(rq.challenge));
	in_bytes(in, rq.rpv, sizeof(rq.rpv));
	in_bytes(in, rq.rim, n);
	in_bytes(in, rq.rem, sizeof(rq.rem));
	if (token_make(&rq, realm, platform, buf, &len, &e) == -ENOSYS)
		return;
	key_public(platform, &pub);
	PROPERTY(!token_read(&t, buf, len, &e));
	PROPERTY(t.realm.challenge.len == sizeof(rq.challenge) &&
		 !memcmp(t.realm.challenge.p, rq.challenge, sizeof(rq.challenge)));
	PROPERTY(t.realm.rim.len == n && !memcmp(t.realm.rim.p, rq.rim, n));
	for (unsigned int i = 0; i < TOKEN_NR_REMS; i++)
		PROPERTY(t.realm.rem[i].len == n && !memcmp(t.realm.rem[i].p, rq.rem[i], n));
	PROPERTY(token_is_rehearsal(&t) && !token_check_realm(&t, &e) &&
		 !token_check_binding(&t, &e) && !token_check_platform(&t, &pub, &e));

	at = in_u16(in) % len;
	flip = in_u8(in) | 1;
	buf[at] ^= flip;
	if (token_read(&t, buf, len, &e) < 0)
		return;
	if (is_in(&t.realm.part.payload, buf + at))
		PROPERTY(token_check_realm(&t, &e) < 0);
	if (is_in(&t.platform.part.payload, buf + at))
		PROPERTY(token_check_platform(&t, &pub, &e) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	look(data, size);
	/* no token begins with this */
	if (in_u8(&in) == 0xff)
		make(&in);
	return 0;
}

/* Tokens as an emulated realm makes them, of each kind. */
void fuzz_seeds(void)
{
	struct key *realm, *platform;
	uint8_t buf[TOKEN_MAX];
	struct err e;
	char name[32];
	size_t len;

	fuzz_seed("made", "\xff\x03", 2);
	if (key_make(&realm, &e) < 0 || key_make(&platform, &e) < 0)
		return;		/* built without libcrypto */
	for (int form = TOKEN_RMM_1_0; form <= TOKEN_RMM_2_0; form++)
		for (int algo = REALM_SHA256; algo <= REALM_SHA384; algo++) {
			struct token_request rq = {
				.form = form, .algo = algo, .challenge = "challenge", .instance = { 1 },
			};

			if (token_make(&rq, realm, platform, buf, &len, &e) < 0)
				continue;
			snprintf(name, sizeof(name), "form%d-%d", form, algo);
			fuzz_seed(name, buf, len);
		}
	key_free(realm);
	key_free(platform);
}
