// SPDX-License-Identifier: BSD-3-Clause
#include "realm/attest.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/path.h"

#define VCPUS_MAX	512	/* KVM_MAX_VCPUS of arm64 */
#define REALM_KEY	"realm.pem"
#define PLATFORM_KEY	"platform.pem"

struct attest {
	enum token_form form;
	uint8_t instance[TOKEN_ID];
	struct key *realm, *platform;		/* NULL: not needed so far */
	struct rsi_rec rec[VCPUS_MAX];
};

static int load_keys(struct attest *a, const char *dir, struct err *e)
{
	int ret = key_open(dir, REALM_KEY, &a->realm, e);

	if (!ret)
		ret = key_open(dir, PLATFORM_KEY, &a->platform, e);
	if (ret < 0) {
		key_free(a->realm);
		a->realm = NULL;
	}
	return ret;
}

/* The user's folder of state (XDG base directories). */
static int state_path(char path[PATH_MAX], struct err *e)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n = -1;

	/* what is no absolute path does not count */
	if (state && *state == '/')
		n = snprintf(path, PATH_MAX, "%s/realmtool/emulated-keys", state);
	else if (home && *home == '/')
		n = snprintf(path, PATH_MAX, "%s/.local/state/realmtool/emulated-keys", home);
	if (n < 0 || n >= PATH_MAX)
		return err_set(e, -ENOENT, "there is no HOME to keep keys in");
	return 0;
}

/* Made as far as it is not there. */
static int make_parents(char path[PATH_MAX], struct err *e)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return err_set(e, -errno, "cannot make the folder %s: %s", path,
				       strerror(errno));
		*slash = '/';
	}
	return 0;
}

static bool there(const char *dir)
{
	char path[ATTEST_KEYS][PATH_MAX];
	struct stat st;

	return !attest_key_paths(dir, path) && !path_stat(path[0], &st) &&
	       !path_stat(path[1], &st);
}

/* Keys of one's own are worth keeping: a verifier that was told them knows them tomorrow. */
static int find_keys(struct attest *a, struct err *e)
{
	char path[PATH_MAX];
	int ret;

	ret = state_path(path, e);
	/* where they are, nothing is made: a path may lead nowhere by now (vmm/core/path.h) */
	if (!ret && !there(path))
		ret = errno == ENOENT ? make_parents(path, e) :
		      err_set(e, -errno, "keys in %s: %s", path, strerror(errno));
	if (!ret)
		ret = load_keys(a, path, e);
	if (!ret) {
		log_info("the tokens of this emulated realm are signed with the test keys in %s", path);
		return 0;
	}
	if (ret == -ENOSYS)
		return ret;
	log_warning("%s; the keys of this realm's tokens end with it (--emulated-keys names a folder)",
		    e ? e->msg : strerror(-ret));
	ret = key_make(&a->realm, e);
	if (!ret)
		ret = key_make(&a->platform, e);
	return ret;
}

int attest_key_paths(const char *dir, char path[ATTEST_KEYS][PATH_MAX])
{
	static const char *const names[ATTEST_KEYS] = { REALM_KEY, PLATFORM_KEY };
	char own[PATH_MAX];
	int ret = dir ? 0 : state_path(own, NULL);

	for (unsigned int i = 0; i < ATTEST_KEYS && !ret; i++)
		if (snprintf(path[i], PATH_MAX, "%s/%s", dir ? dir : own, names[i]) >= PATH_MAX)
			ret = -ENAMETOOLONG;
	return ret;
}

int attest_make_keys(const char *dir, struct err *e)
{
	struct attest a = { 0 };
	char own[PATH_MAX];
	int ret = dir ? 0 : state_path(own, e);

	if (!ret && !dir)
		ret = make_parents(own, e);
	if (!ret)
		ret = load_keys(&a, dir ? dir : own, e);
	key_free(a.realm);
	key_free(a.platform);
	return ret;
}

int attest_open(const char *dir, enum token_form form, struct attest **out, struct err *e)
{
	struct attest *a = calloc(1, sizeof(*a));
	int ret = 0;

	if (!a)
		return err_set(e, -ENOMEM, "no memory for attestation");
	a->form = form;
	a->instance[0] = 1;	/* a UEID of random bytes */
	if (getrandom(a->instance + 1, TOKEN_ID - 1, 0) != TOKEN_ID - 1)
		ret = err_set(e, -errno, "no random bytes: %s", strerror(errno));
	else if (dir)
		ret = load_keys(a, dir, e);
	if (ret < 0) {
		attest_close(a);
		return ret;
	}
	*out = a;
	return 0;
}

void attest_close(struct attest *a)
{
	if (!a)
		return;
	for (unsigned int i = 0; i < VCPUS_MAX; i++)
		rsi_rec_reset(&a->rec[i]);
	key_free(a->realm);
	key_free(a->platform);
	free(a);
}

struct rsi_rec *attest_rec(struct attest *a, unsigned int vcpu)
{
	return vcpu < VCPUS_MAX ? &a->rec[vcpu] : NULL;
}

int attest_token(struct attest *a, struct token_request *rq, uint8_t *token, size_t *len,
		 struct err *e)
{
	int ret;

	if (!a->platform) {
		ret = find_keys(a, e);
		if (ret < 0)
			return ret;
	}
	rq->form = a->form;
	memcpy(rq->instance, a->instance, sizeof(rq->instance));
	return token_make(rq, a->realm, a->platform, token, len, e);
}
