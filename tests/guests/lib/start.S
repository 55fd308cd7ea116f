/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entry (x0 = devicetree, EL1, MMU off), exception vectors, secure and hypervisor calls.
 * The MMU stays off, so all data accesses are Device-nGnRnE: aligned, in order, no exclusives.
 */
#include "layout.h"

	.section .text.start, "ax"
	.globl	_start
_start:
	msr	daifset, #0xf
	mov	x19, x0

	/* position independence: *(base + offset) = base + addend */
	adrp	x1, _image
	add	x1, x1, :lo12:_image
	adrp	x2, _rela
	add	x2, x2, :lo12:_rela
	adrp	x3, _rela_end
	add	x3, x3, :lo12:_rela_end
1:	cmp	x2, x3
	b.hs	2f
	ldp	x4, x5, [x2], #16
	ldr	x6, [x2], #8
	cmp	w5, #1027		/* R_AARCH64_RELATIVE */
	b.ne	1b
	add	x6, x6, x1
	str	x6, [x1, x4]
	b	1b

2:	adrp	x1, _bss
	add	x1, x1, :lo12:_bss
	adrp	x2, _bss_end
	add	x2, x2, :lo12:_bss_end
3:	cmp	x1, x2
	b.hs	4f
	stp	xzr, xzr, [x1], #16
	b	3b

4:	adrp	x20, cpus
	add	x20, x20, :lo12:cpus
	bl	cpu_setup
	mov	x0, x19
	bl	guest_start
	b	.

	/* secondary CPU: x0 = its struct cpu */
	.globl	_secondary
_secondary:
	msr	daifset, #0xf
	mov	x20, x0
	bl	cpu_setup
	mov	x0, x20
	bl	guest_secondary
	b	.

	/* x20 = struct cpu: stack, vectors, tpidr_el1; keeps x19, x20 */
cpu_setup:
	add	x1, x20, #CPU_SIZE
	mov	sp, x1
	msr	tpidr_el1, x20
	adrp	x1, vectors
	add	x1, x1, :lo12:vectors
	msr	vbar_el1, x1
	isb
	ret

	.macro	vector kind
	.balign	0x80
	sub	sp, sp, #FRAME_SIZE
	stp	x0, x1, [sp, #0]
	mov	x0, #\kind
	b	trap_common
	.endm

	.balign	0x800
vectors:
	vector	0
	vector	1
	vector	2
	vector	3
	vector	4		/* current EL, SP_ELx: synchronous */
	vector	5		/* IRQ */
	vector	6
	vector	7
	vector	8
	vector	9
	vector	10
	vector	11
	vector	12
	vector	13
	vector	14
	vector	15

trap_common:
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
	mrs	x1, elr_el1
	stp	x30, x1, [sp, #240]
	mrs	x1, spsr_el1
	mrs	x2, esr_el1
	stp	x1, x2, [sp, #256]
	mrs	x1, far_el1
	str	x1, [sp, #272]
	mov	x1, sp
	bl	trap_handle
	ldp	x30, x1, [sp, #240]
	msr	elr_el1, x1
	ldr	x1, [sp, #256]
	msr	spsr_el1, x1
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x19, [sp, #144]
	ldp	x20, x21, [sp, #160]
	ldp	x22, x23, [sp, #176]
	ldp	x24, x25, [sp, #192]
	ldp	x26, x27, [sp, #208]
	ldp	x28, x29, [sp, #224]
	ldp	x0, x1, [sp, #0]
	add	sp, sp, #FRAME_SIZE
	eret

	/* call_smc(uint64_t r[18]), call_hvc(): x0..x17 in and out */
	.macro	conduit name, insn
	.globl	\name
\name:
	stp	x29, x30, [sp, #-32]!
	stp	x19, x20, [sp, #16]
	mov	x19, x0
	ldp	x2, x3, [x19, #16]
	ldp	x4, x5, [x19, #32]
	ldp	x6, x7, [x19, #48]
	ldp	x8, x9, [x19, #64]
	ldp	x10, x11, [x19, #80]
	ldp	x12, x13, [x19, #96]
	ldp	x14, x15, [x19, #112]
	ldp	x16, x17, [x19, #128]
	ldp	x0, x1, [x19, #0]
	\insn	#0
	stp	x0, x1, [x19, #0]
	stp	x2, x3, [x19, #16]
	stp	x4, x5, [x19, #32]
	stp	x6, x7, [x19, #48]
	stp	x8, x9, [x19, #64]
	stp	x10, x11, [x19, #80]
	stp	x12, x13, [x19, #96]
	stp	x14, x15, [x19, #112]
	stp	x16, x17, [x19, #128]
	ldp	x19, x20, [sp, #16]
	ldp	x29, x30, [sp], #32
	ret
	.endm
	conduit	call_smc, smc
	conduit	call_hvc, hvc
