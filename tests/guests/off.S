/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Powers off with its first instructions, so that a run of it is the VMM's own time. Touches no
 * memory and reads no devicetree: HVC first, and where that is undefined (a realm) or refused, SMC.
 */
	.section .text.start, "ax"
	.globl	_start
_start:
	adr	x1, vectors
	msr	vbar_el1, x1
	isb
	movz	w0, #0x8400, lsl #16		/* PSCI_SYSTEM_OFF */
	movk	w0, #0x0008
	hvc	#0
again:
	movz	w0, #0x8400, lsl #16
	movk	w0, #0x0008
	smc	#0
	wfi
	b	again

	.balign	0x800
vectors:
	.space	0x200
	b	again				/* current EL, SP_ELx: synchronous */
	.balign	0x800
