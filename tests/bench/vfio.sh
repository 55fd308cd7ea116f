#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of "make bench" about device assignment, on a host with an SMMU in software: an nvme in a
# guest beside the same nvme in its host, in one run; the time that sharing memory takes with a
# device and without; how much memory a realm with a device pins. No figure makes it fail, a run
# that fails does.
#
#   BENCH_IO_SECONDS=N  for each kind of request (default 3)
#   REALMTOOL=FILE      another arm64 binary than the one built here
#
# Results: build/bench-vfio/report.txt, build/bench-vfio/raw.txt; logs: build/bench-vfio/logs.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH O SAN V
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/testbed/lib.sh
. "$HERE/../testbed/lib.sh"

seconds=${BENCH_IO_SECONDS:-3}
[[ $seconds =~ ^[1-9][0-9]?$ ]] || die "BENCH_IO_SECONDS=$seconds: a number from 1 to 99"

"$HERE/../testbed/deps" host build test
"$HERE/../testbed/deps" kernel 9p
"$HERE/../guests/build" "$BUILD/guests"
if [ -z "${REALMTOOL:-}" ]; then
	"$HERE/../testbed/deps" sysroot
	make -s -j"$(nproc)" -C "$TOP" ARCH=arm64 >/dev/null
	REALMTOOL=$BUILD/arm64/realmtool
fi

out=$BUILD/bench-vfio
share=$out/share
rm -rf "$out"
mkdir -p "$share"
trap 'rm -rf "$share"' EXIT

cc=aarch64-linux-gnu-gcc
[ "$(uname -m)" != aarch64 ] || cc=gcc
$cc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -pthread -o "$share/iops" "$HERE/iops.c"
"$HERE/../testbed/mkguest" --kernel 9p --out "$share/initrd" --add "$share/iops:bin/iops" \
	--add "$HERE/guest/nvme:tests/nvme"
ln -s "$(realpath "$REALMTOOL")" "$share/realmtool"
ln -s "$HERE/vfio-inside.sh" "$HERE/guest/nvme" "$BUILD/guests/convert.flat" \
	"$(kernel_dir 9p)/Image" "$share/"

say "measuring device assignment, about $((60 + 15 * seconds)) s"
rc=0
"$HERE/../testbed/testbed" exec --quiet --kernel 9p --mem 4096 --vfio "$out/disks" --timeout 1500 \
	--share "$share" --out "$out" -- sh vfio-inside.sh "$seconds" || rc=$?
rm -rf "$out/disks"
[ -s "$out/raw" ] || die "no results (exit code $rc)"
mv "$out/raw" "$out/raw.txt"
awk -F= '
	{ v[$1] = $2 }
	function fig(k) { return (k in v) ? v[k] : "-" }
	function ratio(a, b) { return (a in v) && v[b] > 0 ? sprintf("%.2f", v[a] / v[b]) : "-" }
	END {
		printf "realmtool %s, Linux %s, %s CPUs in software\n", v["env.realmtool"],
			v["env.kernel"], v["env.cpus"]
		printf "\nrequests of 4 KiB per second, nvme\n%-20s %9s %9s %9s %9s %9s\n", "", "host",
			"plain", "/ host", "realm", "/ host"
		n = split("read-1 write-1 read-16 write-16", job, " ")
		for (i = 1; i <= n; i++)
			printf "%-20s %9s %9s %9s %9s %9s\n", job[i], fig("host." job[i]),
				fig("plain." job[i]), ratio("plain." job[i], "host." job[i]),
				fig("realm." job[i]), ratio("realm." job[i], "host." job[i])
		n = split("first_share first_take one_share one_take many_share many_take", job, " ")
		m = split("none iommufd group static", who, " ")
		printf "\n64 MiB, milliseconds   no device   iommufd     group    static\n"
		for (i = 1; i <= n; i++) {
			printf "%-20s", job[i]
			for (j = 1; j <= m; j++) {
				k = who[j] "." job[i]
				printf " %10s", (k in v) ? sprintf("%.1f", v[k] / 1000) : "-"
			}
			printf "\n"
		}
		printf "one: in one piece; many: in pieces of 4 KiB; first: pages that nobody used before\n"
		printf "\nmemory pinned for the realm with the nvme: %s bytes, shared: %s bytes, ratio %s\n",
			fig("realm.pinned"), fig("realm.shared"),
			ratio("realm.pinned", "realm.shared")
	}' "$out/raw.txt" | tee "$out/report.txt"
[ "$rc" = 0 ] || tell "some runs failed: see above, and $out/logs"
exit "$rc"
