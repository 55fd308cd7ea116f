# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# The sandbox: what /proc says of a guest's process, and that everything works inside of it.

# status KEY: of the process that runs the guest
status()
{
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$vm_pid/status"
}

# of_guest NAME: vm_pid, the process that has this name's control socket; su and sh stand before it
of_guest()
{
	vm_pid=
	for p in /proc/[0-9]*; do
		case $(tr '\0' ' ' <"$p/cmdline" 2>/dev/null) in
		*realmtool*" run --name $1 "*) ;;
		*) continue ;;
		esac
		[ "$(cat "$p/comm")" != attendant ] || continue
		case $(readlink "$p/exe") in
		*realmtool*) vm_pid=${p#/proc/} ;;
		esac
	done
	[ -n "$vm_pid" ] || fail "no process runs the guest $1"
}

# attendants: how many processes of that name there are
attendants()
{
	grep -lx attendant /proc/[0-9]*/comm 2>/dev/null | wc -l
}

# locked_in YES|NO NAMESPACES [ROOT]: what of the sandbox there is, and what is in its root
locked_in()
{
	case $1 in
	yes) want_nnp=1 want_seccomp=2 ;;
	no) want_nnp=0 want_seccomp=0 ;;
	esac
	[ "$(status NoNewPrivs)" = $want_nnp ] || fail "NoNewPrivs $(status NoNewPrivs)"
	[ "$(status Seccomp)" = $want_seccomp ] || fail "Seccomp $(status Seccomp)"
	for t in "/proc/$vm_pid/task/"*; do
		grep -q "^Seccomp:[[:space:]]*$want_seccomp" "$t/status" ||
			fail "thread $(cat "$t/comm") has no filter"
	done
	own=
	for n in user mnt ipc uts net; do
		[ "$(readlink "/proc/$vm_pid/ns/$n")" = "$(readlink /proc/self/ns/$n)" ] ||
			own="$own$n "
	done
	[ "$own" = "$2" ] || fail "its own namespaces: $own"
	if [ -n "$2" ]; then
		left=$(ls -A "/proc/$vm_pid/root/")
		[ "$left" = "${3:-}" ] || fail "in its root: $left"
	fi
	[ "$1" = no ] || for s in CapInh CapPrm CapEff CapAmb; do
		[ "$(status $s)" = 0000000000000000 ] || fail "$s $(status $s)"
	done
}

# as root, who needs no user namespace
case_sandbox_root()
{
	in_bed
	XDG_RUNTIME_DIR=$PWD/xdg
	export XDG_RUNTIME_DIR
	mkdir xdg
	for m in vm realm; do
		vm box $(mode $m) $MACHINE -k "$G/echo.flat" -p irq --debug
		ctl 0 wait -n box --for ready --timeout 60
		of_guest box
		locked_in yes "mnt ipc uts net "
		[ "$(status CapBnd)" = 0000000000000000 ] || fail "CapBnd $(status CapBnd)"
		grep -q '^Max core file size *0 *0 ' "/proc/$vm_pid/limits" || fail "core files"
		grep 'sandbox: entered' "$T/box.err" >>"$T/log"
		[ "$(attendants)" = 1 ] || fail "$(attendants) attendants"
		ctl 0 stop -n box
		wait $vm || fail "exit code $?: $(tail -n 1 "$T/box.err")"
		[ "$(attendants)" = 0 ] || fail "the attendant is still there"
		no_sockets
	done
	vm box $MACHINE -k "$G/echo.flat" -p irq --sandbox=off
	ctl 0 wait -n box --for ready --timeout 60
	of_guest box
	locked_in no ""
	[ "$(attendants)" = 0 ] || fail "an attendant for no sandbox"
	ctl 0 stop -n box
	wait $vm || fail "exit code $?: $(tail -n 1 "$T/box.err")"
	no_sockets
}

# without privileges
case_sandbox_user()
{
	in_bed
	control_setup
	for m in vm realm; do
		vm box $(mode $m) $MACHINE -k "$G/echo.flat" -p irq --vsock 3,path=v.sock
		ctl 0 wait -n box --for ready --timeout 60
		of_guest box
		locked_in yes "user mnt ipc uts net " proc
		ctl 0 stat -n box
		# root may use the socket of another user's guest, in whose namespace he is nobody
		"$RT" stat -n box >got 2>&1 || fail "root: $(cat got)"
		ctl 0 stop -n box
		wait $vm || fail "exit code $?: $(tail -n 1 "$T/box.err")"
		no_sockets
		[ ! -e v.sock ] || fail "the socket of vsock is still there"
	done
	# a host that forbids user namespaces
	if [ -e /proc/sys/user/max_user_namespaces ]; then
		max=$(cat /proc/sys/user/max_user_namespaces)
		echo 0 >/proc/sys/user/max_user_namespaces
		vm box $MACHINE -k "$G/echo.flat" -p irq --loglevel info
		rc=0
		timeout 60 "$BIN" wait -n box --for ready --timeout 60 >got 2>&1 || rc=$?
		echo "$max" >/proc/sys/user/max_user_namespaces
		[ $rc = 0 ] || fail "without user namespaces: $(tail -n 1 "$T/box.err")"
		of_guest box
		locked_in yes ""
		grep -q 'no namespaces: this host does not allow' "$T/box.err" || fail "not told"
		ctl 0 stop -n box
		wait $vm || fail "exit code $?"
	fi
}

# kill -9 leaves nothing behind: the attendant does what belongs to the end
case_sandbox_killed()
{
	in_bed
	modprobe tun 2>/dev/null
	[ -c /dev/net/tun ] || skip "this host has no taps"
	XDG_RUNTIME_DIR=$PWD/xdg
	export XDG_RUNTIME_DIR
	mkdir xdg
	cat >down <<-'END'
		#!/bin/sh
		echo "$0 $*" >>log
	END
	chmod 755 down
	vm box $MACHINE -k "$G/echo.flat" -p irq --vsock 3,path=v.sock --gdb unix:g.sock \
		-n mode=tap,tapif=rt7,downscript="$PWD/down"
	n=100
	until grep -q 'waits for gdb' "$T/box.err"; do
		[ $n -gt 0 ] || fail "no start: $(cat "$T/box.err")"
		n=$((n - 1))
		usleep 100000
	done
	of_guest box
	[ -S v.sock ] && [ -S g.sock ] && [ -S xdg/realmtool/box.sock ] || fail "no sockets"
	kill -KILL "$vm_pid"
	wait $vm 2>/dev/null
	n=100
	while [ "$(attendants)" != 0 ]; do
		[ $n -gt 0 ] || fail "the attendant does not end"
		n=$((n - 1))
		usleep 100000
	done
	[ "$(cat log)" = "$PWD/down rt7" ] || fail "the script: $(cat log)"
	[ ! -e v.sock ] && [ ! -e g.sock ] || fail "sockets are left: $(ls)"
	no_sockets
}

# what a manager opened: nothing by name, and a reset needs no name either
case_sandbox_descriptors()
{
	sectors 16 >d.img
	printf 'kernel = "fd:7"\n' >c.conf
	cp "$G/reset.flat" r.flat
	mkfifo in
	exec 9<>in
	keep
	"$BIN" run $(mode realm) $MACHINE -k fd:7 -d fd:8 -p ask \
		<in >"$T/out" 2>"$T/err" 7<r.flat 8<>d.img 9>&- &
	bg=$!
	echo $bg >>"$T/pids"
	await '# boot'
	rm r.flat d.img
	printf r >&9
	second_boot
	printf o >&9
	bg_end
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	exec 9>&-
	bad 'kernel fd:7: Bad file descriptor' run $MACHINE -k fd:7
	exec 7<"$G/hello.flat"
	bad 'fd:7: Device or resource busy' run $MACHINE -k fd:7 -i fd:7
	bad 'fd:7: Permission denied' run $MACHINE -k "$G/hello.flat" -d fd:7
	rt run $MACHINE -k fd:7
	exec 7<&-
	tap_check hello.vm
}

# says what it would do, and does not
case_sandbox_audit()
{
	rt run $MACHINE -k "$G/hello.flat" --sandbox=audit --loglevel info
	tap_check hello.vm
	grep -q 'sandbox: audit: .*Landlock' "$T/err" || fail "$(cat "$T/err")"
	rt check
	grep -qi 'sandbox' "$T/out" || fail "check does not name the sandbox"
}

# a folder: what is mounted in it is there, what is beside it is not; capabilities for it are left
case_9p_sandbox()
{
	in_bed
	[ -e "$TOP/Image.9p" ] || skip "no kernel with 9p was built"
	KERNEL=$TOP/Image.9p
	mkdir share
	pattern 7 3000000 >there
	: >share/from-host
	mount --bind there share/from-host
	rc=0
	(
		MACHINE="-c 2 -m 512"
		linux vm p9 --9p share,share,ro -p "rt.cache=none rt.msize=65536 rt.ro" --debug
		[ -z "$(got error)" ] || fail "allowed: $(got error)"
		want from_host "$(sha there)"
	) || rc=$?
	umount share/from-host
	[ $rc = 0 ] || exit $rc
	grep -q 'sandbox: namespaces of its own, empty root' "$T/err" || fail "no sandbox"
	grep -q 'sandbox: entered' "$T/err" || fail "no sandbox: $(tail -n 3 "$T/err")"
}
