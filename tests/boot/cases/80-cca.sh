# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154,SC2034 # rc, G, T, ... come from lib.sh and inside.sh
# Real realms: the monitor's instead of ours. Only on a host that has them: see tests/testbed/cca.

# What the real monitor does is what the strict emulated one does, so its expected lines are ours.
# An emulated machine is slow here: each 4 KiB page that a realm gets is a change of the granule
# protection table, which empties all TLBs.
realms()
{
	LIMIT=300
	MACHINE="--realm=kvm ${1:--c 1 -m 64} --swiotlb 8"
	"$RT" check >"$T/check" 2>&1 || skip "this host has no realms"
}

# What a kernel that is unhappy with us says. Lines of earlier cases are not ours.
log_mark()
{
	dmesg | wc -l >"$T/mark"
}

log_clean()
{
	dmesg | tail -n +"$(($(cat "$T/mark") + 1))" |
		grep -E 'Call trace:|BUG: |WARNING: |Internal error|Granule Protection|Unhandled' >"$T/unhappy"
	[ ! -s "$T/unhappy" ] || fail "the host's kernel says: $(head -n 1 "$T/unhappy")"
}

# like payload, without a mode: EXPECT is NAME.realm unless -e names it
realm_payload()
{
	name=$1 expect=$1.realm
	shift
	if [ "${1:-}" = -e ]; then
		expect=$2
		shift 2
	fi
	log_mark
	# shellcheck disable=SC2086
	rt run $MACHINE -k "$G/$name.flat" "$@"
	tap_check "$expect"
	log_clean
}

case_cca_check()
{
	realms
	rt check
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/out")"
	grep -q 'RMI generation' "$T/out" || fail "it does not name the generation"
	rt check --json
	[ $rc = 0 ] || fail "--json: exit code $rc"
	case $(head -c 1 "$T/out")$(tail -c 2 "$T/out") in
	'{}'*) ;;
	*) fail "--json: no object: $(head -n 1 "$T/out")" ;;
	esac
}

case_cca_hello() { realms && realm_payload hello; }
case_cca_image()
{
	realms
	log_mark
	rt run $MACHINE -k "$G/hello.Image"
	tap_check hello.realm
	rt run $MACHINE --firmware "$G/hello.flat"
	tap_check hello.realm
	log_clean
}

# off says nothing at all; no banner either: this realm is protected
case_cca_off()
{
	realms '-c 1 -m 256'
	rt run $MACHINE -k "$G/off.flat"
	[ $rc = 0 ] || fail "exit code $rc: $(cat "$T/err")"
	[ ! -s "$T/out" ] || fail "output without a word from the guest"
	! grep -qi 'not protect' "$T/err" || fail "a banner: $(cat "$T/err")"
}

case_cca_psci() { realms '-c 4 -m 64' && realm_payload psci -p cpus=4; }
case_cca_smp() { realms '-c 4 -m 64' && realm_payload smp -p cpus=4; }
case_cca_smp_gicv3() { realms '-c 4 -m 64 --irqchip gicv3' && realm_payload smp -p cpus=4; }
case_cca_timer() { realms && realm_payload timer; }
case_cca_uart() { realms && realm_payload uart; }
case_cca_rtc() { realms && realm_payload rtc; }
case_cca_hvc() { realms && realm_payload hvc; }
case_cca_nisv() { realms && realm_payload fault -e fault-nisv.realm -p nisv; }
case_cca_mem16() { realms '-c 1 -m 16' && realm_payload mem -p mem=16; }
case_cca_mem1024() { realms '-c 1 -m 1G' && realm_payload mem -p mem=1024; }
case_cca_alias() { realms && realm_payload alias; }
case_cca_width()
{
	realms '-c 1 -m 64 --ipa-bits 36'
	realm_payload alias -e alias-width.realm -p width=36
}
case_cca_abort() { realms && realm_payload abort -e abort-separate.strict -p 'strict separate sign'; }

# both ways, whole ranges, again and again
case_cca_conversions() { realms && realm_payload ripas -e ripas-separate.realm -p separate; }

# A token is signed in pieces, as long as nobody interrupts: an INCOMPLETE may come before the
# monitor looks at the page.
case_cca_rsi()
{
	realms
	log_mark
	rt run $MACHINE -k "$G/rsi.flat"
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	tap_lines "$T/out" >"$T/tap"
	for f in "$T/tap" "$G/rsi.realm.tap"; do
		grep -v 'TOKEN_CONTINUE to an EMPTY page' "$f" >"$T/${f##*/}.both"
	done
	cmp -s "$T/tap.both" "$T/rsi.realm.tap.both" ||
		fail "$(diff "$T/rsi.realm.tap.both" "$T/tap.both" | grep '^[<>]' | head -n 2 | tr '\n' ' ')"
	log_clean
}

case_cca_virtio()
{
	realms
	sectors 2048 >d.img
	realm_payload virtio --virtio-transport mmio -d d.img -p sectors=2048
	sectors 2048 >want.img
	yes 'written by the guest' | head -c 512 >sector
	dd if=sector of=want.img bs=512 seek=5 conv=notrunc 2>/dev/null
	cmp d.img want.img || fail "the file is not what the guest wrote: $(cmp d.img want.img 2>&1)"
	sectors 2048 >d.img
	cp d.img want.img
	realm_payload virtio -e virtio-ro.realm --virtio-transport mmio -d d.img,ro \
		-p 'sectors=2048 ro'
	cmp d.img want.img || fail "a read-only disk was changed"
}

# Only the image is RAM at the start, or a range and the image: the rest is EMPTY, and the guest can
# have it for the asking.
case_cca_ripas_image()
{
	realms
	rt run $MACHINE --ripas-ram image -k "$G/hello.Image"
	tap_check hello.realm
	for w in image 0x80000000+16M; do
		log_mark
		rt run $MACHINE --ripas-ram $w -k "$G/ripas.Image" -p separate
		tap_lines "$T/out" >"$T/tap"
		grep -q '^not ok .* all RAM is RAM at entry' "$T/tap" || fail "$w: all RAM is RAM at entry"
		for l in 'all below RAM is EMPTY' 'it is taken again' 'neither the old nor the shared' \
			 'and all are RAM again'; do
			grep -q "^ok .*$l" "$T/tap" || fail "$w: no \"$l\""
		done
		log_clean
	done
}

# Linux asks for its RAM, but after it has made its page tables at the end of it
case_cca_ripas_linux()
{
	realms
	realm_boots 1 --ripas-ram 0x9f000000+16M
}

# a guest that leaves the realm without notice; the next one finds everything given back
case_cca_ctrl_c()
{
	realms
	for p in wait spin; do
		log_mark
		# shellcheck disable=SC2086
		bg run $MACHINE -k "$G/fault.flat" -p $p
		# spin is silent
		[ $p = spin ] || await 'going wrong' 60
		sleep 2
		kill -INT $bg
		bg_end 60
		[ "$rc" = 0 ] || [ "$rc" = 130 ] || fail "$p: exit code $rc: $(tail -n 1 "$T/err")"
		log_clean
	done
	realm_payload hello
}

# in the middle of the population, which takes seconds
case_cca_ctrl_c_early()
{
	realms '-c 2 -m 512'
	log_mark
	# shellcheck disable=SC2086
	bg run $MACHINE -k "$KERNEL" -i "$TOP/initrd"
	sleep 2
	kill -INT $bg
	bg_end 60
	[ "$rc" = 0 ] || [ "$rc" = 130 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	log_clean
	realms
	realm_payload hello
}

case_cca_reset()
{
	realms
	log_mark
	# shellcheck disable=SC2086
	bg run $MACHINE -k "$G/reset.flat" -p ask
	await '# boot' 60
	printf r >&9
	second_boot 600
	printf o >&9
	bg_end 60
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	[ "$(grep -c '^ok .* memory is clean' "$T/out")" = 2 ] || fail "memory was not looked at"
	log_clean
}

# realm after realm: granules, identifiers and memory come back
case_cca_ten_in_a_row()
{
	realms
	i=0
	while [ $i -lt 10 ]; do
		realm_payload hello
		[ $i != 0 ] || before=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
		i=$((i + 1))
	done
	after=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
	# nine realms of 64 MiB lost would be seen, the noise of a kernel is not
	[ "$after" -gt $((before - 65536)) ] || fail "$before KiB available after the first, $after after the last"
}

case_cca_two_at_once()
{
	realms
	log_mark
	# shellcheck disable=SC2086
	bg run --name first $MACHINE -k "$G/echo.flat"
	await '#' 60
	keep
	# shellcheck disable=SC2086
	rt run --name second $MACHINE -k "$G/hello.flat"
	tap_check hello.realm
	printf q >&9
	bg_end 60
	[ "$rc" = 0 ] || fail "the first: exit code $rc"
	log_clean
}

# realm_boots CPUS [ARG...]: Debian's kernel to its init, with a disk that it hashes
realm_boots()
{
	cpus=$1
	shift
	MACHINE="--realm=kvm -c $cpus -m 512"
	log_mark
	pattern 7 4194304 >d.img
	linux vm report -d d.img "$@"
	want cpus "$cpus"
	want disk_bytes 4194304
	want disk_sha256 "$(sha d.img)"
	want rsi 1.0
	want swiotlb forced
	[ "$(got swiotlb_bytes)" -gt 0 ] || fail "nothing was bounced"
	grep -q '^done' "$T/rt" || fail "the guest did not come to its end"
	log_clean
}

case_cca_linux_1cpu() { realms && realm_boots 1; }
case_cca_linux_4cpu() { realms && realm_boots 4; }
case_cca_linux_gicv3() { realms && realm_boots 2 --irqchip gicv3 --rng; }
case_cca_linux_disk_write()
{
	realms
	MACHINE='--realm=kvm -c 2 -m 512' CMDLINE=rt.seed=2000
	log_mark
	truncate -s 2M d.img
	linux vm disk-write -d d.img
	pattern 2000 2097152 >want.img
	want written_sha256 "$(sha want.img)"
	cmp d.img want.img || fail "the file is not what the guest wrote"
	log_clean
}

case_cca_linux_input()
{
	realms
	MACHINE='--realm=kvm -c 1 -m 512'
	# shellcheck disable=SC2086
	bg run $MACHINE -k "$KERNEL" -i "$TOP/initrd" -p "$CONSOLE panic=-1 quiet rt.test=echo"
	await 'RT: ready' 120
	printf 'forty-two\n' >&9
	bg_end 60
	answers
	want got forty-two
	[ "$rc" = 0 ] || fail "exit code $rc"
}

# The monitor's own word: the measurement in its tokens is the one we predicted.
case_cca_attest()
{
	with_tokens
	realms
	# what of this host enters the measurement
	n=$(sed -n 's/.*breakpoints *up to \([0-9]*\).*/\1/p' "$T/check")
	i=$(sed -n 's/.*IPA space *up to \([0-9]*\) bits.*/\1/p' "$T/check" | head -n 1)
	g=$(sed -n 's/.*RMI generation *\([a-z0-9:]*\)$/\1/p' "$T/check")
	[ -n "$n" ] && [ -n "$i" ] && [ -n "$g" ] || fail "check does not say what this host has"
	echo 'lpa2 = no' >host.profile
	[ "$i" -le 48 ] || echo 'lpa2 = yes' >host.profile
	set -- --realm=kvm --rmi-generation "$g" --breakpoints "$n" --host-profile host.profile \
		-c 2 -m 512 -k "$KERNEL" -i "$TOP/initrd" -p "$CONSOLE panic=-1 quiet rt.test=attest"
	rt measure "$@" -v
	[ "$rc" = 0 ] || fail "measure: exit code $rc: $(tail -n 1 "$T/err")"
	cp "$T/out" measured
	log_mark
	rt run "$@" --expect-rim @measured
	answers
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err"); last words: $(tail -n 1 "$T/out")"
	want provider arm_cca_guest
	token_of first
	token_of second
	for c in 41:first 42:second; do
		rt token --expect-rim @measured --expect-challenge "$(challenge "${c%:*}")" "${c#*:}.cbor"
		[ "$rc" = 0 ] || fail "${c#*:}: $(sed -n '/^Verified/,$p' "$T/out" | tr '\n' ';')"
		! grep -q REHEARSAL "$T/out" || fail "a real token is called a rehearsal"
	done
	log_clean
	rt run "$@" --swiotlb 16 --expect-rim @measured
	[ "$rc" = 3 ] || fail "exit code $rc for a realm with another measurement"
}

# nobody tidies up but the kernel
case_cca_killed()
{
	realms '-c 2 -m 64'
	log_mark
	# shellcheck disable=SC2086
	bg run $MACHINE -k "$G/fault.flat" -p wait
	await 'going wrong' 60
	kill -KILL $bg
	bg_end 60
	[ "$rc" = 137 ] || fail "exit code $rc"
	rm -f /run/realmtool/*
	realm_payload hello
}

# more address bits, longer vectors, fewer watchpoints, more RAM than the host has
case_cca_sizes()
{
	realms
	for o in '--ipa-bits 52' '--sve-max-vl 256' '--watchpoints 3' '-c 8' '-m 4G'; do
		MACHINE="--realm=kvm --swiotlb 8 $o"
		realm_payload hello
	done
}

# as old scripts call it
case_cca_lkvm()
{
	realms
	BIN=$LKVM
	rt run --realm -c 1 -m 64 -k "$G/hello.flat"
	tap_check hello.realm
}

# a plain VM beside all that
case_cca_plain_vm()
{
	realms
	MACHINE='-c 2 -m 64'
	payload vm smp -p cpus=2
}

# what this host's kernel has no means for is refused, or left out with --best-effort
case_cca_bad_input()
{
	realms
	if grep -q 'no *personalization' "$T/check"; then
		bad '--realm-pv: .*(cannot|series)' run --realm=kvm --realm-pv abc -k "$G/hello.flat"
		MACHINE="$MACHINE --realm-pv abc --best-effort"
		realm_payload hello
		grep -q '^Warning: .*realm-pv' "$T/err" || fail "--best-effort: no warning"
	fi
	bad 'realm-pv' run --realm=kvm --realm-pv "$(printf '%65s' x)" -k "$G/hello.flat"
	bad 'watchpoints 16' run --realm=kvm --watchpoints 16 -k "$G/hello.flat"
	bad 'hugetlbfs' run --realm=kvm --hugetlbfs "$TOP/out" -k "$G/hello.flat"
	bad 'rmi-generation.*none' run --realm=kvm --rmi-generation z -k "$G/hello.flat"
	# RAM up to the shared bit and beyond
	bad '.' run --realm=kvm --ipa-bits 32 -m 1G -k "$G/hello.flat"
}
