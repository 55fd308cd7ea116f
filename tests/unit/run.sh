#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs each unit test program of a folder, and the conformance driver beside it, and counts their tests.
# Usage: run.sh FOLDER
# Last line: "N passed, N failed[, N skipped]". Exit code 1 if one failed or none ran.
dir=$1
pass=0 fail=0 skip=0
for t in "$dir"/test_* "$dir"/../conformance/conformance; do
	case $t in *.o|*.d) continue ;; esac
	[ -x "$t" ] || continue
	out=$(CMOCKA_MESSAGE_OUTPUT=TAP timeout 600 "$t" 2>&1)
	rc=$?
	# cmocka 1.1.5 writes "not ok N # SKIP name"
	s=$(printf '%s\n' "$out" | grep -cE '^(not )?ok .*# SKIP')
	p=$(printf '%s\n' "$out" | grep '^ok ' | grep -vc '# SKIP')
	f=$(printf '%s\n' "$out" | grep '^not ok ' | grep -vc '# SKIP')
	# A crash or a sanitizer report fails the program even if each finished test was ok.
	if [ $rc -ne 0 ] && [ "$f" -eq 0 ]; then
		f=1
		out="$out
not ok - ${t##*/}: exit code $rc after the last line above (124: it took too long)"
	fi
	if [ "$f" -ne 0 ] || [ "$p" -eq 0 ]; then
		printf '%s\n' "$out"
		[ "$p" -eq 0 ] && [ "$f" -eq 0 ] && f=1
	fi
	printf '%s: %d passed, %d failed\n' "${t##*/}" "$p" "$f"
	pass=$((pass + p)) fail=$((fail + f)) skip=$((skip + s))
done
[ "$pass" -gt 0 ] || fail=$((fail + 1))
if [ "$skip" -eq 0 ]; then
	echo "$pass passed, $fail failed"
else
	echo "$pass passed, $fail failed, $skip skipped"
fi
[ "$fail" -eq 0 ]
