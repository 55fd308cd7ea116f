/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The 64 bytes that make a payload an arm64 Image (Linux Documentation/arch/arm64/booting.rst).
 * Linked in for NAME.Image only: NAME.flat has no header and starts at its first byte.
 */
	.section .head, "ax"
	b	_start			/* code0 */
	.word	0			/* code1 */
	.quad	0			/* text_offset */
	.quad	_size			/* image_size, BSS included */
	.quad	0xa			/* little endian, 4 KiB pages, anywhere in memory */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.word	0			/* no PE header */
