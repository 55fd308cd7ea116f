#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvm-unit-tests with realmtool as their lkvm, by their own runner, in the test bed: make kut KUT=DIR.
#
#   kut.sh [OPTION of run_tests.sh...] [TEST...]
#
# KUT is a checkout, configured and built:
#
#   ./configure --arch=arm64 --target=kvmtool --cross-prefix=aarch64-linux-gnu- && make
#
# Nothing is written to it. Without KUT nothing is tested. A line per test, the logs are in build/kut;
# the last line is "N passed, N failed[, N skipped]". A test that fails is a failure unless
# tests/kut.expected names it.

set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/testbed/lib.sh
. "$HERE/testbed/lib.sh"

if [ -z "${KUT:-}" ]; then
	echo "skipped: KUT= names no checkout of kvm-unit-tests"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi
[ -e "$KUT/config.mak" ] || die "KUT=$KUT: no config.mak: run ./configure --arch=arm64 --target=kvmtool"
for want in TARGET=kvmtool ARCH=arm64; do
	grep -qx "$want" "$KUT/config.mak" || die "KUT=$KUT is not configured with $want"
done
[ -e "$KUT/arm/selftest.flat" ] || die "KUT=$KUT: no arm/selftest.flat: run make there"
bin=${REALMTOOL:-$BUILD/arm64/realmtool}
[ -x "$bin" ] || die "no $bin: run \"make ARCH=arm64\" first"

# their runner needs more than a busybox
"$HERE/testbed/deps" tree kut bash util-linux coreutils libc-bin
out=$BUILD/kut
share=$(mktemp -d "$BED/.kut.XXXXXX")
trap 'rm -rf "$share"' EXIT
rm -rf "$out"
mkdir -p "$out" "$share/bin" "$share/lib" "$share/kut/arm"
tree=$BED/tree/kut/usr
for b in bash getopt timeout getconf; do
	cp -L "$tree/bin/$b" "$share/bin/"
done
for l in ld-linux-aarch64.so.1 libc.so.6 libtinfo.so.6; do
	cp -L "$(find "$tree/lib" -name "$l" | head -n 1)" "$share/lib/"
done
cp -L "$bin" "$share/bin/lkvm"
cp -r "$KUT/scripts" "$KUT/run_tests.sh" "$share/kut/"
for f in errata.txt build-head; do
	[ ! -e "$KUT/$f" ] || cp "$KUT/$f" "$share/kut/"
done
cp "$KUT"/arm/*.flat "$KUT/arm/unittests.cfg" "$KUT/arm/run" "$share/kut/arm/"
# what was true of the machine that built it
sed -e 's/^HOST=.*/HOST=aarch64/' -e 's/^PRETTY_PRINT_STACKS=.*/PRETTY_PRINT_STACKS=no/' \
	-e 's,^ERRATATXT=.*,ERRATATXT=errata.txt,' -e 's,^SRCDIR=.*,SRCDIR=.,' \
	"$KUT/config.mak" >"$share/kut/config.mak"
cat >"$share/inside" <<'END'
mkdir -p /lib /usr/bin
cp -r lib /lib/aarch64-linux-gnu
ln -s aarch64-linux-gnu/ld-linux-aarch64.so.1 /lib/ld-linux-aarch64.so.1
export PATH=/share/bin:$PATH KVMTOOL=/share/bin/lkvm
cd kut || exit
# its-trigger needs 4 CPUs
rc=0
bash ./run_tests.sh "$@" || rc=$?
cp -r logs ../out/
exit $rc
END

# its-trigger needs 4 CPUs
rc=0
"$HERE/testbed/testbed" exec --quiet --smp 4 --share "$share" --out "$out" --timeout "${KUT_TIMEOUT:-1200}" -- \
	sh ./inside "$@" | tr -d '\r' | sed 's/\x1b\[[0-9]*m//g' | tee "$out/results" || rc=$?
passed=$(grep -c '^PASS ' "$out/results" || true)
skipped=$(grep -c '^SKIP ' "$out/results" || true)
failed=0
while read -r _ name _; do
	if grep -qx "${name}[[:space:]].*" "$HERE/kut.expected"; then
		skipped=$((skipped + 1))
		echo "$name: known to fail here: $(sed -n "s/^${name}[[:space:]]*//p" "$HERE/kut.expected")"
	else
		failed=$((failed + 1))
	fi
done < <(grep '^FAIL ' "$out/results")
[ "$((passed + skipped + failed))" != 0 ] || { echo "the runner ran nothing (exit code $rc)"; failed=1; }
if [ "$skipped" = 0 ]; then
	echo "$passed passed, $failed failed"
else
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ "$failed" = 0 ] && [ "$passed" != 0 ]
