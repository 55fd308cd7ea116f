/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The terminal in front of the user: raw mode and its restoration, whatever happens. There is one
 * in a process. All terminal attributes are touched here and nowhere else.
 */
#ifndef VMM_TTY_H
#define VMM_TTY_H

#include "vmm/core/types.h"

#define TTY_WAKE (1ULL << 32)	/* smaller numbers are free for other wakers */

/**
 * tty_attach() - take charge of a terminal, not yet in raw mode
 * @fd:      the terminal; stays open until tty_detach()
 * @wake_fd: eventfd; TTY_WAKE is added when the program was continued or the window has a new
 *           size
 *
 * Installs handlers for SIGTSTP, SIGCONT, SIGWINCH, for the signals of a crash and for those
 * of the others that would end the program by default now.
 *
 * Return: 0; -EBUSY (there is one already), or a negative errno of tcgetattr().
 */
int tty_attach(int fd, int wake_fd);

/** tty_detach() - restore the terminal and the signal handlers */
void tty_detach(void);

/**
 * tty_raw() - raw mode, if this process is in the foreground
 *
 * Return: true if the terminal is in raw mode now.
 */
bool tty_raw(void);

/**
 * tty_foreground() - may this process read from the terminal and change it?
 *
 * A process of a background job would be stopped (SIGTTIN, SIGTTOU). Where there is no job
 * control (not our controlling terminal) everybody is in the foreground.
 */
bool tty_foreground(int fd);

/** tty_restore_now() - leave raw mode; async-signal-safe */
void tty_restore_now(void);

#endif
