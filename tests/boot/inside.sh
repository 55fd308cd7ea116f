#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs the boot tests on an arm64 machine with KVM: inside.sh [--part I/N] [PATTERN...]
#
# The folder of this script is the share that "run" filled. A case runs if its name matches one of
# the shell patterns (all without), and its number divided by N leaves I. Prints TAP; logs of each
# case are left in out/logs/NAME.

set -u
part=0 parts=1
if [ "${1:-}" = --part ]; then
	part=${2%/*} parts=${2#*/}
	shift 2
fi
cd "$(dirname "$0")" || exit 1
TOP=$PWD
G=$TOP/g
RT=$TOP/realmtool
LKVM=$TOP/lkvm
KERNEL=$TOP/Image
HOME=/root
[ -w /root ] || HOME=$TOP
export HOME
# keys that emulated realms sign their tokens with
XDG_STATE_HOME=$TOP/out/state
export XDG_STATE_HOME
mkdir -p out/logs
[ -e lkvm ] || ln -s realmtool lkvm

# shellcheck source=tests/boot/lib.sh
. ./lib.sh
for f in cases/*.sh; do
	# shellcheck disable=SC1090
	. "./$f"
done

wanted()
{
	[ $# -gt 1 ] || return 0
	name=$1 other=1
	shift
	for p; do
		# shellcheck disable=SC2254
		case $p in
		!*)
			case $name in ${p#!}) return 1 ;; esac
			other=0
			continue
			;;
		esac
		# shellcheck disable=SC2254
		case $name in
		$p) return 0 ;;
		esac
	done
	return $other
}

# What a run may leave behind, one name a line. Sockets, pids, temp files: all would be seen.
# lkvm makes a root file system where there is none.
traces()
{
	# what kill -9 left of a control socket goes with the next look at them
	"$RT" list >/dev/null 2>&1 || :
	# shellcheck disable=SC2012
	for d in "$HOME" "$HOME"/.lkvm "$HOME"/.realmtool /tmp /run /run/realmtool /dev/shm /var/tmp; do
		[ -d "$d" ] && ls -A "$d" | sed "s,^,$d/,"
	done | grep -v -e "^$WORK" -e '/\.lkvm$' -e '/\.lkvm/default$'
	for p in /proc/[0-9]*; do
		case $(readlink "$p/exe" 2>/dev/null) in
		"$RT"*) echo "process ${p#/proc/}" ;;
		esac
	done
}

uptime_cs()
{
	read -r up _ </proc/uptime
	echo "${up%.*}${up#*.}"
}

nr=0 failed=0
for c in $(sed -n 's/^case_\([a-z0-9_]*\)().*/\1/p' cases/*.sh); do
	wanted "$c" "$@" || continue
	nr=$((nr + 1))
	[ $((nr % parts)) = "$part" ] || continue
	T=$TOP/out/logs/$c
	rm -rf "$T"
	mkdir -p "$T"
	WORK=/tmp/boot-$$
	mkdir -p $WORK
	traces >"$T/before"
	t0=$(uptime_cs)
	rc=0
	(
		cd $WORK || exit 1
		BIN=$RT LIMIT=120 MACHINE='-c 1 -m 64' CONSOLE='console=ttyS0' CMDLINE=
		"case_$c"
	) >"$T/log" 2>&1 || rc=$?
	t1=$(uptime_cs)
	s=$(((t1 - t0) / 100)).$(((t1 - t0) % 100 / 10))
	if [ -e "$T/pids" ]; then
		while read -r p; do
			kill -KILL "$p" 2>/dev/null && usleep 200000
		done <"$T/pids"
	fi
	rm -rf $WORK
	traces >"$T/after"
	if [ $rc = 0 ] && ! cmp -s "$T/before" "$T/after"; then
		echo "left behind: $(diff -u "$T/before" "$T/after" | grep '^[-+][^-+]' | tr '\n' ' ')" >"$T/why"
		rc=1
	fi
	rm -f "$T/before" "$T/after"
	case $rc in
	0) echo "ok $nr - $c ($s s)" ;;
	77) echo "ok $nr - $c # SKIP $(cat "$T/why")" ;;
	*)
		failed=$((failed + 1))
		echo "not ok $nr - $c ($s s): $(cat "$T/why" 2>/dev/null || tail -n 1 "$T/log")"
		for f in commands log err out; do
			[ -s "$T/$f" ] || continue
			tail -n 8 "$T/$f" | tr -d "\r\0" | awk -v f="$f" "{ print \"# \" f \": \" \$0 }"
		done
		;;
	esac
done
echo "1..$nr"
[ $failed = 0 ]
