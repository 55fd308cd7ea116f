# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# Command lines as other projects have them, with the binary called lkvm.

# kvm-unit-tests, run-realm-tests of its CCA branch
case_lkvm_kvm_unit_tests()
{
	BIN=$LKVM
	rt run --realm=emulated --restricted_mem --irqchip=gicv3-its --console=serial --network mode=none \
		--nodefaults --loglevel error -c 2 -m 16 -k "$G/psci.flat" -p cpus=2
	tap_check psci.realm
	[ ! -s "$T/err" ] || grep -qi protect "$T/err" || fail "noise: $(cat "$T/err")"
	printf 'A=B\n' >./env
	rt run --nodefaults --network mode=none --loglevel=warning --cpus 2 --params cpus=2 --initrd env \
		--kernel "$G/psci.flat" --irqchip=gicv3
	tap_check psci.vm
	rt run --nodefaults --network mode=none --kernel _NO_FILE_4Uhere_
	grep -q 'Fatal: Unable to open kernel _NO_FILE_4Uhere_' "$T/err" || fail "$(cat "$T/err")"
}

# shrinkwrap and TF-RMM
case_lkvm_shrinkwrap()
{
	BIN=$LKVM
	MACHINE=
	pattern 3 1048576 >guest-disk.img
	rt run --realm=emulated --disable-sve --irqchip=gicv3-its -c 1 -m 512 --no-pvtime --force-pci \
		--kernel "$KERNEL" -i "$TOP/initrd" --disk guest-disk.img \
		-p "panic=-1 rt.test=report" --measurement-algo=sha256 --restricted_mem
	answers
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	want rsi 1.0
	want disk_sha256 "$(sha guest-disk.img)"
}

# what lkvm appends without --nodefaults, and nothing with it
case_lkvm_parameters()
{
	BIN=$LKVM
	rt run $MACHINE -k "$G/hello.flat" -p first
	grep -q '# args \[.*console=ttyS0.*\]' "$T/out" || fail "$(grep args "$T/out")"
	grep -q '# args \[.*first.*\]' "$T/out" || fail "$(grep args "$T/out")"
	rt run --nodefaults $MACHINE -k "$G/hello.flat" -p only
	grep -q '# args \[only *\]' "$T/out" || fail "$(grep args "$T/out")"
	BIN=$RT
	rt run $MACHINE -k "$G/hello.flat" -p only
	grep -q '# args \[only\]' "$T/out" || fail "$(grep args "$T/out")"
}

# the devicetree is the same byte for byte, and other RAM is another devicetree
case_lkvm_dump_dtb()
{
	for m in vm realm; do
		rt run $(mode $m) $MACHINE -k "$G/off.flat" --dump-dtb a.dtb
		rt run $(mode $m) $MACHINE -k "$G/off.flat" --dump-dtb b.dtb
		cmp a.dtb b.dtb || fail "$m: two runs, two devicetrees"
		rt run $(mode $m) -c 1 -m 128 -k "$G/off.flat" --dump-dtb c.dtb
		! cmp -s a.dtb c.dtb || fail "$m: other RAM, same devicetree"
		# the user's own is taken as it is
		rt run $(mode $m) $MACHINE -k "$G/hello.flat" --dtb a.dtb
		tap_check hello.$m
	done
}
