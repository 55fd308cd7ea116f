#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Measurements: random plans and whole command lines recomputed by tests/measure/recompute.pl from
# the formulas alone; what must not change the measurement does not, what must does.
#
#   run.sh [REALMTOOL [TEST_MEASURE]]
#
# REALMTOOL: binary for this machine (./realmtool); TEST_MEASURE: the unit test that makes the random
# plans (that of the unit tests' build). From the environment: COUNT, SEED: how many plans, and which.
# Last line: "N passed, N failed[, N skipped]".

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -u
cd "$(dirname "$0")/../.." || exit 1
TOP=$PWD
arch=$(uname -m | sed s/aarch64/arm64/)
REALMTOOL=$(realpath "${1:-./realmtool}") || exit 1
UNIT=$(realpath "${2:-build/$arch-asan/tests/unit/test_measure}") || exit 1
COUNT=${COUNT:-300}
SEED=${SEED:-$(date +%s)}

T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
chmod 755 "$T"
passed=0 failed=0 skipped=0

ok() { passed=$((passed + 1)); echo "ok - $1"; }
bad() { failed=$((failed + 1)); echo "not ok - $1"; [ $# = 1 ] || printf '%s\n' "${@:2}" | sed 's/^/    /'; }
skip() { skipped=$((skipped + 1)); echo "ok - $1 # SKIP $2"; }

# recompute NAME FILE
recompute()
{
	local out
	if out=$(perl "$TOP/tests/measure/recompute.pl" "$2" 2>&1); then
		ok "$1 (${out##*$'\n'})"
	else
		bad "$1" "$out"
	fi
}

if ! perl -MDigest::SHA -e 1 2>/dev/null; then
	echo "perl has no Digest::SHA here: install the package perl"
	exit 1
fi

# ---- random plans ---------------------------------------------------------------------------------

mkdir "$T/plans"
if "$UNIT" --plans "$T/plans" "$COUNT" "$SEED"; then
	recompute "random plans, SEED=$SEED" "$T/plans/plans"
else
	bad "random plans, SEED=$SEED: not written"
fi
rm -rf "$T/plans"

# ---- whole command lines --------------------------------------------------------------------------

# a kernel without a header: its first instruction is a branch; and something for an initrd
{ printf '\0\0\0\24'; seq 1 60000; } >"$T/kernel"
seq 70000 99999 >"$T/initrd"
truncate -s 1M "$T/disk"
chmod 644 "$T"/*

# the text of "measure -v" and the files it measured -> what recompute.pl reads
to_plan()
{
	awk -v dir="$T" '
		function param(k, v) { print "param", k, v }
		function take(   i, eq) {
			delete v
			for (i = 2; i <= NF; i++) {
				eq = index($i, "=")
				v[substr($i, 1, eq - 1)] = substr($i, eq + 1)
			}
		}
		BEGIN { print "plan", "command-line" }
		$1 == "create" {
			take()
			alg = v["algorithm"]
			sub("sha-", "", alg)
			param("dialect", v["dialect"]); param("algo", alg)
			param("last", v["order"] == "ripas-last" ? 1 : 0)
			param("s2sz", v["ipa_bits"] + 0); param("lpa2", v["lpa2"] == "yes" ? 1 : 0)
			param("sve", v["sve_vl"] > 0 ? 1 : 0)
			param("sve_vl", v["sve_vl"] > 0 ? v["sve_vl"] / 128 - 1 : 0)
			param("num_bps", v["breakpoints"] - 1); param("num_wps", v["watchpoints"] - 1)
			param("pmu", v["pmu"] == "yes" ? 1 : 0); param("pmu_ctrs", v["pmu_counters"] + 0)
			print "step create - -", v["rim"]
		}
		$1 == "ripas" { take(); print "ram", v["base"], v["size"]; print "step ripas - -", v["rim"] }
		$1 == "data" {
			take()
			file = dir "/" v["name"]
			cmd = "wc -c <" file
			cmd | getline size
			close(cmd)
			print "piece", v["name"], v["base"], size, v["measured"] == "yes" ? 1 : 0, file
			print "step data", v["name"], v["measured"] == "yes" ? v["content"] : "-", v["rim"]
		}
		$1 == "rec" {
			take()
			param("pc", v["pc"])
			for (i = 0; i < 8; i++)
				param("x" i, ("x" i) in v ? v["x" i] : 0)
			print "step rec - -", v["rim"]
		}
		/^predicted RIM/ { print "rim", $NF; print "end" }'
}

for how in "" "--rmm 2.0" "--rmm 1.0" "--rmi-generation v12" "--rmi-generation a -m 2000" \
	"--measurement-algo sha384" "--measurement-algo sha512 --rmm 1.0" "--ipa-bits 48 --rmm 1.0" \
	"--pmu --host-profile fvp --sve-vl 256 --rmi-generation c" "--populate initrd=unmeasured" \
	"--ripas-ram 0x80000000+34M --rmm 1.0" "--breakpoints 6 --watchpoints 4"; do
	# shellcheck disable=SC2086 # a list of options
	if out=$("$REALMTOOL" measure -v --realm -k "$T/kernel" -i "$T/initrd" --dump-dtb "$T/dtb" $how); then
		echo "$out" | to_plan >"$T/plan"
		recompute "measure $how" "$T/plan"
	else
		bad "measure $how"
	fi
done

# rim ARGS...: the measurement in hexadecimal
rim()
{
	"$REALMTOOL" measure "$@" 2>"$T/err" | sed -n 's/^predicted RIM .*: //p'
}

args=(--realm -k "$T/kernel" -i "$T/initrd" -c 3 -m 300 -p "quiet" -d "$T/disk" --rng)
want=$(rim "${args[@]}")
[[ $want =~ ^[0-9a-f]{64}$ ]] || bad "measure prints a measurement" "$want" "$(cat "$T/err")"

# same NAME COMMAND...: prints the same measurement
same()
{
	local got
	got=$("${@:2}" 2>"$T/err" | sed -n 's/^predicted RIM .*: //p')
	if [ "$got" = "$want" ]; then
		ok "the same: $1"
	else
		bad "the same: $1" "$got" "$want" "$(cat "$T/err")"
	fi
}

# other NAME OPTIONS...: prints another one
other()
{
	local got
	got=$(rim "${args[@]}" "${@:2}")
	if [[ $got =~ ^[0-9a-f]+$ && $got != "$want" ]]; then
		ok "another: $1"
	else
		bad "another: $1" "$got" "$(cat "$T/err")"
	fi
}

same "again" "$REALMTOOL" measure "${args[@]}"
same "options in another order" "$REALMTOOL" measure --rng --disk="$T/disk" -p quiet -m300M \
	-v --cpus 3 --initrd "$T/initrd" --realm=kvm "$T/kernel"
same "another environment" env -i TZ=Asia/Tokyo LANG=tr_TR.UTF-8 HOME=/nowhere "$REALMTOOL" measure "${args[@]}"
cp "$T/kernel" "$T/vmlinuz"
# shellcheck disable=SC2016 # for the inner shell
same "another folder and other file names" sh -c 'cd "$1" && exec "$2" measure --realm -k ./vmlinuz -i initrd \
	-c 3 -m 300 -p quiet -d no-such-disk,ro --rng' sh "$T" "$REALMTOOL"
same "one CPU" taskset -c "$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')" "$REALMTOOL" measure "${args[@]}"
same "what is no part of it" "$REALMTOOL" measure "${args[@]}" --name x --loglevel error \
	--realm-pv me --no-reboot --tty 1
if [ "$(id -u)" = 0 ] && setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$REALMTOOL"; then
	same "another user" setpriv --reuid=65534 --regid=65534 --clear-groups "$REALMTOOL" measure "${args[@]}"
else
	skip "another user" "needs root, and a folder that everybody can enter"
fi
same "a disk more on PCI" "$REALMTOOL" measure "${args[@]}" -d "$T/disk" --virtio-transport pci
ln -s "$REALMTOOL" "$T/lkvm"
same "called as lkvm" "$T/lkvm" measure "${args[@]}" --nodefaults
user=$(command -v qemu-aarch64-static qemu-aarch64 | head -n 1)
if [ -n "$user" ] && [ -x build/arm64/realmtool ] && [ "$arch" != arm64 ]; then
	same "the arm64 binary" "$user" build/arm64/realmtool measure "${args[@]}"
else
	skip "the arm64 binary" "no qemu-aarch64, or no binary"
fi

# what is on PCI is found there, what is on mmio stands in the devicetree
pci=$want
other "devices on mmio" --virtio-transport mmio
want=$(rim "${args[@]}" --virtio-transport mmio)
other "a disk more on mmio" --virtio-transport mmio -d "$T/disk"
want=$pci
other "parameters that lkvm adds" --compat lkvm
other "parameters" -p debug
other "an address bit" --ipa-bits 34
other "breakpoints" --breakpoints 3
other "the algorithm" --measurement-algo sha512
other "the dialect" --rmm 2.0
other "KASLR seed" --kaslr-seed 1
if grep -q '^Warning: --kaslr-seed is measured' "$T/err"; then
	ok "a KASLR seed is told"
else
	bad "a KASLR seed is told" "$(cat "$T/err")"
fi

# ---- expected measurements ------------------------------------------------------------------------

# expect RC TEXT COMMAND...: exit code, and what stderr says (a pattern); one line of it
expect()
{
	local rc
	"${@:3}" >"$T/out" 2>"$T/err"
	rc=$?
	if [ $rc = "$1" ] && [ "$(grep -c ^Fatal: "$T/err")" -le 1 ] &&
		{ [ -z "$2" ] || grep -qe "$2" "$T/err"; }; then
		ok "exit code $rc: ${2:-as expected}"
	else
		bad "exit code $rc, not $1: ${*:3}" "$(cat "$T/err")"
	fi
}

"$REALMTOOL" measure "${args[@]}" -v >"$T/expected.txt"
"$REALMTOOL" measure "${args[@]}" --json >"$T/expected.json"
expect 0 '' "$REALMTOOL" measure "${args[@]}" --expect-rim "$want"
expect 0 '' "$REALMTOOL" measure "${args[@]}" --expect-rim "@$T/expected.txt"
expect 0 '' "$REALMTOOL" measure "${args[@]}" --expect-rim "@$T/expected.json"
seq 70001 100000 >"$T/initrd"
for f in txt json; do
	expect 3 'differs: initrd: its content' "$REALMTOOL" measure "${args[@]}" --expect-rim "@$T/expected.$f"
done
if [ "$arch" != arm64 ]; then
	# elsewhere than on arm64 "run" goes as far as the devicetree
	run=("$REALMTOOL" run --realm=emulated "${args[@]:1}" --dump-dtb "$T/dtb")
	expect 3 'differs: initrd: its content' "${run[@]}" --expect-rim "@$T/expected.json"
	seq 70000 99999 >"$T/initrd"
	expect 0 "predicted RIM (dialect tf-rmm, sha-256): $want" "${run[@]}" --expect-rim "$want" \
		--loglevel info
fi

# ---- bad input ------------------------------------------------------------------------------------

: >"$T/empty"
printf 'breakpoints = 6\nwatchpoints = many\n' >"$T/bad.profile"
m=("$REALMTOOL" measure --realm)
expect 128 'kernel .* is empty' "${m[@]}" -k "$T/empty"
expect 128 'without --realm' "$REALMTOOL" measure -k "$T/kernel"
expect 128 'Unable to open kernel' "${m[@]}" -k "$T/none"
expect 128 'is no measurement' "${m[@]}" -k "$T/kernel" --expect-rim 0123
expect 128 'expected.*32 bytes.*48' "${m[@]}" -k "$T/kernel" --expect-rim "$want" --measurement-algo sha384
expect 128 'no-such-file' "${m[@]}" -k "$T/kernel" --expect-rim @/no-such-file
expect 128 'there is no measurement' "${m[@]}" -k "$T/kernel" --expect-rim "@$T/empty"
expect 128 'bad.profile:2: watchpoints = "many": give 1 to 16' "${m[@]}" -k "$T/kernel" --host-profile "$T/bad.profile"
expect 128 'one of fvp, qemu-max, qemu-max-v14, generic' "${m[@]}" -k "$T/kernel" --host-profile nothing
expect 128 'has 6, not 8' "${m[@]}" -k "$T/kernel" --host-profile qemu-max --pmu --pmu-counters 8
expect 128 'has no PMU' "${m[@]}" -k "$T/kernel" --host-profile generic --pmu
expect 128 'PMU counters' "${m[@]}" -k "$T/kernel" --pmu
expect 128 'SHA-384' "${m[@]}" -k "$T/kernel" --rmm 1.0 --measurement-algo sha384
expect 128 'ripas-ram' "${m[@]}" -k "$T/kernel" --rmi-generation v12 --ripas-ram 0x80000000+4K,0x90000000+4K
expect 128 'needs a value' "${m[@]}" -k --json
expect 128 'no-such-folder' "${m[@]}" -k "$T/kernel" --trustee /no-such-folder/x

if [ $skipped = 0 ]; then
	echo "$passed passed, $failed failed"
else
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ $failed = 0 ]
