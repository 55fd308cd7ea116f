#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of "make bench" about virtio: a disk (fio) and a network device (iperf3, requests and
# answers) of realmtool beside those of Debian's QEMU with KVM: same host, same kernel, same guest, in
# one run. No figure makes it fail, a run that fails does.
#
# From the environment, all optional:
#   BENCH_IO_SECONDS=N  for each job in the guest (default 3)
#   BENCH_IO=WORDS      which runs: blk:WHO and net:WHO, WHO as in the report
#   REALMTOOL=FILE      another arm64 binary than the one built here
#
# Results: build/bench-io/report.txt, build/bench-io/raw.txt; logs: build/bench-io/logs.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH O SAN V
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/testbed/lib.sh
. "$HERE/../testbed/lib.sh"
# shellcheck source=tests/bench/lib.sh
. "$HERE/lib.sh"

seconds=${BENCH_IO_SECONDS:-3}
[[ $seconds =~ ^[1-9][0-9]?$ ]] || die "BENCH_IO_SECONDS=$seconds: a number from 1 to 99"
what=${BENCH_IO:-blk:qemu blk:plain blk:plain-mmio blk:realm blk:realm-mmio blk:plain-packed
	net:qemu net:plain net:realm net:qemu-vhost net:plain-vhost net:realm-vhost}

"$HERE/../testbed/deps" host build test
"$HERE/../testbed/testbed" setup
for t in "qemu qemu-system-arm" "fio fio" "iperf3 iperf3"; do
	# shellcheck disable=SC2086
	"$HERE/../testbed/deps" tree $t
done
if [ -z "${REALMTOOL:-}" ]; then
	make -s -j"$(nproc)" -C "$TOP" ARCH=arm64 >/dev/null
	REALMTOOL=$BUILD/arm64/realmtool
fi

out=$BUILD/bench-io
share=$out/share
rm -rf "$out"
mkdir -p "$share" "$out/fio" "$out/net"
trap 'rm -rf "$share" "$out/fio" "$out/net"' EXIT

cc=aarch64-linux-gnu-gcc
[ "$(uname -m)" != aarch64 ] || cc=gcc
for p in vmstat pingpong; do
	$cc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -o "$share/$p" "$HERE/$p.c"
done
with_libs qemu usr/bin/qemu-system-aarch64 "$share/q"
with_libs fio usr/bin/fio "$out/fio"
with_libs iperf3 usr/bin/iperf3 "$out/net"
cp "$share/pingpong" "$out/net/"
"$HERE/../testbed/mkguest" --out "$share/initrd-fio" --add "$out/fio:fio" \
	--add "$HERE/guest/fio:tests/fio"
"$HERE/../testbed/mkguest" --out "$share/initrd-net" --add "$out/net:net" \
	--add "$HERE/guest/net:tests/net"
ln -s "$out/net" "$share/net"
ln -s "$(realpath "$REALMTOOL")" "$share/realmtool"
ln -s "$HERE/io-inside.sh" "$(kernel_dir default)/Image" "$share/"

say "measuring disk and network, about $(($(wc -w <<<"$what") * (seconds * 7 + 30))) s"
rc=0
"$HERE/../testbed/testbed" exec --direct-ok --quiet --mem 4096 \
	--timeout $(($(wc -w <<<"$what") * 310 + 60)) --share "$share" --out "$out" -- \
	sh io-inside.sh "$seconds" "$what" || rc=$?
[ -s "$out/raw" ] || die "no results (exit code $rc)"
mv "$out/raw" "$out/raw.txt"
awk -f "$HERE/io.awk" "$out/raw.txt" | tee "$out/report.txt"
[ "$rc" = 0 ] || tell "some runs failed: see above, and $out/logs"
exit "$rc"
