/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the two halves of the gdb server share: gdb.c (sockets, output, who runs when) and gdb_cmd.c
 * (the commands). Nobody else includes it.
 */
#ifndef VMM_GDB_INT_H
#define VMM_GDB_INT_H

#include <pthread.h>
#include <sys/types.h>

#include "vmm/core/loop.h"
#include "vmm/gdb_packet.h"
#include "vmm/gdb_target.h"

struct gdb {
	struct loop *loop;
	struct gdb_target t;
	char *xml;			/* target.xml */
	size_t xml_len;

	/* the socket that listens */
	struct loop_src listener;
	char where[128];		/* for "target remote" */
	char *path;			/* socket file, NULL: TCP */
	dev_t dev;			/* of the file, so that only our own is removed */
	ino_t ino;

	/* the client */
	struct loop_src client;		/* fd -1: none */
	uint32_t client_events;
	bool attached;
	bool drop;			/* to be disconnected at the end of this callback */
	bool no_ack;			/* QStartNoAckMode */
	bool told_swbreak, told_hwbreak;	/* features of qSupported */
	int g_cpu;			/* Hg: registers and memory */
	int c_cpu;			/* Hc: for c and s; -1: all */
	unsigned int resends;
	struct gdb_rx rx;
	struct gdb_tx tx;		/* the last frame, for a resend */
	uint8_t in[4096];
	size_t in_pos, in_len;
	uint8_t out[2 * GDB_FRAME_MAX + 64];
	size_t out_pos, out_len;

	/* the machine */
	bool running;
	struct gdb_stop stop;		/* why not */

	/* the note of a vCPU thread */
	struct loop_src wake;		/* eventfd */
	pthread_mutex_t lock;		/* the three below */
	bool note_valid;
	unsigned int note_cpu;
	struct gdb_debug_exit note;
};

/** gdb_make_xml() - target.xml, as gdb asks for it. Return: 0 or -ENOMEM */
int gdb_make_xml(struct gdb *g);
/** gdb_handle_packet() - carry out one packet; @p is NUL-terminated behind @len bytes */
void gdb_handle_packet(struct gdb *g, const char *p, size_t len);

/** gdb_send_frame() - end and send the reply in g->tx */
void gdb_send_frame(struct gdb *g);
/** gdb_reply_text() - a reply that is a text */
void gdb_reply_text(struct gdb *g, const char *text);
/** gdb_reply_result() - OK, or the error @ret (0 or a negative errno) */
void gdb_reply_result(struct gdb *g, int ret);
/** gdb_reply_stop() - why the machine is stopped */
void gdb_reply_stop(struct gdb *g);

/** gdb_stop_machine() - all vCPUs out of the guest */
void gdb_stop_machine(struct gdb *g);
/** gdb_set_actions() - the same action for every vCPU at the next resume */
void gdb_set_actions(struct gdb *g, enum gdb_action a);
/** gdb_resume_machine() - let the vCPUs do their actions. Return: 0 or a negative errno */
int gdb_resume_machine(struct gdb *g);
/** gdb_free_run() - without breakpoints, for a machine that nobody debugs any more */
void gdb_free_run(struct gdb *g);

#endif
