# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# Bare-metal payloads: one property each, expected TAP lines beside the payload.

case_payload_vm_hello() { payload vm hello; }
case_payload_realm_hello() { payload realm hello; }

# the build of integrators who have no library but libfdt
case_payload_only_libfdt()
{
	[ -e "$TOP/only-libfdt" ] || skip "no such build"
	BIN=$TOP/only-libfdt
	payload vm hello
	payload realm hello
}

case_payload_vm_off()
{
	rt run $MACHINE -k "$G/off.flat"
	[ $rc = 0 ] || fail "exit code $rc: $(cat "$T/err")"
	[ ! -s "$T/out" ] || fail "output without a word from the guest"
}

case_payload_realm_off()
{
	rt run $(mode realm) $MACHINE -k "$G/off.flat"
	[ $rc = 0 ] || fail "exit code $rc: $(cat "$T/err")"
	[ ! -s "$T/out" ] || fail "output without a word from the guest"
	# it says once, loudly, that nothing is protected
	[ "$(grep -ci 'protect' "$T/err")" -ge 1 ] || fail "no banner: $(cat "$T/err")"
}

# the same payload in every wrapping
wrapped()
{
	for m in vm realm; do
		rt run $(mode $m) $MACHINE -k "$1"
		tap_check hello.$m
	done
}

case_payload_image() { wrapped "$G/hello.Image"; }
case_payload_image_gz()
{
	gzip -c "$G/hello.Image" >Image.gz
	wrapped Image.gz
}
case_payload_zboot_gzip() { wrapped "$TOP/f/hello.gzip"; }
case_payload_zboot_zstd()
{
	[ -e "$TOP/f/hello.zstd" ] || skip "the machine that made the fixtures has no zstd"
	wrapped "$TOP/f/hello.zstd"
}

case_payload_firmware()
{
	for m in vm realm; do
		rt run $(mode $m) $MACHINE --firmware "$G/hello.flat"
		tap_check hello.$m
	done
}

case_payload_vm_psci()
{
	MACHINE='-c 4 -m 64'
	payload vm psci -p cpus=4
}
case_payload_realm_psci()
{
	MACHINE='-c 4 -m 64'
	payload realm psci -p cpus=4
}
# on and off, from all sides at once
case_payload_cpus()
{
	MACHINE='-c 8 -m 64'
	payload vm cpus
	payload realm cpus
}
case_payload_vm_smp()
{
	MACHINE='-c 8 -m 64'
	payload vm smp -p cpus=8
}
case_payload_realm_smp()
{
	MACHINE='-c 8 -m 64'
	payload realm smp -p cpus=8
}
case_payload_vm_timer() { payload vm timer; }
case_payload_realm_timer() { payload realm timer; }
case_payload_smc()
{
	payload vm smc
	payload realm smc
}
case_payload_storm()
{
	MACHINE='-c 4 -m 64'
	payload vm storm
	payload realm storm
}
# CPUs that never leave the guest: every way to end it does
case_payload_spin()
{
	for m in vm realm; do
		for how in TERM 'TERM TERM' INT; do
			bg run $(mode $m) -c 2 -m 64 -k "$G/spin.flat"
			await ready
			for s in $how; do
				kill -$s $bg
			done
			bg_end 20
			case $how in
			INT) want=130 ;;
			*) want=143 ;;
			esac
			[ $rc = $want ] || fail "$m: $how: exit code $rc"
		done
		rc=0
		"$TOP/ptyrun" -e ready -s '\x01x' -- "$RT" run $(mode $m) -c 2 -m 64 -k "$G/spin.flat" \
			>"$T/pty.$m" 2>"$T/pty.err" || rc=$?
		[ $rc = 0 ] || fail "$m: ctrl-a x: exit code $rc: $(tail -n 1 "$T/pty.err")"
	done
	"$BIN" version | grep -q 'jansson *yes' || return 0
	bg run $(mode realm) -c 2 -m 64 -k "$G/spin.flat" --name spin
	await ready
	timeout -s KILL 60 "$BIN" stop -n spin || fail "stop: exit code $?"
	bg_end 20
}

# runs on what it was given: all of RAM, or the image and what it needs
case_payload_given()
{
	payload vm given
	payload realm given
	payload strict given -e given.realm
	for m in realm strict; do
		rt run $(mode $m) $MACHINE -k "$G/given.Image" --ripas-ram image -p part
		tap_check given-part.realm
	done
}
case_payload_vm_uart() { payload vm uart; }
case_payload_realm_uart() { payload realm uart; }
case_payload_vm_rtc() { payload vm rtc; }
case_payload_realm_rtc() { payload realm rtc; }
case_payload_vm_hvc() { payload vm hvc; }
case_payload_realm_hvc() { payload realm hvc; }
case_payload_realm_nisv() { payload realm fault -e fault-nisv.realm -p nisv; }

# a plain VM has nobody to give it an abort: it ends, with the reason and where it was
case_payload_vm_nisv()
{
	rt run $MACHINE -k "$G/fault.flat" -p nisv
	[ $rc != 0 ] || fail "exit code 0"
	grep -q "^Fatal: .*instruction" "$T/err" || fail "no reason: $(tail -n 1 "$T/err")"
	grep -qi "pc=0x" "$T/err" || fail "no registers"
}

# an interrupt controller without ITS
case_payload_gicv3()
{
	MACHINE='-c 2 -m 64 --irqchip gicv3'
	payload vm smp -e smp.vm -p cpus=2
	payload realm smp -p cpus=2
}

case_payload_vm_mem16()
{
	MACHINE='-c 1 -m 16'
	payload vm mem -p mem=16
}
case_payload_realm_mem16()
{
	MACHINE='-c 1 -m 16'
	payload realm mem -p mem=16
}
# kvm-unit-tests goes down to this
case_payload_mem6()
{
	MACHINE='-c 1 -m 6'
	payload vm mem -p mem=6
	payload realm mem -p mem=6
}
case_payload_mem1024()
{
	MACHINE='-c 1 -m 1G'
	payload vm mem -p mem=1024
	payload realm mem -p mem=1024
}

case_payload_vm_alias() { payload vm alias; }
case_payload_realm_alias() { payload realm alias; }
# 33 is payload_realm_alias
case_payload_realm_width()
{
	for w in 34 36 40 48; do
		MACHINE="-c 1 -m 64 --ipa-bits $w"
		rt run $(mode realm) $MACHINE -k "$G/alias.flat" -p width=$w
		if [ $rc = 128 ] && grep -q "IPA" "$T/err"; then
			[ $w = 48 ] || fail "$w bits: $(tail -n 1 "$T/err")"
			skip "the host's stage 2 is not $w bits wide: $(tail -n 1 "$T/err")"
		fi
		tap_check alias-width.realm
	done
}

case_payload_realm_rsi() { payload realm rsi; }
case_payload_realm_token()
{
	MACHINE='-c 2 -m 64'
	payload realm token
}
case_payload_strict_rsi() { payload strict rsi -e rsi.realm; }
case_payload_realm_ripas()
{
	if separate; then
		payload realm ripas -e ripas-separate.realm -p separate
	else
		payload realm ripas
	fi
}
case_payload_strict_ripas()
{
	if separate; then
		payload strict ripas -e ripas-separate.realm -p separate
	else
		payload strict ripas -e ripas.realm
	fi
}
# on Linux 6.12 KVM does not extend the sign of a byte loaded from a device
case_payload_vm_abort()
{
	if separate; then
		payload vm abort -e abort-separate.vm -p sign
	else
		payload vm abort
	fi
}
case_payload_realm_abort()
{
	if separate; then
		payload realm abort -e abort-separate.realm -p 'separate sign'
	else
		payload realm abort
	fi
}
case_payload_strict_abort()
{
	if separate; then
		payload strict abort -e abort-separate.strict -p 'strict separate sign'
	else
		payload strict abort -p strict
	fi
}

# --- virtio-blk ------------------------------------------------------------------------------------
disk_test()
{
	m=$1
	shift
	sectors 2048 >d.img
	payload "$m" virtio --virtio-transport mmio -d d.img -p sectors=2048 "$@"
	# what the guest wrote is in the file, and nothing else changed
	sectors 2048 >want.img
	yes 'written by the guest' | head -c 512 >sector
	dd if=sector of=want.img bs=512 seek=5 conv=notrunc 2>/dev/null
	cmp d.img want.img || fail "the file is not what the guest wrote: $(cmp d.img want.img 2>&1)"
}
case_payload_vm_virtio() { disk_test vm; }
case_payload_realm_virtio() { disk_test realm; }
case_payload_strict_virtio()
{
	sectors 2048 >d.img
	payload strict virtio -e virtio.realm --virtio-transport mmio -d d.img -p sectors=2048
}
readonly_test()
{
	sectors 2048 >d.img
	cp d.img want.img
	payload "$1" virtio -e "virtio-ro.$1" --virtio-transport mmio -d d.img,ro -p 'sectors=2048 ro'
	cmp d.img want.img || fail "a read-only disk was changed"
}
case_payload_vm_virtio_ro() { readonly_test vm; }
case_payload_realm_virtio_ro() { readonly_test realm; }
case_payload_vm_virtio_direct()
{
	sectors 2048 >"$TOP/out/d.img"
	payload vm virtio --virtio-transport mmio -d "$TOP/out/d.img,direct" -p sectors=2048
	rm "$TOP/out/d.img"
}

# all places of the bus: disks in 59 or 60 of them
many_disks()
{
	i=1
	set --
	while [ $i -le 59 ]; do
		truncate -s $((i * 4096)) $i.img
		set -- "$@" -d $i.img
		i=$((i + 1))
	done
	payload vm alias -e alias.vm --virtio-transport mmio "$@" --rng -p virtio=60
	payload realm alias -e alias.realm --virtio-transport mmio "$@" --rng -p virtio=60
}
case_payload_60_devices() { many_disks; }
