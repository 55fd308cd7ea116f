#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# How fast "realmtool measure" is, on this machine: the whole program from start to exit, beside what
# one core hashes in the same time. No time makes it fail, a run that fails does.
#
#   measure.sh [REALMTOOL]
#
# REALMTOOL: binary for this machine (build/ARCH/realmtool). From the environment: BENCH_RUNS=N
# rounds (default 20), of which the median counts, because other work on the machine makes some slow.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
cd "$(dirname "$0")/../.."
HERE=tests/bench
REALMTOOL=${1:-build/$(uname -m | sed s/aarch64/arm64/)/realmtool}
BENCH_RUNS=${BENCH_RUNS:-20}
[[ $BENCH_RUNS =~ ^[1-9][0-9]{0,3}$ ]] || { echo "BENCH_RUNS=$BENCH_RUNS: a number from 1 to 9999" >&2; exit 2; }
[ -x "$REALMTOOL" ] || { echo "$REALMTOOL is no program: run make" >&2; exit 2; }

T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o "$T/sha" $HERE/sha.c -lcrypto
{ printf '\0\0\0\24'; head -c 1020 /dev/zero; } >"$T/tiny"
cpus=$(nproc)
first=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
TIMEFORMAT='%U %S'

# runs ARGS...: of each run the microseconds, and those of CPU time; sorted
runs()
{
	local i t cpu
	for ((i = 0; i < BENCH_RUNS; i++)); do
		t=${EPOCHREALTIME/./}
		cpu=$({ time "$REALMTOOL" measure "$@" >/dev/null; } 2>&1) || return
		echo $((${EPOCHREALTIME/./} - t)) "$cpu"
	done | awk '{ print $1, ($2 + $3) * 1e6 }' | sort -n
}

cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
echo "realmtool measure: $cpus CPUs, $cpu; load $(cut -d' ' -f1-3 /proc/loadavg)"
echo
cat <<END
MiB/s of measure, beside $cpus times what one core hashes: of bytes in a cache (as openssl speed), of the file.
The last columns are from CPU time: on a machine with other work to do they say more.

                     median    best     cache    file   median / cache, file   CPU time: / cache, file
END
head -c $((256 * 1048576)) /dev/urandom >"$T/256"
head -c $((64 * 1048576)) "$T/256" >"$T/64"
for algo in sha256 sha512; do
	for size in 64 256; do
		runs --realm -m 1024 -k "$T/tiny" -i "$T/$size" --measurement-algo $algo >"$T/runs"
		{
			taskset -c "$first" "$T/sha" $algo "$T/$size" 1
			cat "$T/runs"
		} | awk -v size=$size -v cpus="$cpus" -v algo=$algo '
			function mib(us) { return size / us * 1e6 }
			NR == 1 { cache = cpus * $1 / 1048576; file = cpus * $2 / 1048576; next }
			{ us[++n] = $1; if (!cpu || $2 < cpu) cpu = $2 }
			END {
				m = mib(us[int((n + 1) / 2)])
				c = cpus * mib(cpu)
				printf "  %s, %3d MiB %7.0f %7.0f %9.0f %7.0f %14.0f %% %5.0f %% %15.0f %% %5.0f %%\n",
					algo, size, m, mib(us[1]), cache, file,
					100 * m / cache, 100 * m / file, 100 * c / cache, 100 * c / file
			}'
	done
done

head -c $((30 * 1048576)) "$T/256" >"$T/initrd"
{ printf '\0\0\0\24'; head -c $((10 * 1048576)) "$T/256"; } >"$T/kernel"
echo
runs --realm -m 1024 -k "$T/kernel" -i "$T/initrd" | awk '
	{ us[NR] = $1 }
	END { printf "a kernel and an initrd of 40 MiB, ms: median %.1f, best %.1f (target: 50)\n",
		us[int((NR + 1) / 2)] / 1000, us[1] / 1000 }'
