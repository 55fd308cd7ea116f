#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What "make test" does: all tests, after getting what they need.
#
#   run.sh          everything that belongs to a change
#   run.sh --long   what takes longer as well, and all boot tests on the older host kernel too
#
# A line per stage; of a failing one its log too. Last line: "N passed, N failed[, N skipped]".
# Exit code 1 if something failed or nothing ran; 3 if packages are missing and only root can
# install them. Logs: build/test.

set -u
cd "$(dirname "$0")/.." || exit 1

long=
case "$*" in
'') ;;
--long) long=1 ;;
*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

LOGS=build/test
rm -rf $LOGS
mkdir -p $LOGS
passed=0 failed=0 skipped=0

case $(uname -m) in
aarch64) cross= ;;
*) cross=1 ;;
esac

seconds()
{
	date +%s
}

# count LOG: sets p, f, s from the last line "N passed, N failed" of a log, and from a
# "N skipped" in or before it; fails if there is none
count()
{
	sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$1" | tail -n 1)
	[ -n "$sum" ] || return 1
	p=${sum%% passed*}
	f=${sum#*passed, }
	f=${f%% failed*}
	s=$(sed -nE 's/^(.*, )?([0-9]+) skipped$/\2/p' "$1" | tail -n 1)
	: "${s:=0}"
}

# details LOG: what one wants to see of a failing stage
details()
{
	if grep '^not ok' "$1" | grep -qv '# SKIP'; then
		# the failing tests and what they said
		awk '
			/^ok|^1\.\.|# SKIP|^[a-z0-9_]+: [0-9]+ passed/ { on = 0 }
			/^not ok/ && !/# SKIP/ { on = 1 }
			on' "$1" | tail -n 200
	else
		tail -n 40 "$1"
	fi | sed 's/^/    /'
}

# stage NAME COMMAND...: one line; a command that counts no tests is a test itself
stage()
{
	name=$1
	log=$LOGS/$(echo "$name" | tr -c 'a-z0-9\n' -).log
	shift
	[ ! -t 1 ] || printf '%-34s ...\r' "$name"
	t0=$(seconds)
	rc=0
	"$@" >"$log" 2>&1 </dev/null || rc=$?
	t=$(($(seconds) - t0))
	if count "$log"; then
		# a broken end counts even if each finished test was good
		[ $rc = 0 ] || [ "$f" != 0 ] || f=1
		# and so does a stage in which nothing was tested
		[ $((p + f)) != 0 ] || f=1
		text="$p passed, $f failed"
		[ "$s" = 0 ] || text="$text, $s skipped"
	elif [ $rc = 0 ]; then
		p=1 f=0 s=0 text=ok
	else
		p=0 f=1 s=0 text="failed (exit code $rc)"
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%-34s %s, %d s\n' "$name" "$text" "$t"
	if [ "$f" != 0 ]; then
		details "$log"
		{
			grep '^not ok' "$log" | grep -v '# SKIP' || echo "see $log"
		} | sed "s/^/$name: /" >>$LOGS/failed
	fi
	[ "$f" = 0 ]
}

# ---- the stages -------------------------------------------------------------------------------

# not what an outer make was told: this is the same on all machines
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH O SAN V
MAKE="make --no-print-directory -j$(nproc)"

# "make" a second time has nothing to do
twice()
{
	$MAKE "$@" || return
	$MAKE "$@" >$LOGS/again || return
	if grep . $LOGS/again; then
		echo "the lines above come from a make that had nothing to do"
		return 1
	fi
}

# What runs on every machine works with the binary for this one.
native()
{
	twice all && ./realmtool version && ./lkvm --version && ./realmtool help run
}

manuals()
{
	$MAKE man || return
	command -v mandoc >/dev/null || { echo "no mandoc here: not checked"; return 0; }
	for m in man/*.[1-9] build/man/*.[1-9]; do
		mandoc -T lint -W warning "$m" || return
	done
}

# DESTDIR and PREFIX are honoured, and what is installed is what was built
installed()
{
	d=$PWD/$LOGS/root
	$MAKE install DESTDIR="$d" PREFIX=/opt/rt || return
	cmp realmtool "$d/opt/rt/bin/realmtool" &&
		"$d/opt/rt/bin/lkvm" --version &&
		[ -s "$d/opt/rt/share/man/man1/realmtool-run.1" ] &&
		[ -s "$d/opt/rt/share/man/man7/realmtool-emulated.7" ] || return
	for f in configs/*.conf; do
		cmp "$f" "$d/opt/rt/share/doc/realmtool/examples/${f##*/}" || return
	done
	# the unit as systemd reads it, its program in the place it is installed to
	command -v systemd-analyze >/dev/null || { echo "no systemd-analyze here: not checked"; return 0; }
	mkdir -p "$d/units"
	sed "s,=/opt/rt/,=$d/opt/rt/," "$d/opt/rt/lib/systemd/system/realmtool@.service" \
		>"$d/units/realmtool@web.service"
	systemd-analyze verify --man=no "$d/units/realmtool@web.service" >"$d/units/log" 2>&1 ||
		{ cat "$d/units/log"; return 1; }
	# it goes on after what it does not understand
	if grep realmtool@ "$d/units/log"; then
		return 1
	fi
}

# ---- all together -----------------------------------------------------------------------------

begin=$(seconds)
echo "getting what the tests need"
# its words are for the user: a download's progress, the command that only root can give
tests/testbed/deps host build test || exit
{
	tests/testbed/testbed setup && tests/testbed/testbed setup 6.12
} || { echo "0 passed, 1 failed"; exit 1; }

# It takes minutes, and has what the tests leave of the CPUs until the boot tests wait for it.
nice -n 19 tests/testbed/deps kernel 9p >$LOGS/kernel.log 2>&1 </dev/null &

stage "unit tests (ASan, UBSan)" $MAKE unit
if tests/fault/tsan.sh --usable >$LOGS/tsan-usable 2>&1; then
	stage "thread sanitizer" tests/fault/tsan.sh ${long:+--long}
else
	echo "thread sanitizer                   skipped: $(tail -n 1 $LOGS/tsan-usable)"
	skipped=$((skipped + 1))
fi
if sh tests/fuzz/run.sh --usable >$LOGS/fuzz-usable; then
	stage "fuzzing, ten seconds each" $MAKE fuzz-smoke
else
	# without clang what once broke a target is tried all the same
	stage "fuzzing: known inputs only" $MAKE fuzz-replay
fi
if [ -n "$cross" ]; then
	stage "arm64 build" twice all ARCH=arm64
fi
# no library but libfdt; the boot tests run it (payload_only_libfdt)
stage "shrinkwrap contract" tests/shrinkwrap.sh build/only-libfdt
# the last build: ./realmtool shall run here afterwards
stage "build for this machine" native
stage "command lines of lkvm" tests/lkvm/run.sh ./realmtool
stage "measurements recomputed" tests/measure/run.sh
stage "token, checked by openssl" tests/token/check.sh \
	"build/$(uname -m | sed s/aarch64/arm64/)-asan/tests/unit/test_token" ./realmtool
stage "manual pages" manuals
stage "shell completion" bash tests/completion.sh ./realmtool
stage "examples of the manuals" bash tests/man.sh ./realmtool
stage "help, errors, colour" sh tests/terminal.sh ./realmtool
stage "make install" installed
stage "Debian packages" bash tests/deb.sh
stage "scripted boots" tests/fvp/test
stage "rehearsals, and examples for CI" tests/testbed/rehearse-test
if [ -z "$long" ]; then
	# a limit that slow machines keep, too
	stage "boot tests" tests/boot/run --timeout 1800
	if [ -n "${FLASH:-}${HOST_KERNEL:-}" ]; then
		stage "realms on a CCA host in QEMU" tests/testbed/cca
	else
		echo "realms on a CCA host in QEMU       skipped: no firmware (FLASH= and HOST_KERNEL= name it)"
		skipped=$((skipped + 1))
	fi
	if [ -n "${KUT:-}" ]; then
		stage "kvm-unit-tests" tests/kut.sh
	else
		echo "kvm-unit-tests                     skipped: no checkout (KUT= names one)"
		skipped=$((skipped + 1))
	fi
else
	stage "faults at each call" \
		"build/$(uname -m | sed s/aarch64/arm64/)-asan/tests/fault/test_fault" --long
	stage "a UEFI from Debian's source" tests/boot/firmware build
	stage "boot tests, long ones too" tests/boot/run --long --timeout 3600
	stage "all boot tests on Linux 6.12" tests/boot/run --timeout 3600 --kernel 6.12 "*"
fi

if [ -e $LOGS/failed ]; then
	echo "Failed:"
	sed 's/^/  /' $LOGS/failed
fi
echo "logs: $LOGS, build/boot; $(($(seconds) - begin)) s"
[ $((passed + failed)) != 0 ] || failed=1
if [ $skipped = 0 ]; then
	echo "$passed passed, $failed failed"
else
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ $failed = 0 ]
