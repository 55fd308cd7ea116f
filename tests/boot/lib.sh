# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# What the cases use. Sourced by inside.sh; runs in busybox ash as well as in dash and bash.
#
# A case is a function case_NAME in cases/*.sh. It runs in a subshell, in an empty folder of its own
# ($PWD, gone afterwards). It passes by returning 0; "fail WHY" and "skip WHY" end it.
#
#   $TOP   the share            $G    the payloads            $T     logs of this case, kept
#   $RT    realmtool            $LKVM the same, called lkvm   $LIMIT seconds for each run
#   rt ARG...      runs realmtool: $rc, stdout in $T/out, stderr in $T/err (old ones get a number)

fail()
{
	echo "$*" >"$T/why"
	exit 1
}

skip()
{
	echo "$*" >"$T/why"
	exit 77
}

# The folder of the logs gets each run's output; the last is always out, err.
keep()
{
	n=1
	[ -e "$T/err" ] || return 0
	while [ -e "$T/err.$n" ]; do
		n=$((n + 1))
	done
	mv "$T/err" "$T/err.$n"
	[ ! -e "$T/out" ] || mv "$T/out" "$T/out.$n"
}

rt()
{
	keep
	echo "+ ${BIN##*/} $*" >>"$T/commands"
	rc=0
	timeout -s KILL "$LIMIT" "$BIN" "$@" </dev/null >"$T/out" 2>"$T/err" || rc=$?
	[ $rc != 137 ] || fail "no end after $LIMIT s: ${BIN##*/} $*"
}

# bg ARG...: in the background; $bg is its process, in is its input (descriptor 9 holds it open)
bg()
{
	keep
	echo "+ ${BIN##*/} $* &" >>"$T/commands"
	rm -f in
	mkfifo in
	exec 9<>in
	"$BIN" "$@" <in >"$T/out" 2>"$T/err" 9>&- &
	bg=$!
	echo $bg >>"$T/pids"
}

# await TEXT [SECONDS [FILE]]: until the background run has said it
await()
{
	n=$((${2:-30} * 10))
	while ! grep -q "$1" "${3:-$T/out}"; do
		[ $n -gt 0 ] || fail "waited ${2:-30} s in vain for \"$1\""
		kill -0 "$bg" 2>/dev/null || grep -q "$1" "${3:-$T/out}" ||
			fail "it ended before it said \"$1\": $(tail -n 1 "$T/err")"
		n=$((n - 1))
		usleep 100000
	done
}

# bg_end [SECONDS]: waits for the background run; $rc
bg_end()
{
	n=$((${1:-20} * 10))
	while kill -0 "$bg" 2>/dev/null && [ $n -gt 0 ]; do
		n=$((n - 1))
		usleep 100000
	done
	if [ $n = 0 ]; then
		kill -KILL "$bg"
		fail "no end after ${1:-20} s"
	fi
	rc=0
	wait "$bg" || rc=$?
}

# mode MODE: the options of a mode: vm, realm, strict
mode()
{
	case $1 in
	vm) ;;
	realm) echo --realm=emulated ;;
	strict) echo --realm=emulated --emulated-strict ;;
	*) fail "no mode $1" ;;
	esac
}

# Only the TAP lines; what else the guest says is comment.
tap_lines()
{
	tr -d '\r' <"$1" | grep -E '^(ok|not ok|1\.\.|Bail out)'
}

# tap_check EXPECT: the output has exactly these TAP lines
tap_check()
{
	tap_lines "$T/out" >"$T/tap"
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err"); last words: $(tail -n 1 "$T/out")"
	if grep -q '^not ok' "$T/tap"; then
		fail "$(grep -c '^not ok' "$T/tap") of $(wc -l <"$T/tap"): $(grep '^not ok' "$T/tap" |
			head -n 3 | tr '\n' ';')"
	fi
	[ -e "$G/$1.tap" ] || fail "no $1.tap stands beside the payload"
	cmp -s "$T/tap" "$G/$1.tap" ||
		fail "other lines than $1.tap: $(diff -u "$G/$1.tap" "$T/tap" | grep '^[-+][^-+]' | head -n 1)"
}

# payload MODE NAME [-e EXPECT] ARG...: NAME.flat must say what EXPECT.tap (NAME.MODE.tap) says
payload()
{
	m=$1 name=$2
	expect=$2.$1
	shift 2
	if [ "${1:-}" = -e ]; then
		expect=$2
		shift 2
	fi
	# shellcheck disable=SC2046,SC2086
	rt run $(mode "$m") $MACHINE -k "$G/$name.flat" "$@"
	tap_check "$expect"
}

# linux MODE TEST [ARG...]: boots Linux to its init, which does test TEST; its answers: see got
linux()
{
	m=$1 t=$2
	shift 2
	# shellcheck disable=SC2046,SC2086
	rt run $(mode "$m") $MACHINE -k "$KERNEL" -i "$TOP/initrd" \
		-p "$CONSOLE panic=-1 quiet rt.test=$t $CMDLINE" "$@"
	answers
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err"); last words: $(tail -n 1 "$T/out")"
	grep -q '^init' "$T/rt" || fail "no init: $(tail -n 1 "$T/out")"
}

answers()
{
	tr -d '\r' <"$T/out" | sed -n 's/^.*RT: //p' >"$T/rt"
}

# got KEY: what the guest said
got()
{
	sed -n "s/^$1=//p" "$T/rt" | tail -n 1
}

# want KEY VALUE
want()
{
	[ "$(got "$1")" = "$2" ] || fail "$1: the guest says \"$(got "$1")\", it is \"$2\""
}

# bad PATTERN ARG...: refused with one line on stderr that matches, code 128, nothing on stdout
bad()
{
	p=$1
	shift
	rt "$@"
	[ $rc = 128 ] || fail "exit code $rc, not 128, for: $*: $(head -n 1 "$T/err")"
	[ "$(wc -l <"$T/err")" = 1 ] || fail "$(wc -l <"$T/err") lines on stderr for: $*"
	grep -q '^Fatal: ' "$T/err" || fail "\"$(cat "$T/err")\" for: $*"
	grep -qE -e "$p" "$T/err" || fail "\"$(cat "$T/err")\" has no \"$p\" for: $*"
	[ ! -s "$T/out" ] || fail "output for: $*"
}

sha()
{
	sha256sum "$1" | cut -d' ' -f1
}

# pattern SEED SIZE: what guest-init writes in disk-write: numbers, one a line
pattern()
{
	seq "$1" 999999999 | head -c "$2"
}

# sectors N: what the payload virtio.flat expects on its disk
sectors()
{
	awk "BEGIN { for (i = 0; i < $1; i++) printf \"%-511s\\n\", sprintf(\"sector %08d\", i) }"
}

# in_bed: for what must not be done to a real machine
in_bed()
{
	[ "${TESTBED:-}" = l1 ] || skip "only in the test bed's own host"
}

# separate: private and shared memory of an emulated realm have contents of their own (a
# guest_memfd for ordinary VMs, Linux 6.18)
separate()
{
	v=$(uname -r)
	major=${v%%.*}
	minor=${v#*.}
	minor=${minor%%[!0-9]*}
	[ "$major" -gt 6 ] || { [ "$major" = 6 ] && [ "$minor" -ge 18 ]; }
}

# second_boot [TENTHS]: payload "reset" has begun anew, after 5 s at the latest
second_boot()
{
	n=${1:-50}
	while [ "$(grep -c '# boot' "$T/out")" -lt 2 ]; do
		[ $n -gt 0 ] || fail "no second boot: $(tail -n 1 "$T/err")"
		n=$((n - 1))
		usleep 100000
	done
}

# plain_user: from here on realmtool is run by somebody who has /dev/kvm and nothing else. What is in
# the case's folder becomes his with each run. Where the tests run as somebody else already, or on a
# real machine, it stays as it is.
plain_user()
{
	[ "$(id -u)" = 0 ] && [ "${TESTBED:-}" = l1 ] || return 0
	chmod 755 .
	echo "exec \"$BIN\" \"\$@\"" >"$PWD/.inner"
	cat >"$PWD/.plain" <<-END
		#!/bin/sh
		chown -R user "$PWD"
		exec su -m -s /bin/sh -- user "$PWD/.inner" "\$@"
	END
	chmod 755 .plain
	BIN=$PWD/.plain
	XDG_STATE_HOME=$PWD/state
	[ "$HOME" != /root ] || HOME=$PWD
	export XDG_STATE_HOME HOME
}
