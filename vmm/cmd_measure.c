// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "realm/corim.h"
#include "realm/report.h"
#include "vmm/board/flash.h"
#include "vmm/cmd.h"
#include "vmm/core/err.h"
#include "vmm/core/path.h"
#include "vmm/options.h"
#include "vmm/rootfs.h"
#include "vmm/predict.h"
#include "vmm/profile.h"

struct measure_options {
	bool json, verbose;
	char *corim, *comid, *trustee, *store;
};

enum { G_MEASURE };

static const char *const groups[] = { [G_MEASURE] = "Options of measure only" };

#define TO(field)	.offset = offsetof(struct measure_options, field)

/* clang-format off */
static const struct opt options[] = {
	{ .name = "verbose", .letter = 'v', .flags = OPT_FLAG,
	  .help = "print each step, with the measurement after it",
	  .text = "The creation of the realm with what is measured of its parameters, ranges of RIPAS "
		  "RAM, the parts of the initial image, and the registers of the first vCPU. Of a part "
		  "of the image, content is the hash of the hashes of its 4 KiB pages, one after the "
		  "other; the last page is filled up with zeros.",
	  .parse = opt_flag, TO(verbose) },
	{ .name = "json", .flags = OPT_FLAG,
	  .help = "print JSON, with the steps",
	  .parse = opt_flag, TO(json) },
	{ .name = "corim", .arg = "FILE",
	  .help = "write an unsigned CoRIM (CBOR)",
	  .text = "For verifiers that know the profile " CORIM_PROFILE ".",
	  .parse = opt_string, TO(corim), .path = "" },
	{ .name = "comid-json", .arg = "FILE",
	  .help = "write a CoMID template (JSON)",
	  .text = "For cocli and Veraison's services.",
	  .parse = opt_string, TO(comid), .path = "" },
	{ .name = "trustee", .arg = "FILE",
	  .help = "write the reference values of Trustee's RVPS",
	  .parse = opt_string, TO(trustee), .path = "" },
	{ .name = "trustee-store", .arg = "FILE",
	  .help = "write those of Trustee's local verifier",
	  .text = "The values of the platform are for its owner to add.",
	  .parse = opt_string, TO(store), .path = "" },
};
/* clang-format on */

const struct opt_table measure_table = {
	.opt = options,
	.nr = ARRAY_SIZE(options),
	.group = groups,
	.nr_groups = ARRAY_SIZE(groups),
	.hint = "\"measure --help\" lists them all",
};

int cmd_help_measure(const struct cmd_ctx *cx, bool full, struct err *e)
{
	printf("usage: %s measure [FILE.conf|NAME] [OPTIONS] [KERNEL]\n", cx->prog);
	if (full)
		fputs("\n"
		      "Predicts the Realm Initial Measurement of what \"run\" with the same options\n"
		      "launches. Needs no KVM and no arm64, and does not look at the machine it runs on.\n"
		      "Options that have nothing to do with it are accepted, disks need not be there.\n"
		      "\n"
		      "Exit code: 0, 3 if the measurement is not the one that --expect-rim gives, 128 if\n"
		      "it could not be predicted.\n", stdout);
	opt_help(stdout, &measure_table, full);
	printf("\nAll options of \"%s run\" as well.%s\n", cx->prog,
	       full ? "" : " \"help measure\" explains these here.");
	return cmd_flush(e);
}

/* ---- reference values ---------------------------------------------------------------------- */

static int write_corim(const struct refvals *v, FILE *f, struct err *e)
{
	uint8_t buf[CORIM_MAX];
	size_t len;
	int ret = corim_cbor(v, buf, sizeof(buf), &len, e);

	if (!ret)
		fwrite(buf, 1, len, f);
	return ret;
}

static int write_comid(const struct refvals *v, FILE *f, struct err *e)
{
	corim_comid_json(v, f);
	return 0;
}

static int write_rvps(const struct refvals *v, FILE *f, struct err *e)
{
	corim_rvps_json(v, f);
	return 0;
}

static int write_store(const struct refvals *v, FILE *f, struct err *e)
{
	corim_store_json(v, f);
	return 0;
}

static int write_file(const char *option, const char *path, const struct refvals *v,
		      int (*fn)(const struct refvals *, FILE *, struct err *), struct err *e)
{
	char *text = NULL;
	size_t len, done;
	FILE *f;
	int ret;

	if (!path)
		return 0;
	/* all of it first: what cannot be made shall not leave an empty file */
	f = open_memstream(&text, &len);
	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	ret = fn(v, f, e);
	if (fclose(f) && !ret)
		ret = err_set(e, -ENOMEM, "out of memory");
	f = ret < 0 ? NULL : fopen(path, "we");
	if (f) {
		done = fwrite(text, 1, len, f);
		if (fclose(f) || done != len)
			ret = err_set(e, -EIO, "%.200s: cannot be written", path);
	} else if (!ret) {
		ret = err_set(e, -errno, "%.200s: %s", path, strerror(errno));
	}
	free(text);
	return ret < 0 ? err_prefix(e, "option --%s", option) : 0;
}

static int write_refvals(const struct measure_options *o, const struct vm_config *c,
			 const struct measurement *m, struct err *e)
{
	struct refvals v = { .algo = m->rim.algo, .rpv_set = c->rpv_set };
	int ret;

	memcpy(v.rim, m->rim.value, sizeof(v.rim));
	memcpy(v.rpv, c->rpv, sizeof(v.rpv));
	ret = write_file("corim", o->corim, &v, write_corim, e);
	if (!ret)
		ret = write_file("comid-json", o->comid, &v, write_comid, e);
	if (!ret)
		ret = write_file("trustee", o->trustee, &v, write_rvps, e);
	if (!ret)
		ret = write_file("trustee-store", o->store, &v, write_store, e);
	return ret;
}

/* ---- the command --------------------------------------------------------------------------- */

static void print(const struct measure_options *o, const struct vm_config *c,
		  const struct measurement *m)
{
	struct json j = { .f = stdout };
	char text[REPORT_TEXT_MAX];

	if (!o->json) {
		report_text(m, o->verbose, text);
		fputs(text, stdout);
		return;
	}
	json_object_begin(&j, NULL);
	report_json(m, &j);
	if (c->rpv_set)
		json_hex(&j, "rpv", c->rpv, sizeof(c->rpv));
	json_object_end(&j);
}

/* What is the user's own and no default: he should know that it counts. */
static void tell(const struct vm_config *c)
{
	if (c->kaslr_seed_set)
		log_warning("--kaslr-seed is measured, with the devicetree: another seed, another "
			    "measurement");
	if (c->dtb)
		log_warning("--dtb %.200s is measured as it is: another file, another measurement",
			    c->dtb);
}

static int flash_file_size(const struct vm_config *c, uint64_t *size, struct err *e)
{
	struct stat st;
	int fd;

	*size = 0;
	if (!c->flash)
		return 0;
	fd = flash_open(c->flash, true, e);
	/* busy: a guest that runs has it, so it is a good one */
	if (fd < 0 && fd != -EBUSY)
		return fd;
	if (path_stat(c->flash, &st) == 0)
		*size = st.st_size;
	if (fd >= 0)
		close(fd);
	return 0;
}

static int measure(const struct measure_options *o, const struct vm_config *c, struct err *e)
{
	struct loader_files files = {
		.kernel = -1, .initrd = -1, .firmware = -1, .dtb = -1,
		.kernel_path = c->kernel,
		.initrd_path = c->initrd,
		.firmware_path = c->firmware,
		.dtb_path = c->dtb,
	};
	struct measurement m;
	struct layout l;
	uint64_t flash;
	int ret;

	if (c->mode == MODE_PLAIN)
		return err_set(e, -EINVAL, "without --realm there is no measurement: add --realm or "
			       "--realm=emulated");
	ret = flash_file_size(c, &flash, e);
	if (!ret)
		ret = loader_open(&files, e);
	if (ret < 0)
		return ret;
	ret = layout_make(c, &files, flash, &l, e);
	if (ret < 0)
		goto out_files;
	if (c->dump_dtb)
		ret = layout_dump_dtb(c, &l, e);
	if (!ret)
		ret = predict(c, &l, NULL, &m, e);
	if (ret < 0)
		goto out_layout;
	tell(c);
	print(o, c, &m);
	ret = cmd_flush(e);
	if (!ret)
		ret = predict_expect(c, &m, e);
	if (!ret)
		ret = write_refvals(o, c, &m, e);
out_layout:
	layout_free(&l);
out_files:
	loader_close(&files);
	return ret;
}

int cmd_measure(const struct cmd_ctx *cx, int argc, char **argv, struct err *e)
{
	struct measure_options o = { .json = false };
	struct opt_state st = { { 0 } };
	struct vm_config c;
	int ret, nr;
	char **left;

	left = calloc(argc + 1, sizeof(*left));
	if (!left)
		return err_set(e, -ENOMEM, "out of memory");
	config_defaults(&c);
	ret = opt_split(&measure_table, &st, &o, &run_options, argc, argv, left, &nr, e);
	if (!ret)
		ret = options_run(&c, cx->lkvm, nr, left, e);
	if (ret == OPTIONS_HELP) {
		ret = cmd_help_measure(cx, false, e);
		goto out;
	}
	if (!ret)
		ret = rootfs_config(&c, e);
	if (!ret)
		ret = profile_apply(&c, e);
	if (!ret)
		ret = measure(&o, &c, e);
	if (ret == -EKEYREJECTED) {
		log_fatal(e);
		ret = EXIT_RIM;
	}
out:
	config_free(&c);
	free(o.corim);
	free(o.comid);
	free(o.trustee);
	free(o.store);
	free(left);
	return ret;
}
