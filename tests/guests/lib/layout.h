/* SPDX-License-Identifier: BSD-3-Clause */
/* What start.S and the C code have to agree on. */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#define CPU_SIZE	8192		/* struct cpu, its stack at the upper end */
#define FRAME_SIZE	288		/* struct trap_frame */

#endif
