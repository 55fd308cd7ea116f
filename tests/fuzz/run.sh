#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs fuzz targets, two at a time: what once broke a target first (tests/fuzz/regress), then the
# fuzzer, from the seeds and from what earlier runs found. "make fuzz", "make fuzz-smoke", "make
# fuzz-cov" call it.
#
#   run.sh [--seconds N] [--jobs N] [--limit PERCENT] DIR [TARGET...]
#       DIR has the binaries, fuzz_TARGET; no TARGET: all of tests/fuzz/targets
#   run.sh --replay DIR [TARGET...]       only tests/fuzz/regress and the seeds, with any binary
#   run.sh --usable                       exit code 1, and why, if this machine cannot fuzz
#
# Prints per target what became of it, and per file of the target how many lines ran. Below
# DIR/../../fuzz/TARGET: corpus (kept), seeds, crash-* and the like (what broke it), log.
# Last line: "N passed, N failed". Exit code 1 if a target broke, or a file is below the limit.

set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
here=$root/tests/fuzz

# Some kernels place memory where ASan of older compilers cannot cope with it.
fixed=
if setarch -R true 2>/dev/null; then
	fixed="setarch -R"
fi

# a tool of clang's own LLVM
llvm()
{
	dir=$(dirname "$(clang --print-prog-name=llvm-"$1" 2>/dev/null)")
	if [ "$dir" != . ] && [ -x "$dir/llvm-$1" ]; then
		echo "$dir/llvm-$1"
	else
		command -v "llvm-$1"
	fi
}

usable()
{
	need="fuzzing needs clang with libFuzzer: install clang, llvm and libclang-rt-dev, or run"
	need="$need tests/testbed/deps host check"
	if ! command -v clang >/dev/null; then
		echo "no clang: $need"
		return 1
	fi
	f=$(clang --print-runtime-dir 2>/dev/null)/libclang_rt.fuzzer-$(uname -m).a
	g=$(clang --print-runtime-dir 2>/dev/null)/libclang_rt.fuzzer.a
	if [ ! -e "$f" ] && [ ! -e "$g" ]; then
		echo "clang has no libFuzzer: $need"
		return 1
	fi
	llvm cov >/dev/null || { echo "no llvm-cov: $need"; return 1; }
}

# table: NAME FILE... on one line each
table()
{
	awk '/^#/ || NF == 0 { next }
		/^[[:blank:]]/ { line = line " " $0; next }
		{ if (line) print line; line = $0 }
		END { if (line) print line }' "$here/targets"
}

# seeds TARGET BINARY DIRECTORY
seeds()
{
	rm -rf "$3"
	mkdir -p "$3" || return
	FUZZ_SEEDS=$3 $fixed "$2" >/dev/null || return
	[ ! -e "$here/seeds.sh" ] || (cd "$root" && sh "$here/seeds.sh" "$1" "$3") || return
	# without one, the fuzzer begins with nothing
	[ -n "$(ls "$3")" ] || : >"$3/empty"
}

# regress TARGET DIRECTORY: what once broke it, from hexadecimal text with comments
regress()
{
	rm -rf "$2"
	mkdir -p "$2"
	for f in "$here/regress/$1"/*.hex; do
		[ -e "$f" ] || continue
		name=${f##*/}
		perl -ne 's/#.*//; s/\s//g; print pack("H*", $_)' "$f" >"$2/${name%.hex}" || return
	done
}

# cover TARGET BINARY DIRECTORY: a line per file of the target: FILE LINES RAN
cover()
{
	"$(llvm profdata)" merge -sparse -o "$3/cov" "$3"/*.profraw || return
	rm -f "$3"/*.profraw
	set -- "$1" "$2" "$3" "$(table | sed -n "s/^${1}[[:blank:]]*//p")"
	"$(llvm cov)" export -format=lcov -summary-only -instr-profile="$3/cov" "$2" >"$3/lcov" || return
	for f in $4; do
		awk -v want="$f" '
			BEGIN { path = want; sub(/^\+/, "", path) }
			/^SF:/ { name = substr($0, 4); n = length(name) - length(path)
				on = n >= 0 && substr(name, n + 1) == path }
			on && /^LF:/ { found = substr($0, 4) }
			on && /^LH:/ { print want, found, substr($0, 4); seen = 1 }
			END { if (!seen) print want, 0, 0 }' "$3/lcov"
	done
}

# report: from the lines of cover(), the same as a table; fails below the limit
report()
{
	awk -v limit="$limit" '
		{
			p = $2 ? 100 * $3 / $2 : 0
			low = p < limit && $1 !~ /^\+/
			bad += low
			sub(/^\+/, "", $1)
			printf "    %-28s %5d lines %6.1f %%%s\n", $1, $2, p, low ? "  below " limit " %" : ""
		}
		END { exit bad != 0 }' "$1"
}

# one TARGET: the whole of it; the result is the last line of its report
one()
{
	bin=$dir/fuzz_$1
	out=$work/$1
	mkdir -p "$out/corpus"
	rm -f "$out"/*.profraw "$out/result" "$out/files"
	if [ ! -x "$bin" ]; then
		echo "$1: no $bin" >"$out/result"
		return 1
	fi
	if ! seeds "$1" "$bin" "$out/seeds" >"$out/log" 2>&1 || ! regress "$1" "$out/regress" >>"$out/log" 2>&1; then
		printf '%-12s its seeds cannot be made: %s\n' "$1" "$out/log" >"$out/result"
		return 1
	fi
	if [ -n "$replay" ]; then
		if timeout 300 $fixed "$bin" "$out/regress" "$out/seeds" >>"$out/log" 2>&1; then
			printf '%-12s %5d inputs\n' "$1" "$(find "$out/regress" "$out/seeds" -type f | wc -l)" \
				>"$out/result"
			return
		fi
		{ printf '%-12s BROKEN\n' "$1"; tail -n 40 "$out/log"; } >"$out/result"
		return 1
	fi
	if [ -n "$(ls "$out/regress")" ] &&
	   ! LLVM_PROFILE_FILE=$out/old.profraw $fixed "$bin" -timeout=60 "$out"/regress/* >>"$out/log" 2>&1; then
		{ printf '%-12s BROKEN by an input that broke it once\n' "$1"; tail -n 40 "$out/log"; } \
			>"$out/result"
		return 1
	fi
	options=$(grep -v "^#" "$here/$1.opt" 2>/dev/null)
	# twice the time, and then some: a target that hangs is an error too
	# shellcheck disable=SC2086 # a list of options
	TMPDIR=$out LLVM_PROFILE_FILE=$out/new.profraw timeout -k 5 $((2 * seconds + 120)) \
		$fixed "$bin" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=1536 -print_final_stats=1 \
		-verbosity=1 -artifact_prefix="$out/" $options \
		"$out/corpus" "$out/seeds" >>"$out/log" 2>&1
	rc=$?
	if [ $rc != 0 ]; then
		{ printf '%-12s BROKEN (exit code %d), see %s\n' "$1" $rc "$out"
		  grep -vE '^(#[0-9]+\s|INFO:|NEW_FUNC)' "$out/log" | tail -n 60; } >"$out/result"
		return 1
	fi
	execs=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$out/log")
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/log")
	printf '%-12s %9d runs, %6d per s, %5d inputs\n' "$1" "$runs" "$execs" \
		"$(find "$out/corpus" -type f | wc -l)" >"$out/result"
	cover "$1" "$bin" "$out" >"$out/files" 2>>"$out/log" || { echo "no coverage" >>"$out/result"; return 1; }
	report "$out/files" >>"$out/result"
}

seconds=60 jobs=2 limit=0 replay=
while [ $# -gt 0 ]; do
	case $1 in
	--seconds) seconds=$2; shift ;;
	--jobs) jobs=$2; shift ;;
	--limit) limit=$2; shift ;;
	--replay) replay=1 ;;
	--usable) usable; exit ;;
	--one) only=$2; shift ;;
	--*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	*) break ;;
	esac
	shift
done
[ $# -gt 0 ] || { "$0" --help; exit 2; }
dir=$(cd "$1" && pwd) || exit 1
shift
work=$(cd "$dir/../.." && pwd)/fuzz
if [ -n "${only:-}" ]; then
	one "$only"
	rc=$?
	# a report is written at once, so that two do not mix
	cat "$work/$only/result"
	echo "$rc" >"$work/$only/rc"
	exit
fi

# shellcheck disable=SC2046 # names without blanks
[ $# -gt 0 ] || set -- $(table | awk '{ print $1 }')
for t; do
	table | grep -q "^${t}[[:blank:]]" || { echo "no target \"$t\" in tests/fuzz/targets"; exit 2; }
	rm -f "$work/$t/rc"
done
printf '%s\n' "$@" | xargs -P "$jobs" -I @ sh "$here/run.sh" --seconds "$seconds" --limit "$limit" \
	${replay:+--replay} --one @ "$dir"
pass=0 fail=0
for t; do
	if [ "$(cat "$work/$t/rc" 2>/dev/null)" = 0 ]; then
		pass=$((pass + 1))
	else
		fail=$((fail + 1))
	fi
done
echo "$pass passed, $fail failed"
[ $fail = 0 ]
