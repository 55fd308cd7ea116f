/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest on the model of KVM that uses every virtio device it finds behind virtio-mmio, once, with
 * split rings in shared memory, says how it went and switches itself off.
 */
#ifndef TESTS_FAULT_GUEST_H
#define TESTS_FAULT_GUEST_H

#include "tests/fakekvm/fakekvm.h"

#define GUEST_SECTOR	8		/* that the guest writes */
#define GUEST_BYTES	4096

/**
 * struct guest - one for all boots of a run
 * @realm:   memory is private until it is shared; addresses of what is shared have @shared
 * @shared:  the bit, 0: a plain VM
 * @boots:   it resets until it was started so often
 * @wait_ms: how long a device may take
 * @control: path of the control socket, NULL: none
 * @tty:     terminal that must be in raw mode while the guest runs, -1: none
 * @found, @done: bits by device ID: is there; did all that was asked of it, in the last boot
 * @silent:  devices that left a request alone, and did not ask for a reset
 * @answers: of the control socket
 * @raw:     the terminal was
 * @flushed: a write of GUEST_BYTES at GUEST_SECTOR, and a flush after it, both had status OK;
 *           each byte of it is that
 */
struct guest {
	bool realm;
	ipa_t shared;
	unsigned int boots;
	unsigned int wait_ms;
	const char *control;
	int tty;
	_Atomic uint64_t found, done, silent;
	_Atomic unsigned int flushed, answers;
	_Atomic bool raw;
};

/**
 * struct guest_load - a disk and an entropy device at work while a page of theirs changes sides
 * @rounds:  requests of each
 * @good, @refused: how requests of the disk ended
 * @changes: of the page
 */
struct guest_load {
	struct guest g;
	unsigned int rounds;
	_Atomic bool over;
	_Atomic unsigned int good, refused, changes;
};

/** guest_load(), guest_change() - the two vCPUs; both get the struct guest_load */
void guest_load(struct fake_cpu *c, void *ctx);
void guest_change(struct fake_cpu *c, void *ctx);

/** guest_main() - for fake_set_guest(), with a struct guest */
void guest_main(struct fake_cpu *c, void *ctx);

#endif
