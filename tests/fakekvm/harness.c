// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fakekvm/harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/mkimage.h"
#include "vmm/devices.h"

static size_t rig_out(void *ctx, unsigned int n, const void *buf, size_t len)
{
	struct rig *r = ctx;

	if (n)
		return len;
	pthread_mutex_lock(&r->lock);
	if (len > sizeof(r->out) - 1 - r->nr_out)
		len = sizeof(r->out) - 1 - r->nr_out;
	memcpy(r->out + r->nr_out, buf, len);
	r->nr_out += len;
	pthread_mutex_unlock(&r->lock);
	return len;
}

static void rig_room(void *ctx, unsigned int n)
{
	(void)ctx;
	(void)n;
}

static int rig_measure(void *ctx, uint8_t rim[REALM_HASH_MAX])
{
	(void)ctx;
	memset(rim, 0x5a, REALM_HASH_MAX);
	return 0;
}

void rig_init(struct rig *r, enum realm_mode mode)
{
	struct blob kernel = mk_flat(RIG_KERNEL_LEN);

	memset(r, 0, sizeof(*r));
	config_defaults(&r->cfg);
	r->cfg.cpus = 1;
	r->cfg.mem = RIG_MEM;
	r->cfg.mode = mode;
	r->cfg.kernel = strdup(mk_file(kernel));
	blob_free(&kernel);
	pthread_mutex_init(&r->lock, NULL);
	r->files = (struct loader_files){
		.kernel = -1, .initrd = -1, .firmware = -1, .dtb = -1,
		.kernel_path = r->cfg.kernel,
	};
	r->env = (struct machine_env){
		.loop = &r->loop,
		.sys = &fake_sys,
		.flash_fd = -1,
		.out = rig_out,
		.input_room = rig_room,
		.measure = rig_measure,
		.ctx = r,
	};
	if (loader_open(&r->files, &r->e) || loop_init(&r->loop, &r->e)) {
		fprintf(stderr, "%s\n", r->e.msg);
		abort();
	}
}

int rig_create(struct rig *r)
{
	int ret;

	memset(&r->e, 0, sizeof(r->e));
	loop_rearm(&r->loop);
	ret = layout_make(&r->cfg, &r->files, 0, &r->layout, &r->e);
	if (ret) {
		fprintf(stderr, "%s\n", r->e.msg);
		abort();
	}
	devices_close(r->env.host, r->env.nr_hosts);
	if (devices_open(&r->cfg, &r->env.host, &r->env.nr_hosts, &r->e)) {
		fprintf(stderr, "%s\n", r->e.msg);
		abort();
	}
	ret = machine_create(&r->m, &r->cfg, &r->layout, &r->env, &r->e);
	layout_free(&r->layout);
	r->made = !ret;
	return ret;
}

enum machine_end rig_run(struct rig *r)
{
	int ret = machine_start(&r->m, &r->e);

	if (!ret)
		loop_run(&r->loop);
	machine_end(&r->m, END_LEAVE);
	machine_stop(&r->m);
	return atomic_load(&r->m.end);
}

void rig_drop(struct rig *r)
{
	if (r->made)
		machine_destroy(&r->m);
	r->made = false;
	devices_close(r->env.host, r->env.nr_hosts);
	r->env.host = NULL;
	r->env.nr_hosts = 0;
}

void rig_fini(struct rig *r)
{
	rig_drop(r);
	loop_destroy(&r->loop);
	loader_close(&r->files);
	config_free(&r->cfg);
	pthread_mutex_destroy(&r->lock);
	mk_file_cleanup();
}

static int saved = -1, captured = -1;

void capture_begin(void)
{
	fflush(stderr);
	saved = dup(STDERR_FILENO);
	captured = memfd_create("stderr", MFD_CLOEXEC);
	if (saved < 0 || captured < 0 || dup2(captured, STDERR_FILENO) < 0)
		abort();
}

const char *capture_end(void)
{
	static char text[16384];
	ssize_t n;

	if (saved < 0)
		return "";
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	n = pread(captured, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	close(saved);
	close(captured);
	saved = captured = -1;
	return text;
}

unsigned int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	if (!d)
		abort();
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

uint64_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	if (!f || fscanf(f, "%lu", &pages) != 1)
		abort();
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
