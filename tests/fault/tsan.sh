#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Devices, conversions and whole sessions under the thread sanitizer: tsan.sh [--usable | --long]
#
# --usable: says why not and fails where it does not run.
# The load: the conformance driver's tests with several vCPUs, and guests on the model of KVM that use
# all devices and change the sides of pages while a disk works. --long: all that has threads.
# Last line: "N passed, N failed". Exit code 1 if one failed.

set -u
cd "$(dirname "$0")/../.." || exit 1

# It knows where programs lie, and some kernels put them elsewhere at random (vm.mmap_rnd_bits).
tmp=$(mktemp -d) || exit
trap 'rm -rf "$tmp"' EXIT
echo 'int main(void) { return 0; }' >"$tmp/t.c"
"${CC:-gcc}" -fsanitize=thread -o "$tmp/t" "$tmp/t.c" || exit
fixed=
if ! "$tmp/t" 2>"$tmp/why"; then
	if ! setarch -R "$tmp/t" 2>/dev/null; then
		cat "$tmp/why"
		echo "the thread sanitizer does not run here: sysctl vm.mmap_rnd_bits=28 may help"
		exit 1
	fi
	fixed="setarch -R"
fi
[ "${1:-}" != --usable ] || exit 0

dir=${O:-build/$(uname -m | sed s/aarch64/arm64/)-tsan}/tests
programs="conformance/conformance fault/test_fault"
long="machine rmi realm_dma session control iothreads virtio_blk_mq vq_stress trace"
if [ "${1:-}" = --long ]; then
	for t in $long; do
		programs="$programs unit/test_$t"
	done
fi
# shellcheck disable=SC2046 # words
${MAKE:-make} --no-print-directory -j"$(nproc)" SAN=tsan ${O:+O="$O"} \
	$(for p in $programs; do echo "$dir/$p"; done) || exit

export TSAN_OPTIONS="suppressions=$PWD/tests/check/tsan.supp history_size=4"
passed=0 failed=0

# one PROGRAM [ARG...]: a report of the sanitizer fails it, too (exit code 66)
one()
{
	program=$dir/$1
	shift
	# shellcheck disable=SC2086 # two words or none
	if timeout 900 $fixed "$program" "$@"; then
		passed=$((passed + 1))
	else
		echo "not ok - $program $*: exit code $?"
		failed=$((failed + 1))
	fi
}

one conformance/conformance '*race*'
one fault/test_fault conversions
for config in vm emulated gdb pci passt realm-d; do
	one fault/test_fault $config short
done
if [ "${1:-}" = --long ]; then
	one conformance/conformance
	for t in $long; do
		one unit/test_"$t"
	done
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
