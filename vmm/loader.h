/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loader: finds out what the user's files are and where they go. It makes pieces of a plan;
 * it never touches guest memory and needs neither KVM nor arm64.
 */
#ifndef VMM_LOADER_H
#define VMM_LOADER_H

#include "realm/plan.h"
#include "vmm/config.h"

/**
 * struct loader_files - descriptors kept open for the whole run, so that a reboot works after the
 * files were renamed or privileges were dropped; -1: not given
 * @pmem_size: bytes of the files of --pmem, which are mapped and not loaded
 */
struct loader_files {
	int kernel, initrd, firmware, dtb;
	const char *kernel_path, *initrd_path, *firmware_path, *dtb_path;
	uint64_t pmem_size[CFG_MAX_PMEMS];
};

/**
 * struct loader_in - where things may go
 * @ram_base, @ram_size: RAM
 * @firmware_addr: 0: RAM base
 */
struct loader_in {
	struct loader_files files;
	ipa_t ram_base;
	uint64_t ram_size;
	ipa_t firmware_addr;
};

/**
 * struct loader_out - layout of a boot, pieces without the DTB
 * @plan:    kernel or firmware, and initrd; pc and x[0] (DTB address) are set, piece "dtb" is
 *           added by loader_add_dtb()
 * @dtb_ipa: where the devicetree goes (MAP_DTB_SIZE bytes are free there)
 * @initrd_start, @initrd_end: exclusive end; 0, 0 without an initrd
 * @user_dtb, @user_dtb_size: content of --dtb (malloc'ed, freed by loader_free()), or NULL
 * @kind:    "Image", "Image.gz", "zboot (zstd)", "flat", "firmware" for messages
 */
struct loader_out {
	struct plan plan;
	ipa_t dtb_ipa;
	ipa_t initrd_start, initrd_end;
	void *user_dtb;
	size_t user_dtb_size;
	const char *kind;
};

/**
 * loader_open() - open the files named by the user
 * @f: the *_path fields are set; the descriptors are filled
 *
 * Errors are one line with the remedy; a missing kernel reads "Unable to open kernel NAME: ..."
 * (kvm-unit-tests greps for the first four words).
 */
int loader_open(struct loader_files *f, struct err *e);
/** loader_close() - close what loader_open() opened */
void loader_close(struct loader_files *f);

/** loader_plan() - recognise the kernel, lay everything out; see struct loader_out */
int loader_plan(const struct loader_in *in, struct loader_out *out, struct err *e);

/** loader_add_dtb() - add the devicetree (MAP_DTB_SIZE bytes, copied) to the plan */
int loader_add_dtb(struct loader_out *out, const void *dtb, size_t size, struct err *e);

/** loader_free() - free all that @out holds */
void loader_free(struct loader_out *out);

#endif
