# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# PCI: the payload that drives bus and disk by itself, and an unmodified Debian kernel.

case_pci_payload_vm() { pci_payload vm; }
case_pci_payload_realm() { pci_payload realm; }
# a strict realm has no ITS: KVM would look for its tables where the realm has no shared memory
case_pci_payload_strict() { pci_payload strict -e pci-intx.realm; }
case_pci_payload_vm_gicv3() { pci_payload vm -e pci-intx.vm --irqchip gicv3; }
case_pci_payload_realm_gicv3() { pci_payload realm -e pci-intx.realm --irqchip gicv3; }
pci_payload()
{
	m=$1
	shift
	sectors 64 >d.img
	payload "$m" pci "$@" --virtio-transport pci -d d.img
	# what it wrote to sector 40: 512 times 0xa5, which is octal 245
	dd if=/dev/zero bs=512 count=1 2>/dev/null | tr '\000' '\245' >want
	dd if=d.img bs=512 skip=40 count=1 of=got 2>/dev/null
	cmp -s want got || fail "the write did not reach the file"
}

# buses MODE CPUS CHIP [ARG...]: a disk, an entropy device and a console on the bus
buses()
{
	m=$1 cpus=$2 chip=$3
	shift 3
	MACHINE="-c $cpus -m 512" CONSOLE='console=hvc0' CMDLINE='rt.modules=virtio_console'
	# the receive queue of the console would take all of the pool that Linux makes by itself
	[ "$m" = vm ] || set -- --swiotlb 16 "$@"
	pattern 7 4194304 >d.img
	linux "$m" bus -d d.img --rng --console virtio --virtio-transport pci "$@"
	want disk_bytes 4194304
	want disk_sha256 "$(sha d.img)"
	grep -q '^virtio=0x0003 at 0000:00:01.0' "$T/rt" || fail "the console is not device 1"
	grep -q '^virtio=0x0002 at 0000:00:02.0' "$T/rt" || fail "the disk is not device 2"
	grep -q '^virtio=0x0004 at 0000:00:03.0' "$T/rt" || fail "the entropy device is not device 3"
	# Interrupts of the disk came, and as they should: a message of its queue, or the wire.
	n=$(awk -v chip="$chip" -v cpus="$cpus" 'index($0, chip) {
			for (i = 2; i < 2 + cpus; i++) n += $i
		} END { print n + 0 }' "$T/rt")
	[ "$n" -gt 0 ] || fail "no interrupt by $chip"
	if [ "$m" = vm ]; then
		want swiotlb no
	else
		want swiotlb forced
		[ "$(got swiotlb_bytes)" -gt 0 ] || fail "nothing was bounced"
	fi
	grep -q '^done' "$T/rt" || fail "the guest did not come to its end"
}

case_long_pci_linux_vm_1cpu() { buses vm 1 ITS-PCI-MSIX-0000:00:02.0; }
case_long_pci_linux_vm_2cpu() { buses vm 2 ITS-PCI-MSIX-0000:00:02.0; }
case_long_pci_linux_realm_1cpu() { buses realm 1 ITS-PCI-MSIX-0000:00:02.0; }
case_long_pci_linux_realm_2cpu() { buses realm 2 ITS-PCI-MSIX-0000:00:02.0; }
# no ITS: INTx, SPI 66 of device 2, which is interrupt 98
case_long_pci_linux_strict() { buses strict 2 'GICv3 98 Level'; }
case_long_pci_linux_vm_intx() { buses vm 2 'GICv3 98 Level' --irqchip gicv3; }
case_pci_linux_realm_intx() { buses realm 2 'GICv3 98 Level' --irqchip gicv3; }

# 40 disks share 20 devices of the bus; the guest names them in the order of the command line
case_long_pci_linux_40_disks()
{
	MACHINE='-c 2 -m 512'
	i=0
	set --
	while [ $i -lt 40 ]; do
		truncate -s $(((i + 1) * 4096)) d$i.img
		set -- "$@" -d d$i.img
		i=$((i + 1))
	done
	linux vm disks --virtio-transport pci "$@"
	i=0
	for n in a b c d e f g h i j k l m n o p q r s t u v w x y z \
		aa ab ac ad ae af ag ah ai aj ak al am an; do
		grep -q "^disk=vd$n bytes=$(((i + 1) * 4096)) serial=disk$i ro=0" "$T/rt" ||
			fail "vd$n is not disk $i"
		i=$((i + 1))
	done
}

# The guest resets itself: the bus is made anew.
case_long_pci_linux_reboot()
{
	LIMIT=300
	for m in vm realm; do
		truncate -s 1M d$m.img
		MACHINE='-c 2 -m 512' CMDLINE=rt.count=3
		linux $m reboot-once -d d$m.img --virtio-transport pci
		[ "$(grep -c '^boot=' "$T/rt")" = 3 ] || fail "$m: $(grep -c '^boot=' "$T/rt") boots, not 3"
		want boot 3
	done
}

# Exits of KVM for reads of 4 KiB, one after the other
case_pci_exits()
{
	in_bed
	mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
	d=/sys/kernel/debug/kvm
	[ -d $d ] || skip "this host's kernel does not tell KVM's counters"
	pattern 9 4194304 >d.img
	bg run -c 1 -m 512 -k "$KERNEL" -i "$TOP/initrd" --virtio-transport pci -d d.img \
		-p "$CONSOLE panic=-1 quiet rt.test=reads rt.count=500"
	await 'RT: begin' 60
	usleep 700000
	before=$(exits $d)
	await 'RT: end' 60
	usleep 500000
	after=$(exits $d)
	bg_end 30
	[ $rc = 0 ] || fail "exit code $rc"
	# MMIO exits do not depend on the host's speed: a kick each, and what the console takes
	set -- $before $after
	echo "500 reads: $(($4 - $1)) exits, WFI apart; MMIO $(($5 - $2)) in the kernel," \
		"$(($6 - $3)) in user space" >"$T/exits"
	[ $(($5 - $2)) -le 510 ] || fail "$(cat "$T/exits")"
	[ $(($6 - $3)) -le 50 ] || fail "$(cat "$T/exits")"
}
# exits DEBUGFS: without WFI, MMIO in the kernel, MMIO in user space
exits()
{
	echo $(($(cat "$1"/exits) - $(cat "$1"/wfi_exit_stat))) \
		"$(cat "$1"/mmio_exit_kernel)" "$(cat "$1"/mmio_exit_user)"
}
