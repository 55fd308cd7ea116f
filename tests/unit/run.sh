#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs each unit test program of a folder and counts its tests. Usage: run.sh FOLDER
# Last line: "N passed, N failed". Exit code 1 if one failed or none ran.
dir=$1
pass=0 fail=0
for t in "$dir"/test_*; do
	case $t in *.o|*.d) continue ;; esac
	[ -x "$t" ] || continue
	out=$(CMOCKA_MESSAGE_OUTPUT=TAP timeout 300 "$t" 2>&1)
	rc=$?
	p=$(printf '%s\n' "$out" | grep -c '^ok ')
	f=$(printf '%s\n' "$out" | grep -c '^not ok ')
	# A crash or a sanitizer report fails the program even if each finished test was ok.
	if [ $rc -ne 0 ] && [ "$f" -eq 0 ]; then
		f=1
	fi
	if [ "$f" -ne 0 ] || [ "$p" -eq 0 ]; then
		printf '%s\n' "$out"
		[ "$p" -eq 0 ] && [ "$f" -eq 0 ] && f=1
	fi
	printf '%s: %d passed, %d failed\n' "${t##*/}" "$p" "$f"
	pass=$((pass + p)) fail=$((fail + f))
done
[ "$pass" -gt 0 ] || fail=$((fail + 1))
echo "$pass passed, $fail failed"
[ "$fail" -eq 0 ]
