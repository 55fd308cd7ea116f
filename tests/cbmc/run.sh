#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Proofs with CBMC, a bounded model checker: for all values, not for some. What is proved stands in
# the harness_*() of the files here; each loop is unwound as often as it can run, and that this was
# enough is proved too.
#
#   tests/cbmc/run.sh [--seeded] [PATTERN...]    PATTERN: FILE or FILE.HARNESS
#
#   --seeded     with a bug in the source for each (tests/cbmc/proofs): all must be found
#   --usable     is there a cbmc? The reason if not
#
# cbmc is CBMC= or the one that "tests/testbed/deps cbmc" unpacked. Last line: "N passed, N failed".

set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$HERE/../testbed/lib.sh"
CBMC=${CBMC:-$BED/cbmc/cbmc}
LIMIT=${LIMIT:-120}		# seconds for one proof; none takes that long on an idle machine

seeded=''
case ${1:-} in
--usable)
	"$CBMC" --version >/dev/null 2>&1 || { echo "no cbmc (tests/testbed/deps cbmc)"; exit 1; }
	exit ;;
--seeded) seeded=1; shift ;;
-*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
"$0" --usable >&2 || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$TOP" || exit 1

wanted()
{
	local p
	[ $# -gt 1 ] || return 0
	for p in "${@:2}"; do
		# shellcheck disable=SC2254 # a pattern
		case $1 in $p | $p.*) return 0 ;; esac
	done
	return 1
}

# prove FILE HARNESS UNWIND DIR: DIR has sources that come before ours
prove()
{
	timeout "$LIMIT" "$CBMC" -I "$4" -I . -D_GNU_SOURCE --object-bits 12 --function "harness_$2" \
		--unwind "$3" --unwinding-assertions --verbosity 4 "tests/cbmc/$1.c" >"$4/log" 2>&1
}

# one FILE HARNESS UNWIND [SOURCE SED]: CBMC ends with 0 if all holds, with 10 if something does not
one()
{
	local name=$1.$2 dir rc
	dir=$(mktemp -d "$tmp/p.XXXXXX")
	if [ -n "${4:-}" ]; then
		mkdir -p "$dir/$(dirname "$4")"
		sed "$5" "$4" >"$dir/$4"
		if cmp -s "$4" "$dir/$4"; then
			echo "not ok - $name: the bug \"$5\" changes nothing in $4"
			return
		fi
		prove "$1" "$2" "$3" "$dir"
		rc=$?
		if [ $rc = 10 ]; then
			echo "ok - $name finds $5"
		else
			echo "not ok - $name does not find $5 (exit code $rc)"
			tail -n 5 "$dir/log" | sed 's/^/# /'
		fi
		return
	fi
	prove "$1" "$2" "$3" "$dir"
	rc=$?
	if [ $rc = 0 ]; then
		echo "ok - $name"
	else
		echo "not ok - $name (exit code $rc)"
		grep -E 'FAILURE|ERROR|rror:' "$dir/log" | head -n 10 | sed 's/^/# /'
	fi
}

while IFS=$'\t' read -r file harness unwind source bug; do
	case $file in '' | '#'*) continue ;; esac
	wanted "$file.$harness" "$@" || continue
	[ -n "$seeded" ] || source=''
	while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do
		sleep 0.1
	done
	one "$file" "$harness" "$unwind" "$source" "$bug" &
done <"$HERE/proofs" >"$tmp/tap"
wait
cat "$tmp/tap"
failed=$(grep -c '^not ok' "$tmp/tap")
echo "$(grep -c '^ok' "$tmp/tap") passed, $failed failed"
[ "$failed" = 0 ] && grep -q '^ok' "$tmp/tap"
