#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs each unit test program of a folder, and the conformance driver beside it, and counts their tests.
# Usage: run.sh FOLDER
# Last line: "N passed, N failed[, N skipped]". Exit code 1 if one failed or none ran.

# what run.sh has started: one program, its output and exit code into files
if [ "$1" = --one ]; then
	CMOCKA_MESSAGE_OUTPUT=TAP timeout 600 "$3" >"$2/${3##*/}.out" 2>&1
	echo $? >"$2/${3##*/}.rc"
	exit 0
fi

dir=$1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM HUP

# the one that takes longest comes first; more at a time than there are CPUs, as many wait for timers
for t in "$dir"/../conformance/conformance "$dir"/../fault/test_fault "$dir"/test_*; do
	case $t in *.o|*.d) continue ;; esac
	[ ! -x "$t" ] || echo "$t"
done >"$tmp/list"
xargs -P $((2 * $(nproc))) -n 1 sh "$0" --one "$tmp" <"$tmp/list"

pass=0 fail=0 skip=0
while read -r t; do
	out=$tmp/${t##*/}.out
	rc=$(cat "$tmp/${t##*/}.rc" 2>/dev/null || echo none)
	# cmocka 1.1.5 writes "not ok N # SKIP name"
	s=$(grep -cE '^(not )?ok .*# SKIP' "$out")
	p=$(grep '^ok ' "$out" | grep -vc '# SKIP')
	f=$(grep '^not ok ' "$out" | grep -vc '# SKIP')
	# A crash or a sanitizer report fails the program even if each finished test was ok.
	if [ "$rc" != 0 ] && [ "$f" -eq 0 ]; then
		f=1
		echo "not ok - ${t##*/}: exit code $rc after the last line above (124: it took too long)" >>"$out"
	fi
	if [ "$f" -ne 0 ] || [ "$p" -eq 0 ]; then
		cat "$out"
		[ "$p" -eq 0 ] && [ "$f" -eq 0 ] && f=1
	fi
	printf '%s: %d passed, %d failed\n' "${t##*/}" "$p" "$f"
	pass=$((pass + p)) fail=$((fail + f)) skip=$((skip + s))
done <"$tmp/list"
[ "$pass" -gt 0 ] || fail=$((fail + 1))
if [ "$skip" -eq 0 ]; then
	echo "$pass passed, $fail failed"
else
	echo "$pass passed, $fail failed, $skip skipped"
fi
[ "$fail" -eq 0 ]
