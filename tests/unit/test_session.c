// SPDX-License-Identifier: BSD-3-Clause
/* A whole run on the model of KVM: from the user's files to the exit code. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "realm/rim.h"
#include "tests/fakekvm/harness.h"
#include "tests/unit/mkimage.h"
#include "realm/measure.h"
#include "vmm/session.h"

#define SHARED	(UINT64_C(1) << 32)

static struct vm_config cfg;
static struct err e;
static char out[4096];		/* what came out of stdout */
static const char *logged;

static int setup(void **state)
{
	struct blob kernel = mk_flat(10000);

	(void)state;
	fake_reset(&fake_linux_7_3);
	config_defaults(&cfg);
	cfg.cpus = 1;
	cfg.mem = 64 * SZ_1M;
	cfg.kernel = (char *)mk_file(kernel);
	blob_free(&kernel);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	capture_end();
	mk_file_cleanup();
	return 0;
}

/* Run with @in as stdin (-1: closed); stdout is a file. Nothing may be left behind. */
static int run_with(int in)
{
	int save_in = dup(STDIN_FILENO), save_out = dup(STDOUT_FILENO);
	int file = memfd_create("stdout", MFD_CLOEXEC), ret;
	sigset_t before, after;
	unsigned int fds, fds_after;
	ssize_t n;

	memset(&e, 0, sizeof(e));
	fflush(stdout);
	dup2(file, STDOUT_FILENO);
	if (in >= 0)
		dup2(in, STDIN_FILENO);
	else
		close(STDIN_FILENO);
	assert_int_equal(term_reserve_stdio(), 0);
	sigprocmask(SIG_SETMASK, NULL, &before);
	capture_begin();
	fds = open_fds();
	ret = session_run(&cfg, &fake_sys, &e);
	fds_after = open_fds();
	logged = capture_end();
	sigprocmask(SIG_SETMASK, NULL, &after);
	n = pread(file, out, sizeof(out) - 1, 0);
	out[n > 0 ? n : 0] = '\0';
	dup2(save_in, STDIN_FILENO);
	dup2(save_out, STDOUT_FILENO);
	close(save_in);
	close(save_out);
	close(file);
	assert_int_equal(fds_after, fds);
	for (int sig = 1; sig < SIGRTMAX; sig++)
		assert_int_equal(sigismember(&after, sig), sigismember(&before, sig));
	assert_null(fake_verdict());
	if (ret < 0) {
		assert_int_equal(ret, e.code);
		assert_true(strlen(e.msg) > 10);
	}
	return ret;
}

static int run(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), ret = run_with(null);

	close(null);
	return ret;
}

/* ---- guests ---------------------------------------------------------------------------------- */

static ipa_t uart(void)
{
	return MAP_UART_BASE | (cfg.mode == MODE_EMULATED ? SHARED : 0);
}

static void say(struct fake_cpu *c, const char *text)
{
	for (; *text; text++)
		fake_write(c, uart(), (unsigned char)*text, 1);
}

static void hello(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	say(c, "hello\n");
	fake_poweroff(c);
}

static void poweroff(void **state)
{
	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		cfg.mode = mode;
		fake_reset(&fake_linux_7_3);
		fake_set_guest(0, hello, NULL);
		assert_int_equal(run(), 0);
		assert_string_equal(out, "hello\n");
		assert_int_equal(fake_boots(), 1);
		/* a realm that protects nothing says so */
		assert_int_equal(strstr(logged, "NOTHING IS PROTECTED") != NULL, mode);
	}
}

static void lkvm_end(void **state)
{
	(void)state;
	cfg.lkvm = true;
	fake_set_guest(0, hello, NULL);
	log_set_level(LOG_INFO);
	assert_int_equal(run(), 0);
	log_set_level(LOG_WARNING);
	assert_non_null(strstr(logged, "KVM session ended normally."));
}

/* ---- resets ---------------------------------------------------------------------------------- */

/* Each boot finds its memory as the first one did, says something, and leaves a mark. */
static void talks(struct fake_cpu *c, void *ctx)
{
	ipa_t mark = MAP_RAM_BASE + 40 * SZ_1M;
	char text[2] = { '0' + fake_boot(c), 0 };

	(void)ctx;
	fake_expect_eq(fake_read(c, mark, 8), 0);
	fake_write(c, mark, 1, 8);
	fake_expect_eq(fake_read(c, fake_reg(c, A64_X(0)), 4), 0xedfe0dd0);
	say(c, text);
	if (fake_boot(c) == 6)
		fake_poweroff(c);
	fake_system_reset(c);
}

static void reset(void **state)
{
	(void)state;
	for (enum realm_mode mode = MODE_PLAIN; mode <= MODE_EMULATED; mode++) {
		cfg.mode = mode;
		fake_reset(&fake_linux_7_3);
		fake_set_guest(0, talks, NULL);
		assert_int_equal(run(), 0);
		assert_string_equal(out, "123456");
		assert_int_equal(fake_boots(), 6);
	}
}

static void silent(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_system_reset(c);
}

static void silent_resets(void **state)
{
	(void)state;
	fake_set_guest(0, silent, NULL);
	assert_int_equal(run(), -ELOOP);
	assert_int_equal(fake_boots(), 3);
	assert_non_null(strstr(e.msg, "reset itself 3 times"));
	assert_non_null(strstr(e.msg, "--no-reboot"));
}

/* Silent twice, a word, silent twice, a word: that is a guest that lives. */
static void murmurs(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	if (fake_boot(c) % 3 == 0)
		say(c, ".");
	if (fake_boot(c) == 9)
		fake_poweroff(c);
	fake_system_reset(c);
}

static void not_silent(void **state)
{
	(void)state;
	fake_set_guest(0, murmurs, NULL);
	assert_int_equal(run(), 0);
	assert_int_equal(fake_boots(), 9);
	assert_string_equal(out, "...");
}

static void no_reboot(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		fake_reset(&fake_linux_7_3);
		fake_set_guest(0, silent, NULL);
		cfg.no_reboot = i == 0;
		cfg.lkvm = i == 1;
		assert_int_equal(run(), 0);
		assert_int_equal(fake_boots(), 1);
	}
}

/* The files of the first boot serve all of them, even if the user has removed them meanwhile. */
static void removes(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	if (fake_boot(c) == 1)
		fake_expect_eq(unlink(cfg.kernel), 0);
	say(c, "x");
	if (fake_boot(c) == 2)
		fake_poweroff(c);
	fake_system_reset(c);
}

static void file_gone(void **state)
{
	(void)state;
	fake_set_guest(0, removes, NULL);
	assert_int_equal(run(), 0);
	assert_string_equal(out, "xx");
}

/* The second machine cannot be built. */
static void breaks(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	say(c, "x");
	fake_fail_ioctl(KVM_CREATE_VM, 1, ENOMEM);
	fake_system_reset(c);
}

static void second_fails(void **state)
{
	(void)state;
	fake_set_guest(0, breaks, NULL);
	assert_int_equal(run(), -ENOMEM);
	assert_non_null(strstr(e.msg, "KVM_CREATE_VM"));
}

/* ---- signals --------------------------------------------------------------------------------- */

static void signals_itself(struct fake_cpu *c, void *ctx)
{
	_Atomic bool never = false;

	say(c, "up");
	kill(getpid(), *(int *)ctx);
	fake_run_until(c, &never);
}

static void signals(void **state)
{
	static int sig[] = { SIGTERM, SIGINT, SIGHUP };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(sig); i++) {
		fake_reset(&fake_linux_7_3);
		fake_set_guest(0, signals_itself, &sig[i]);
		assert_int_equal(run(), 128 + sig[i]);
		assert_string_equal(out, "up");
	}
}

/* A signal while the guest resets: the end all the same, whichever comes first. */
static void signal_and_reset(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	say(c, "x");
	if (fake_boot(c) == 3)
		kill(getpid(), SIGTERM);
	fake_system_reset(c);
}

static void signal_at_reset(void **state)
{
	(void)state;
	fake_set_guest(0, signal_and_reset, NULL);
	assert_int_equal(run(), 143);
	assert_true(fake_boots() >= 3);
}

/* ---- stdin ----------------------------------------------------------------------------------- */

static void reads_three(struct fake_cpu *c, void *ctx)
{
	char text[2] = { 0 };

	(void)ctx;
	for (int i = 0; i < 3; i++) {
		while (!(fake_read(c, uart() + 5, 1) & 1))
			;
		text[0] = fake_read(c, uart(), 1) + 1;
		say(c, text);
	}
	fake_poweroff(c);
}

static void stdin_pipe(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "abc", 3), 3);
	close(p[1]);
	fake_set_guest(0, reads_three, NULL);
	assert_int_equal(run_with(p[0]), 0);
	close(p[0]);
	assert_string_equal(out, "bcd");
}

static void stdin_file(void **state)
{
	int file = memfd_create("stdin", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(pwrite(file, "xyz", 3, 0), 3);
	cfg.mode = MODE_EMULATED;
	fake_set_guest(0, reads_three, NULL);
	assert_int_equal(run_with(file), 0);
	close(file);
	assert_string_equal(out, "yz{");
}

static void stdin_closed(void **state)
{
	(void)state;
	fake_set_guest(0, hello, NULL);
	assert_int_equal(run_with(-1), 0);
	assert_string_equal(out, "hello\n");
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void dies(struct fake_cpu *c, void *ctx)
{
	const uint64_t why = 7;

	(void)ctx;
	fake_exit(c, KVM_EXIT_INTERNAL_ERROR, &why, 1);
}

static void dead(void **state)
{
	(void)state;
	fake_set_guest(0, dies, NULL);
	assert_true(run() < 0);
	assert_non_null(strstr(e.msg, "KVM internal error 7"));
	assert_non_null(strstr(logged, " pc="));
}

static void refused(int code, const char *word)
{
	fake_reset(&fake_linux_7_3);
	assert_int_equal(run(), code);
	if (!strstr(e.msg, word))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, word);
	assert_int_equal(fake_boots(), 0);
}

static void bad_files(void **state)
{
	struct blob tiny = mk_flat(100), fine = mk_flat(SZ_1M);
	struct flock lock = { .l_type = F_WRLCK };
	int fd;

	(void)state;
	cfg.nr_disks = 1;
	cfg.disk[0].path = (char *)"/nonexistent/disk";
	refused(-ENOENT, "disk /nonexistent/disk");
	cfg.disk[0].path = (char *)"/";
	refused(-EISDIR, "is a directory");
	cfg.disk[0].path = (char *)"/dev/null";
	refused(-ENOTBLK, "neither a file nor a block device");
	cfg.disk[0].path = (char *)mk_file(tiny);
	blob_free(&tiny);
	refused(-EINVAL, "less than one sector");
	cfg.disk[0].path = (char *)mk_file(fine);
	blob_free(&fine);
	fd = open(cfg.disk[0].path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	refused(-EBUSY, "is locked");
	cfg.disk[0].readonly = true;
	refused(-EBUSY, "is locked");
	close(fd);
	/* twice on one command line is the same thing */
	cfg.disk[0].readonly = false;
	cfg.disk[1] = cfg.disk[0];
	cfg.nr_disks = 2;
	refused(-EBUSY, "is locked");
	/* two readers get along */
	cfg.disk[0].readonly = cfg.disk[1].readonly = true;
	fake_reset(&fake_linux_7_3);
	fake_set_guest(0, hello, NULL);
	assert_int_equal(run(), 0);
	cfg.nr_disks = 0;
	cfg.kernel = (char *)"/nonexistent/Image";
	refused(-ENOENT, "Unable to open kernel /nonexistent/Image");
	cfg.kernel = NULL;
	refused(-EINVAL, "No kernel");
}

static void no_kvm_realm(void **state)
{
	(void)state;
	cfg.mode = MODE_KVM;
	assert_int_equal(run(), -EOPNOTSUPP);
	assert_non_null(strstr(e.msg, "this kernel offers no realms"));
	assert_non_null(strstr(e.msg, "`realmtool check` tells why"));
	assert_non_null(strstr(e.msg, "--realm=emulated rehearses without protection"));
	/* the VM types that were tried are all gone, and nothing took their place */
	assert_int_equal(fake_boots(), 0);
}

static void no_device(void **state)
{
	(void)state;
	fake_host.open_error = ENOENT;
	assert_int_equal(run(), -ENOENT);
	assert_non_null(strstr(e.msg, "/dev/kvm is missing"));
}

#ifndef __aarch64__
static void not_arm64(void **state)
{
	(void)state;
	capture_begin();
	assert_int_equal(session_run(&cfg, NULL, &e), -ENOSYS);
	capture_end();
	assert_non_null(strstr(e.msg, "test bed"));
	assert_int_equal(fake_calls(), 0);
}
#endif

/* Each call of the whole run fails once: an error with a text, or a run that ends well. */
static void each_call_fails(void **state)
{
	unsigned int calls;

	(void)state;
	cfg.mode = MODE_EMULATED;
	cfg.rng = true;
	fake_set_guest(0, talks, NULL);
	assert_int_equal(run(), 0);
	calls = fake_calls();
	assert_true(calls > 300);
	/* all of the first boot, and samples of those after it */
	for (unsigned int n = 1; n <= calls; n += n < calls / 6 ? 1 : 13) {
		const char *call;
		int ret;

		fake_reset(&fake_linux_7_3);
		fake_set_guest(0, talks, NULL);
		fake_fail_nth(n, EIO);
		ret = run();
		call = fake_failed();
		assert_non_null(call);
		if (ret > 0)
			fail_msg("call %u (%s): exit code %d", n, call, ret);
	}
}

/* ---- what the guest is told ------------------------------------------------------------------ */

static uint8_t rim[REALM_HASH_MAX];

static void asks(struct fake_cpu *c, void *ctx)
{
	uint64_t x[18] = { RSI_MEASUREMENT_READ, 0 };

	(void)ctx;
	fake_smc(c, x);
	fake_expect_eq(x[0], RSI_SUCCESS);
	memcpy(rim, &x[1], sizeof(rim));
	fake_poweroff(c);
}

/* The measurement that the guest reads is the one that the same options predict. */
static void measurement(void **state)
{
	struct loader_files files = {
		.kernel = -1, .initrd = -1, .firmware = -1, .dtb = -1, .kernel_path = cfg.kernel,
	};
	struct measurement m;
	struct rim_params p;
	struct layout l;

	(void)state;
	cfg.mode = MODE_EMULATED;
	cfg.params = (char *)"quiet";
	assert_int_equal(loader_open(&files, &e), 0);
	assert_int_equal(layout_make(&cfg, &files, 0, &l, &e), 0);
	layout_rim_params(&cfg, &l, &p);
	if (measure_plan(&l.load.plan, &p, &m, &e) == -ENOSYS)
		skip();
	layout_free(&l);
	loader_close(&files);
	fake_set_guest(0, asks, NULL);
	assert_int_equal(run(), 0);
	assert_memory_equal(rim, m.rim.value, sizeof(rim));
}

/* A launch that measures something else than expected is none: KVM is not even opened. */
static void expected_rim(void **state)
{
	char hex[2 * sizeof(rim) + 1];

	(void)state;
	cfg.mode = MODE_EMULATED;
	fake_set_guest(0, asks, NULL);
	memset(rim, 0, sizeof(rim));
	assert_int_equal(run(), 0);
	if (!rim[0] && !rim[1])
		skip();		/* built without libcrypto */
	for (size_t i = 0; i < sizeof(rim); i++)
		sprintf(hex + 2 * i, "%02x", rim[i]);
	cfg.expect_rim = hex;
	log_set_level(LOG_INFO);
	assert_int_equal(run(), 0);
	log_set_level(LOG_WARNING);
	hex[64] = '\0';
	assert_non_null(strstr(logged, "predicted RIM (dialect tf-rmm, sha-256): "));
	assert_non_null(strstr(logged, hex));
	assert_int_equal(fake_boots(), 2);

	fake_reset(&fake_linux_7_3);
	cfg.params = (char *)"another";
	assert_int_equal(run(), -EKEYREJECTED);
	assert_non_null(strstr(e.msg, "--expect-rim"));
	assert_int_equal(fake_calls(), 0);
	cfg.expect_rim = (char *)"hello";
	assert_int_equal(run(), -EINVAL);
	assert_int_equal(fake_calls(), 0);
	/* a plain VM has no measurement; options.c warns of such options */
	cfg.mode = MODE_PLAIN;
	fake_set_guest(0, hello, NULL);
	assert_int_equal(run(), 0);
	assert_null(strstr(logged, "RIM"));
}

/* --dump-dtb writes what stands in the guest's memory. */
static uint8_t seen[MAP_DTB_SIZE];

static void looks(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect(fake_mem(fake_reg(c, A64_X(0)), seen, sizeof(seen)));
	fake_poweroff(c);
}

static void dump_dtb(void **state)
{
	uint8_t written[MAP_DTB_SIZE + 1];
	struct blob empty = mk_flat(16);
	int fd;

	(void)state;
	cfg.dump_dtb = (char *)mk_file(empty);
	blob_free(&empty);
	fake_set_guest(0, looks, NULL);
	assert_int_equal(run(), 0);
	fd = open(cfg.dump_dtb, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, written, sizeof(written)), MAP_DTB_SIZE);
	close(fd);
	assert_memory_equal(written, seen, MAP_DTB_SIZE);
	cfg.dump_dtb = (char *)"/nonexistent/dtb";
	refused(-ENOENT, "--dump-dtb /nonexistent/dtb");
}

/* ---- devices with an end on the host --------------------------------------------------------- */

/* Their files are in a folder of their own. Returns the one to go back to. */
static int go_away(char dir[])
{
	int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(back >= 0);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	return back;
}

static void go_back(int back, const char *dir)
{
	assert_int_equal(fchdir(back), 0);
	assert_int_equal(rmdir(dir), 0);
	close(back);
}

/* What was written before the reset is in the file; one that must not change has lost it. */
static void uses_pmem(struct fake_cpu *c, void *ctx)
{
	const ipa_t kept = 0xa0000000, dropped = 0xc0000000;	/* above RAM, each at 512 MiB */
	bool second = fake_boot(c) == 2;

	(void)ctx;
	say(c, ".");
	fake_expect_eq(fake_read(c, kept + 8, 4), second ? 0x1234 : 0);
	fake_expect_eq(fake_read(c, dropped + 8, 4), 0);
	fake_write(c, kept + 8, 0x1234, 4);
	fake_write(c, dropped + 8, 0x5678, 4);
	if (second)
		fake_poweroff(c);
	fake_system_reset(c);
}

static void pmem(void **state)
{
	char dir[] = "/tmp/session.XXXXXX";
	int fd, back = go_away(dir);
	uint32_t word[2];

	(void)state;
	cfg.nr_pmems = 2;
	for (unsigned int i = 0; i < 2; i++) {
		cfg.pmem[i].path = strdup("pmem.XXXXXX");
		fd = mkstemp(cfg.pmem[i].path);
		assert_int_equal(ftruncate(fd, SZ_2M), 0);
		close(fd);
	}
	cfg.pmem[1].readonly = true;
	cfg.mem = 512 * SZ_1M;
	fake_set_guest(0, uses_pmem, NULL);
	assert_int_equal(run(), 0);
	assert_int_equal(fake_boots(), 2);
	for (unsigned int i = 0; i < 2; i++) {
		fd = open(cfg.pmem[i].path, O_RDWR | O_CLOEXEC);
		assert_int_equal(pread(fd, &word[i], 4, 8), 4);
		assert_int_equal(ftruncate(fd, SZ_2M + 4096), 0);
		close(fd);
	}
	assert_int_equal(word[0], 0x1234);
	assert_int_equal(word[1], 0);
	refused(-EINVAL, "truncate -s 4M makes it one");
	cfg.ipa_bits = 32;
	assert_int_equal(truncate(cfg.pmem[0].path, 4 * SZ_1G), 0);
	assert_int_equal(truncate(cfg.pmem[1].path, SZ_2M), 0);
	fake_reset(&fake_linux_7_3);
	assert_int_equal(run(), -EINVAL);
	assert_non_null(strstr(e.msg, "use --ipa-bits 33"));
	cfg.ipa_bits = 0;
	for (unsigned int i = 0; i < 2; i++)
		unlink(cfg.pmem[i].path);
	refused(-ENOENT, "--pmem");
	for (unsigned int i = 0; i < 2; i++)
		free(cfg.pmem[i].path);
	go_back(back, dir);
}

static void sees_sockets(struct fake_cpu *c, void *ctx)
{
	(void)ctx;
	fake_expect_eq(access("port.sock", F_OK), 0);
	fake_expect_eq(access("v.sock", F_OK), 0);
	say(c, ".");
	if (fake_boot(c) == 3)
		fake_poweroff(c);
	fake_system_reset(c);
}

/* Sockets and ptys are there over resets, and gone in the end. */
static void sockets(void **state)
{
	char dir[] = "/tmp/session.XXXXXX";
	int back = go_away(dir);

	(void)state;
	cfg.balloon = true;
	cfg.nr_ports = 2;
	cfg.port[0] = (struct cfg_port){ "a", "port.sock" };
	cfg.port[1] = (struct cfg_port){ "b", NULL };
	cfg.vsock = (struct cfg_vsock){ 3, "v.sock" };
	for (int threads = -1; threads <= 1; threads++) {
		cfg.io_threads = threads;
		cfg.console = threads ? CONSOLE_SERIAL : CONSOLE_VIRTIO;
		fake_reset(&fake_linux_7_3);
		fake_set_guest(0, sees_sockets, NULL);
		assert_int_equal(run(), 0);
		assert_int_equal(access("port.sock", F_OK), -1);
		assert_int_equal(access("v.sock", F_OK), -1);
	}
	cfg.port[0].path = "/nonexistent/port";
	refused(-ENOENT, "cannot make the socket /nonexistent/port");
	go_back(back, dir);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(poweroff), T(lkvm_end), T(reset), T(silent_resets), T(not_silent), T(no_reboot),
		T(file_gone), T(second_fails), T(signals), T(signal_at_reset), T(stdin_pipe),
		T(stdin_file), T(stdin_closed), T(dead), T(bad_files), T(no_kvm_realm),
		T(no_device),
#ifndef __aarch64__
		T(not_arm64),
#endif
		T(each_call_fails), T(measurement), T(expected_rim), T(dump_dtb),
		T(pmem), T(sockets),
	};

	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
