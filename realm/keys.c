// SPDX-License-Identifier: BSD-3-Clause
/*
 * The low-level EC calls of libcrypto. What lies under them (random numbers, PEM) would read
 * libcrypto's configuration file when it is used first: here nothing of the host but the keys is
 * read.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "realm/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/core/err.h"
#include "vmm/core/path.h"

#ifdef HAVE_CRYPTO
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

/* #syscalls main,vcpu?realm: read pread64 */

#define PEM_MAX		16384	/* a key has less than 1 KiB */

struct key {
	EC_KEY *ec;
};
#endif

size_t key_coord_len(enum key_curve c)
{
	return c == KEY_P256 ? 32 : c == KEY_P384 ? 48 : 66;
}

#ifdef HAVE_CRYPTO

static const int nids[] = {
	[KEY_P256] = NID_X9_62_prime256v1,
	[KEY_P384] = NID_secp384r1,
	[KEY_P521] = NID_secp521r1,
};

static void library(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

static int key_new(EC_KEY *ec, struct key **k, struct err *e)
{
	*k = malloc(sizeof(**k));
	if (!*k) {
		EC_KEY_free(ec);
		return err_set(e, -ENOMEM, "no memory for a key");
	}
	(*k)->ec = ec;
	return 0;
}

int key_make(struct key **k, struct err *e)
{
	EC_KEY *ec;

	library();
	ec = EC_KEY_new_by_curve_name(NID_secp384r1);
	if (!ec || EC_KEY_generate_key(ec) != 1) {
		EC_KEY_free(ec);
		return err_set(e, -EIO, "libcrypto cannot make a P-384 key");
	}
	return key_new(ec, k, e);
}

void key_free(struct key *k)
{
	if (!k)
		return;
	EC_KEY_free(k->ec);
	free(k);
}

/* The point of a key on a curve we know. */
static int point_of(const EC_KEY *ec, struct key_pub *pub)
{
	int nid = EC_GROUP_get_curve_name(EC_KEY_get0_group(ec));
	size_t len;

	for (pub->curve = KEY_P256; pub->curve <= KEY_P521; pub->curve++) {
		if (nids[pub->curve] != nid)
			continue;
		len = 1 + 2 * key_coord_len(pub->curve);
		pub->len = EC_POINT_point2oct(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec),
					      POINT_CONVERSION_UNCOMPRESSED, pub->point, len, NULL);
		return pub->len == len ? 0 : -EINVAL;
	}
	return -EINVAL;
}

void key_public(const struct key *k, struct key_pub *pub)
{
	memset(pub, 0, sizeof(*pub));
	point_of(k->ec, pub);
}

int key_sign(const struct key *k, const uint8_t *digest, uint8_t *sig)
{
	const BIGNUM *r, *s;
	ECDSA_SIG *es;
	bool ok;

	library();
	es = ECDSA_do_sign(digest, 48, k->ec);
	if (!es)
		return -EIO;
	ECDSA_SIG_get0(es, &r, &s);
	ok = BN_bn2binpad(r, sig, 48) == 48 && BN_bn2binpad(s, sig + 48, 48) == 48;
	ECDSA_SIG_free(es);
	return ok ? 0 : -EIO;
}

int key_verify(const struct key_pub *pub, const uint8_t *digest, size_t dlen, const uint8_t *sig,
	       size_t slen)
{
	size_t n = key_coord_len(pub->curve);
	ECDSA_SIG *es = NULL;
	BIGNUM *r, *s;
	EC_KEY *ec;
	int ret = -EBADMSG;

	library();
	if (pub->len != 1 + 2 * n || pub->point[0] != POINT_CONVERSION_UNCOMPRESSED)
		return -EINVAL;
	if (slen != 2 * n)
		return -EBADMSG;
	ec = EC_KEY_new_by_curve_name(nids[pub->curve]);
	if (!ec || EC_KEY_oct2key(ec, pub->point, pub->len, NULL) != 1) {
		EC_KEY_free(ec);
		return ec ? -EINVAL : -EIO;
	}
	es = ECDSA_SIG_new();
	r = BN_bin2bn(sig, n, NULL);
	s = BN_bin2bn(sig + n, n, NULL);
	if (!es || !r || !s) {
		BN_free(r);
		BN_free(s);
		ret = -EIO;
	} else {
		ECDSA_SIG_set0(es, r, s);	/* now theirs */
		if (ECDSA_do_verify(digest, dlen, es, ec) == 1)
			ret = 0;
	}
	ECDSA_SIG_free(es);
	EC_KEY_free(ec);
	return ret;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Never asks the terminal: an encrypted key is refused. */
static int no_password(char *buf, int size, int rw, void *arg)
{
	(void)buf;
	(void)size;
	(void)rw;
	(void)arg;
	return -1;
}

/* The EC key of a PEM text, private or (if allowed) public. */
static EC_KEY *parse_pem(const char *text, size_t len, bool public_too)
{
	EVP_PKEY *pkey = NULL;
	EC_KEY *ec = NULL;
	BIO *bio;

	library();
	for (int pub = 0; pub < 2 && !pkey; pub++) {
		if (pub && !public_too)
			break;
		bio = BIO_new_mem_buf(text, len);
		if (!bio)
			return NULL;
		pkey = pub ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL) :
			     PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
		BIO_free(bio);
	}
	if (pkey)
		ec = EVP_PKEY_get1_EC_KEY(pkey);
	EVP_PKEY_free(pkey);
	return ec;
}

/* Return: 0; -ENOENT as it is, all other errors with @e filled. */
static int read_pem(const char *path, bool public_too, EC_KEY **ec, struct err *e)
{
	struct key_pub pub;
	char text[PEM_MAX];
	struct stat st;
	ssize_t n;
	int fd, ret;

	/* O_NONBLOCK: a FIFO must not keep us waiting */
	fd = path_open(path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, -errno, "key %s: %s", path, strerror(errno));
	n = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > PEM_MAX ? 0 :
		path_read(fd, text, sizeof(text), 0);
	close(fd);
	*ec = n > 0 ? parse_pem(text, n, public_too) : NULL;
	ret = *ec ? point_of(*ec, &pub) : -EINVAL;
	if (!ret && !public_too && pub.curve != KEY_P384)
		ret = -EINVAL;
	if (ret < 0) {
		EC_KEY_free(*ec);
		*ec = NULL;
		return public_too ?
			err_set(e, ret, "key %s: this is no elliptic curve key (P-256, P-384 or P-521) "
				"in PEM", path) :
			err_set(e, ret, "key %s: this is no private P-384 key in PEM without a "
				"password; remove it and a new one is made", path);
	}
	return 0;
}

int key_pub_load(const char *path, struct key_pub *pub, struct err *e)
{
	EC_KEY *ec;
	int ret;

	memset(pub, 0, sizeof(*pub));
	ret = read_pem(path, true, &ec, e);
	if (ret < 0)
		return ret;
	ret = point_of(ec, pub);
	EC_KEY_free(ec);
	return ret;
}

/* PKCS #8, as "openssl genpkey" writes it. The text holds a key: the caller wipes it. */
static int print_pem(const struct key *k, char *text, size_t *len)
{
	BIO *bio = BIO_new(BIO_s_mem());
	EVP_PKEY *pkey = EVP_PKEY_new();
	int ret = -EIO, n;

	if (bio && pkey && EVP_PKEY_set1_EC_KEY(pkey, k->ec) == 1 &&
	    PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1) {
		n = BIO_read(bio, text, PEM_MAX);
		if (n > 0) {
			*len = n;
			ret = 0;
		}
	}
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	return ret;
}

/* Under another name first; link() takes the place only if nobody else has. */
static int write_new(const char *dir, const char *path, const char *text, size_t len,
		     struct err *e)
{
	char tmp[PATH_MAX];
	int fd, ret = 0;

	if (snprintf(tmp, sizeof(tmp), "%s/.key.XXXXXX", dir) >= (int)sizeof(tmp))
		return err_set(e, -ENAMETOOLONG, "key %s: the name is too long", path);
	fd = mkostemp(tmp, O_CLOEXEC);		/* mode 0600 */
	if (fd < 0)
		return err_set(e, -errno, "cannot make a key in %s: %s", dir, strerror(errno));
	errno = EIO;			/* what a short write means */
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) < 0)
		ret = -errno;
	if (close(fd) < 0 && !ret)
		ret = -errno;
	if (!ret && link(tmp, path) < 0)
		ret = -errno;
	unlink(tmp);
	return ret < 0 && ret != -EEXIST ?
		err_set(e, ret, "cannot write the key %s: %s", path, strerror(-ret)) : ret;
}

int key_open(const char *dir, const char *name, struct key **k, struct err *e)
{
	char path[PATH_MAX], text[PEM_MAX];
	struct key *mine = NULL;
	EC_KEY *ec;
	size_t len;
	int ret;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return err_set(e, -ENAMETOOLONG, "the name of the key folder %.80s... is too long", dir);
	ret = read_pem(path, false, &ec, e);
	if (ret != -ENOENT)
		return ret < 0 ? ret : key_new(ec, k, e);

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "cannot make the key folder %s: %s", dir, strerror(errno));
	ret = key_make(&mine, e);
	if (ret < 0)
		return ret;
	ret = print_pem(mine, text, &len);
	if (ret < 0)
		err_set(e, ret, "key %s: libcrypto cannot write it as PEM", path);
	else
		ret = write_new(dir, path, text, len, e);
	OPENSSL_cleanse(text, sizeof(text));
	if (!ret) {
		*k = mine;
		return 0;
	}
	key_free(mine);
	if (ret != -EEXIST)
		return ret;
	/* somebody was faster: the key is theirs */
	ret = read_pem(path, false, &ec, e);
	return ret < 0 ? ret : key_new(ec, k, e);
}

#else /* !HAVE_CRYPTO */

static int no_crypto(struct err *e)
{
	return err_set(e, -ENOSYS, "this realmtool was built without libcrypto: it has no keys");
}

int key_make(struct key **k, struct err *e)
{
	(void)k;
	return no_crypto(e);
}

int key_open(const char *dir, const char *name, struct key **k, struct err *e)
{
	(void)dir;
	(void)name;
	(void)k;
	return no_crypto(e);
}

void key_free(struct key *k)
{
	(void)k;
}

void key_public(const struct key *k, struct key_pub *pub)
{
	(void)k;
	memset(pub, 0, sizeof(*pub));
}

int key_sign(const struct key *k, const uint8_t *digest, uint8_t *sig)
{
	(void)k;
	(void)digest;
	(void)sig;
	return -ENOSYS;
}

int key_verify(const struct key_pub *pub, const uint8_t *digest, size_t dlen, const uint8_t *sig,
	       size_t slen)
{
	(void)pub;
	(void)digest;
	(void)dlen;
	(void)sig;
	(void)slen;
	return -ENOSYS;
}

int key_pub_load(const char *path, struct key_pub *pub, struct err *e)
{
	(void)path;
	(void)pub;
	return no_crypto(e);
}

#endif
