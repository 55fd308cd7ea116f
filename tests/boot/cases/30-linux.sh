# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# An unmodified Debian kernel, as plain VM and as emulated realm. The guest reports, we compare.

# boots MODE CPUS [ARG...]: with a disk whose contents the guest hashes
boots()
{
	m=$1 cpus=$2
	shift 2
	MACHINE="-c $cpus -m 512"
	pattern 7 4194304 >d.img
	linux "$m" report -d d.img "$@"
	want cpus "$cpus"
	want disk_bytes 4194304
	want disk_sha256 "$(sha d.img)"
	if [ "$m" = vm ]; then
		want rsi none
		want swiotlb no
	else
		want rsi 1.0
		want swiotlb forced
		[ "$(got swiotlb_bytes)" -gt 0 ] || fail "nothing was bounced"
	fi
	grep -q '^done' "$T/rt" || fail "the guest did not come to its end"
}

case_long_linux_vm_1cpu() { boots vm 1; }
case_long_linux_vm_4cpu() { boots vm 4; }
case_long_linux_realm_1cpu() { boots realm 1; }
case_linux_realm_4cpu() { boots realm 4; }
case_long_linux_strict() { boots strict 2; }
# Only the image and the end of RAM, where Linux puts its first page tables, are RAM at the start.
case_linux_strict_ripas() { boots strict 2 --ripas-ram 0x9f000000+16M; }
case_long_linux_vm_gicv3() { other_gic vm; }
case_long_linux_realm_gicv3() { other_gic realm; }
# no ITS, and an entropy device
other_gic()
{
	boots "$1" 2 --irqchip gicv3 --rng
	case $(got hwrng) in
	virtio_rng*) ;;
	*) fail "the guest's entropy device is \"$(got hwrng)\"" ;;
	esac
}

case_long_linux_vm_gz()
{
	KERNEL=$TOP/f/Image.gz
	boots vm 1
}
case_long_linux_realm_gz()
{
	KERNEL=$TOP/f/Image.gz
	boots realm 1
}
case_long_linux_vm_zboot_gzip()
{
	KERNEL=$TOP/f/Image.gzip
	boots vm 1
}
case_long_linux_realm_zboot_zstd()
{
	KERNEL=$TOP/f/Image.zstd
	[ -e "$KERNEL" ] || skip "the machine that made the fixtures has no zstd"
	boots realm 1
}

# the guest writes a pattern of 2 MiB, the host compares the file
writes()
{
	m=$1
	shift
	MACHINE='-c 2 -m 512' CMDLINE=rt.seed=$1
	shift
	truncate -s 2M "$1"
	linux "$m" disk-write -d "$1$2"
	want disk_bytes 2097152
	pattern "${CMDLINE#*=}" 2097152 >want.img
	want written_sha256 "$(sha want.img)"
	cmp "$1" want.img || fail "the file is not what the guest wrote"
}
case_long_linux_vm_disk_write() { writes vm 1000 d.img ''; }
case_linux_realm_disk_write() { writes realm 2000 d.img ''; }
case_linux_realm_disk_direct()
{
	# not on tmpfs everywhere: that has O_DIRECT since Linux 6.6
	writes realm 3000 d.img ,direct
}

case_long_linux_disk_readonly()
{
	MACHINE='-c 1 -m 512'
	pattern 5 1048576 >d.img
	h=$(sha d.img)
	for m in vm realm; do
		linux $m disk-write -d d.img,ro
		want disk_sha256 "$h"
		want error write
		want written_sha256 "$h"
		[ "$(sha d.img)" = "$h" ] || fail "$m: the file was changed"
	done
}

# 59 disks of different sizes and an entropy device, in the order of the command line
sixty()
{
	MACHINE='-c 2 -m 512'
	i=1
	set -- "$1"
	m=$1
	shift
	while [ $i -le 59 ]; do
		truncate -s $((i * 4096)) $i.img
		set -- "$@" -d $i.img
		i=$((i + 1))
	done
	linux "$m" disks "$@" --rng
	n=$(grep -c '^disk=' "$T/rt")
	[ "$n" = 59 ] || fail "the guest sees $n disks"
	sed -n 's/^disk=[a-z]* bytes=\([0-9]*\) .*/\1/p' "$T/rt" | sort -n >sizes
	i=1
	while [ $i -le 59 ]; do
		echo $((i * 4096))
		i=$((i + 1))
	done >want
	cmp sizes want || fail "sizes are wrong"
	grep -q '^disk=vda bytes=4096 ' "$T/rt" || fail "vda is not the first disk"
}
case_long_linux_vm_60_devices() { sixty vm; }
case_long_linux_realm_60_devices() { sixty realm; }

# what is typed arrives, and so does the size of the terminal, when it changes too
case_linux_virtio_console()
{
	for m in vm realm; do
		echo "+ ptyrun, mode $m" >>"$T/commands"
		keep
		rc=0
		"$TOP/ptyrun" -t 120 -e "hvc=ready" -s "forty-two\\n" -e "got=forty-two" -w 100x30 -z 1000 \
			-s "\\n" -e "winsize=30 100" -- "$RT" run $(mode $m) -c 1 -m 512 --console virtio \
			-k "$KERNEL" -i "$TOP/initrd" -p "panic=-1 quiet rt.test=hvc" >"$T/out" 2>"$T/err" ||
			rc=$?
		[ $rc = 0 ] || fail "$m: exit code $rc: $(grep ptyrun "$T/err" | head -n 1)"
		grep -q "terminal same" "$T/err" || fail "$m: the terminal is not restored"
	done
}

case_long_linux_vm_reset() { resets vm; }
case_linux_realm_reset() { resets realm; }
resets()
{
	LIMIT=240
	MACHINE='-c 2 -m 512' CMDLINE=rt.count=3
	truncate -s 1M d.img
	linux "$1" reboot-once -d d.img
	[ "$(sed -n 's/^boot=//p' "$T/rt" | tr '\n' ' ')" = '1 2 3 ' ] ||
		fail "boots: $(sed -n 's/^boot=//p' "$T/rt" | tr '\n' ' ')"
}

case_linux_input()
{
	MACHINE='-c 1 -m 512'
	bg run $(mode realm) $MACHINE -k "$KERNEL" -i "$TOP/initrd" -p "$CONSOLE panic=-1 quiet rt.test=echo"
	await 'RT: ready'
	printf 'forty-two\n' >&9
	bg_end
	answers
	want got forty-two
	[ $rc = 0 ] || fail "exit code $rc"
}

# how much of 512 MiB is there; in a realm less, for the bounce buffers
case_linux_realm_memory()
{
	MACHINE='-c 1 -m 512'
	linux realm report
	[ "$(got mem_kb)" -gt 350000 ] || fail "the guest has $(got mem_kb) KiB"
	grep -qi 'protect' "$T/err" || fail "no banner"
	! grep -q -e --swiotlb "$T/err" || fail "a warning about swiotlb with 512 MiB: $(cat "$T/err")"
}

case_linux_swiotlb()
{
	MACHINE='-c 1 -m 192'
	payload realm hello
	grep -q -e --swiotlb "$T/err" || fail "no warning about RAM: $(cat "$T/err")"
	truncate -s 1M d.img
	linux realm report --swiotlb 8 -d d.img
	want swiotlb forced
	! grep -q -e --swiotlb "$T/err" || fail "a warning though --swiotlb was given"
}

# a lower-half or bare earlycon: a warning with the right one; as lkvm it is put right
case_linux_earlycon()
{
	MACHINE='-c 1 -m 512'
	payload realm hello -p earlycon
	grep -q '^Warning: .*earlycon=uart,mmio,0x101000000' "$T/err" || fail "no warning: $(cat "$T/err")"
	payload realm hello -p earlycon=uart,mmio,0x1000000
	grep -q '^Warning: .*earlycon=uart,mmio,0x101000000' "$T/err" || fail "no warning: $(cat "$T/err")"
	payload realm hello -p earlycon=uart,mmio,0x101000000
	! grep -q '^Warning: .*earlycon' "$T/err" || fail "a warning about the right one"
	BIN=$LKVM
	rt run $(mode realm) $MACHINE -k "$KERNEL" -i "$TOP/initrd" -p 'earlycon panic=-1 rt.test=poweroff'
	[ $rc = 0 ] || fail "lkvm: exit code $rc"
	grep -q 'earlycon: uart0 .*0x0*101000000' "$T/out" || fail "lkvm: no early console"
}

case_linux_panic()
{
	MACHINE='-c 1 -m 512'
	# panic=-1: the guest asks for a reset
	linux vm panic --no-reboot
}
