#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What "make bench" does: realmtool (plain VM, emulated realm) beside Debian's QEMU with KVM, on the
# same host with the same kernel. No time makes it fail, a run that fails does.
#
# From the environment, all optional:
#   BENCH_RUNS=N      rounds of the short measures (default 20); a fourth of that for whole boots
#   BENCH_SECONDS=N   fewer rounds if they would take longer than about that (default 240)
#   LKVM=FILE         an arm64 lkvm: compared as well
#   REALMTOOL=FILE    another arm64 binary than the one built here
#
# Results: build/bench/report.txt, raw.txt beside it; logs of the last runs: build/bench/logs. "make bench"
# makes build/bench/report.html of this and the other measurements.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# not what an outer make was told
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH O SAN V
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/testbed/lib.sh
. "$HERE/../testbed/lib.sh"
# shellcheck source=tests/bench/lib.sh
. "$HERE/lib.sh"

BENCH_RUNS=${BENCH_RUNS:-20}
[[ $BENCH_RUNS =~ ^[1-9][0-9]{0,3}$ ]] || die "BENCH_RUNS=$BENCH_RUNS: a number from 1 to 9999"
BENCH_SECONDS=${BENCH_SECONDS:-240}
[[ $BENCH_SECONDS =~ ^[1-9][0-9]{0,5}$ ]] || die "BENCH_SECONDS=$BENCH_SECONDS: a number of seconds"
for f in "${LKVM:-}" "${REALMTOOL:-}"; do
	[ -z "$f" ] || [ -x "$f" ] || die "$f is no program"
done

"$HERE/../testbed/deps" host build test
"$HERE/../testbed/testbed" setup
"$HERE/../testbed/mkguest"
"$HERE/../testbed/deps" tree qemu qemu-system-arm
"$HERE/../guests/build"
if [ -z "${REALMTOOL:-}" ]; then
	make -s -j"$(nproc)" -C "$TOP" ARCH=arm64 >/dev/null
	REALMTOOL=$BUILD/arm64/realmtool
fi

out=$BUILD/bench
share=$out/share
rm -rf "$out"
mkdir -p "$share"
trap 'rm -rf "$share"' EXIT

cc=aarch64-linux-gnu-gcc
[ "$(uname -m)" != aarch64 ] || cc=gcc
$cc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -o "$share/spawn" "$HERE/spawn.c"

ln -s "$(realpath "$REALMTOOL")" "$share/realmtool"
ln -s "$HERE/inside.sh" "$BUILD/guests/off.flat" "$BUILD/guests/off.Image" \
	"$BED/kernel/default/Image" "$share/"
ln -s "$BED/guest-initrd.cpio" "$share/initrd"
[ -z "${LKVM:-}" ] || ln -s "$(realpath "$LKVM")" "$share/lkvm"

# not all of its packages: the share lies in the host's memory
with_libs qemu usr/bin/qemu-system-aarch64 "$share/q"

load()
{
	cut -d' ' -f1-3 /proc/loadavg
}

before=$(load)
say "measuring, $BENCH_RUNS rounds or about $BENCH_SECONDS s: best without other work on this machine (load: $before)"
rc=0
"$HERE/../testbed/testbed" exec --direct-ok --quiet --timeout $((BENCH_SECONDS * 3 + 300)) \
	--share "$share" --out "$out" -- sh inside.sh "$BENCH_RUNS" "$BENCH_SECONDS" || rc=$?
[ -s "$out/raw" ] || die "no results (exit code $rc)"
mv "$out/raw" "$out/raw.txt"

# QEMU: what plays the host here, if there is no real one
if [ "$(uname -m)" = aarch64 ] && [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
	bed=none
else
	find_qemu
	bed="QEMU $QEMU_VER, software emulation (TCG)"
fi
{
	echo "env.date=$(date -u '+%Y-%m-%d %H:%M UTC')"
	echo "env.machine=$(uname -m), $(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1), $(nproc) CPUs"
	echo "env.commit=$(git -C "$TOP" describe --always --dirty 2>/dev/null || echo unknown)"
	echo "env.bed=$bed"
	echo "env.load_before=$before"
	echo "env.load_after=$(load)"
} >>"$out/raw.txt"

awk -f "$HERE/report.awk" "$out/raw.txt" | tee "$out/report.txt"
echo
"$HERE/measure.sh" | tee -a "$out/report.txt"
echo
"$HERE/report.sh"
[ "$rc" = 0 ] || tell "some runs failed: see above, and $out/logs"
exit "$rc"
