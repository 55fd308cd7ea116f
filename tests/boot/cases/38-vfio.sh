# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154,SC2086,SC2046 # what lib.sh and inside.sh set; lists of words
# Devices of the host, given to guests. Their host is "vfio" or "vfio-debian" of tests/boot/run; what
# it has is written down in tests/testbed/testbed, vfio_devices().

PCI=/sys/bus/pci

# in_vfio_bed: the cases know the devices by their address
in_vfio_bed()
{
	in_bed
	[ "$(cat $PCI/devices/0000:00:10.0/device 2>/dev/null)" = 0x11e8 ] ||
		skip "only on a host with the devices of \"testbed --vfio\""
	for mod in vfio-pci vfio_iommu_type1; do
		modprobe $mod 2>/dev/null
	done
	# Debian's guest kernel has no e1000e
	[ ! -e "$TOP/Image.9p" ] || KERNEL=$TOP/Image.9p
	MACHINE='-c 2 -m 512'
	LIMIT=300 NICS=virtio_net
	[ "$KERNEL" = "$TOP/Image" ] || NICS=e1000e,virtio_net
}

has_iommufd()
{
	[ -c /dev/iommu ] && [ -e $PCI/devices/0000:00:00.0/iommu_group ] && [ -d /sys/class/vfio-dev ]
}

# bind ADDRESS DRIVER: "" for none
bind()
{
	d=$PCI/devices/0000:00:$1
	echo "$2" >$d/driver_override
	[ ! -e $d/driver ] || echo "0000:00:$1" >$d/driver/unbind
	[ -z "$2" ] || echo "0000:00:$1" >$PCI/drivers_probe
	[ -z "$2" ] || [ -e $PCI/drivers/$2/0000:00:$1 ] || fail "the host cannot bind $1 to $2"
}

# vfio ADDRESS...: from here on these are for guests
vfio()
{
	for a; do
		bind $a vfio-pci
	done
}

# host_disk ADDRESS SERIAL: gives it to the host's driver; $disk is its name
host_disk()
{
	bind $1 nvme
	n=300
	while [ $n -gt 0 ]; do
		for disk in /dev/nvme*n1; do
			[ ! -b $disk ] || [ "$(tr -d ' ' <"/sys/block/${disk##*/}/device/serial")" != "$2" ] ||
				return 0
		done
		n=$((n - 1))
		usleep 100000
	done
	fail "$1 has become no disk of the host"
}

# disk_write ADDRESS SERIAL FILE; disk_sum ADDRESS SERIAL: by the host's driver
disk_write()
{
	host_disk $1 $2
	dd if="$3" of=$disk bs=64k conv=fsync 2>/dev/null || fail "the host cannot write $disk"
}
disk_sum()
{
	host_disk $1 $2
	dd if=$disk bs=64k iflag=direct 2>/dev/null | sha256sum | cut -d' ' -f1
}

# host_nic ADDRESS IP: the host's end of a wire
host_nic()
{
	modprobe virtio_net 2>/dev/null
	for e in $PCI/devices/0000:00:$1/virtio*/net/*; do
		[ -d "$e" ] || fail "the host has no NIC at $1"
		ip addr flush dev "${e##*/}"
		ip addr add $2/24 dev "${e##*/}"
		ip link set "${e##*/}" up
	done
}

# serve_file PORT FILE: one connection gets it; take_file PORT FILE: one connection fills it
serve_file()
{
	nc -l -p $1 <"$2" >/dev/null &
	echo $! >>"$T/pids"
}
take_file()
{
	[ -p hold ] || mkfifo hold
	nc -l -p $1 0<>hold >"$2" &
	echo $! >>"$T/pids"
}

# How many DMA faults the SMMU has told of; what it said since fault N
events()
{
	dmesg | grep "arm-smmu-v3.*event: "
}
faults()
{
	events | wc -l
}
fault_log()
{
	events | tail -n +$(($1 + 1))
}

# devices ADDRESS...: the options
devices()
{
	for a; do
		echo --vfio-pci 00:$a
	done
}

# used BACKEND: that one was in use
used()
{
	grep -qi "assigned device.*$1" "$T/err" || fail "nobody said that $1 is in use"
}

# irqs NAME KIND MINIMUM
irqs()
{
	set -- $1 $2 $3 $(got irqs_$1)
	[ "$4" = "$2" ] || fail "$1 interrupts by \"$4\", not $2"
	[ "${5:-0}" -ge $3 ] || fail "$1: $5 interrupts, not $3 or more"
}

# little_pinned: what is shared at the end, and no more, is pinned; as the numbers of --debug have it
little_pinned()
{
	shared=$(($(sed -n "s/.*to-shared=[0-9]* (\([0-9]*\) KiB) to-private=[0-9]* (\([0-9]*\) KiB).*/\1 - \2/p" \
		"$T/err" | tail -n 1)))
	pinned=$(sed -n "s/.*dma: pinned=\([0-9]*\) KiB.*/\1/p" "$T/err" | tail -n 1)
	[ "${pinned:-0}" -gt 0 ] && [ $shared -gt 0 ] || fail "no numbers of pinned memory"
	[ $((pinned * 100)) -le $((shared * 101)) ] ||
		fail "$pinned KiB are pinned, $shared are shared"
}

# assigned MODE INTERRUPTS ADDRESSES WHAT [ARG...]: disks and networks, verified by checksum both ways
assigned()
{
	m=$1 kind=$2 addresses=$3 what=$4
	shift 4
	seq 1 999999999 | head -c 4194304 >old
	seq 500 999999999 | head -c 4194304 >new
	pattern 500 1048576 >sent
	for w in $(echo $what | tr , ' '); do
		case $w in
		table) disk_write 08.0 rt-table old ;;
		apart) disk_write 09.0 rt-apart old ;;
		e1000e)
			host_nic 1a.0 10.6.1.1
			take_file 7101 up_e1000e
			serve_file 7102 sent ;;
		virtio_net)
			host_nic 1b.0 10.6.2.1
			take_file 7201 up_virtio_net
			serve_file 7202 sent ;;
		esac
	done
	vfio $addresses
	before=$(faults)
	rt run $(mode $m) $MACHINE -k "$KERNEL" -i "$TOP/initrd" --debug \
		-p "$CONSOLE panic=-1 quiet rt.test=vfio rt.vfio=$what rt.seed=500 $CMDLINE" \
		$(devices $addresses) "$@"
	answers
	[ "$rc" = 0 ] || fail "exit code $rc: $(grep -v '^ ' "$T/err" | tail -n 1)"
	! grep -q '^error' "$T/rt" || fail "the guest: $(grep '^error' "$T/rt" | head -n 3)"
	want end yes
	[ $m = vm ] || want swiotlb forced
	for w in $(echo $what | tr , ' '); do
		case $w in
		table | apart)
			want bytes_$w 4194304
			want before_$w $(sha old)
			want after_$w $(sha new)
			irqs $w $kind 50 ;;
		e1000e | virtio_net)
			want ping_$w 3
			want down_$w $(sha sent)
			cmp -s up_$w sent || fail "$w: $(wc -c <up_$w) bytes came up, not what was sent"
			irqs $w $kind 20 ;;
		esac
	done
	case "$m $*" in
	*vfio-dma*) ;;
	realm*) little_pinned ;;
	esac
	[ "$(faults)" = "$before" ] || fail "faults: $(fault_log $before | tail -n 1)"
	# outside of the guest
	for w in $(echo $what | tr , ' '); do
		case $w in
		table) [ "$(disk_sum 08.0 rt-table)" = $(sha new) ] || fail "the host reads something else" ;;
		apart) [ "$(disk_sum 09.0 rt-apart)" = $(sha new) ] || fail "the host reads something else" ;;
		esac
	done
}

# Everything at once: disks with both layouts of MSI-X, two NICs
case_vfio_realm()
{
	in_vfio_bed
	assigned realm msix '08.0 09.0 0a.0 0b.0' table,apart,$NICS --swiotlb 64
	if has_iommufd; then
		used iommufd
	else
		used type1
	fi
}
case_vfio_vm()
{
	in_vfio_bed
	assigned vm msix '08.0 09.0 0a.0 0b.0' table,apart,$NICS --vfio-backend group \
		--pci-mem64 1G
	used type1
	# their BARs are of 64 bits, and the window begins at 4 GiB
	for w in table apart; do
		[ $(($(got bar_$w))) -ge $((1 << 32)) ] || fail "$w: BAR at $(got bar_$w)"
	done
}
# without an ITS the wires interrupt
case_vfio_realm_intx()
{
	in_vfio_bed
	assigned realm intx '08.0 0a.0' table,${NICS%%,*} --swiotlb 64 --irqchip gicv3
}
case_long_vfio_vm_intx()
{
	in_vfio_bed
	assigned vm intx '08.0 0a.0' table,${NICS%%,*} --irqchip gicv3
}
case_long_vfio_realm_static()
{
	in_vfio_bed
	assigned realm msix '08.0 0b.0' table,virtio_net --swiotlb 64 --vfio-dma static
}
# guests of before Linux 6.15
case_long_vfio_realm_both()
{
	in_vfio_bed
	assigned realm msix 08.0,dma-alias=both table --swiotlb 64
}

# The guest resets a device, itself once, then all of it works as before.
case_vfio_reboot() { reboots realm --swiotlb 64; }
case_long_vfio_reboot_vm() { reboots vm; }
reboots()
{
	in_vfio_bed
	m=$1
	shift
	assigned $m msix 08.0 reset=table,reboot,table "$@"
	[ "$(grep -c "^reboot=now" "$T/rt")" = 1 ] || fail "it did not boot twice"
	[ "$(grep -c "^reset_table=same" "$T/rt")" = 2 ] || fail "after a reset the disk reads something else"
	want reboot "done"
}

# Killed in the middle of DMA: the kernel gets all of it back.
case_vfio_kill()
{
	in_vfio_bed
	for b in iommufd group; do
		if [ $b = iommufd ] && ! has_iommufd; then
			continue
		fi
		vfio 09.0
		bg run --realm=emulated -c 1 -m 512 --swiotlb 64 -k "$KERNEL" -i "$TOP/initrd" \
			-p "$CONSOLE panic=-1 quiet rt.test=vfio rt.vfio=busy=apart" \
			--vfio-pci 0000:00:09.0 --vfio-backend $b
		await 'RT: round=2' $LIMIT
		kill -KILL $bg
		bg_end
		pattern 3 4194304 >mine
		disk_write 09.0 rt-apart mine
		[ "$(disk_sum 09.0 rt-apart)" = $(sha mine) ] || fail "$b: the host's disk is not what was written"
	done
	# and given to a guest again
	assigned vm msix 09.0 apart
}

# The host takes a device back from a guest that runs: the guest ends, and says why.
case_vfio_unbind()
{
	in_vfio_bed
	for b in iommufd group; do
		if [ $b = iommufd ] && ! has_iommufd; then
			continue
		fi
		vfio 10.0
		bg run -c 1 -m 64 -k "$G/echo.flat" --vfio-pci 00:10.0 --vfio-backend $b
		await ready
		# it returns when the device is free
		timeout 60 sh -c "echo 0000:00:10.0 >$PCI/drivers/vfio-pci/unbind" ||
			fail "$b: the device is not given back"
		bg_end
		[ $rc = 128 ] || fail "$b: exit code $rc"
		grep -q '0000:00:10.0: .*wants the device back' "$T/err" ||
			fail "$b: $(tail -n 1 "$T/err")"
	done
	vfio 10.0
	payload vm hello --vfio-pci 00:10.0
}

# dma_calm: the host shows no more than ten faults in five seconds
dma_calm()
{
	last=$(events | sed -n "\$s/^\[ *\([0-9]*\).*/\1/p")
	while [ -n "$last" ] && [ $(($(cut -d. -f1 /proc/uptime) - last)) -lt 7 ]; do
		sleep 1
	done
}

# dma_faults FIRST: the addresses that the payload named, and no others
dma_faults()
{
	fault_log $1 >"$T/faults"
	sed -n 's/^# fault 0x//p' "$T/out" | tr -d '\r' | sort -u >"$T/named"
	[ -s "$T/named" ] || fail "the payload named no address"
	while read -r a; do
		grep -q "iova: 0x0*$a\b" "$T/faults" || fail "no fault at 0x$a in the host's log"
	done <"$T/named"
	for a in $(sed -n 's/.*iova: 0x0*\([0-9a-f]*\).*/\1/p' "$T/faults" | sort -u); do
		grep -q "^${a%???}000$" "$T/named" || fail "a fault at 0x$a"
	done
}

edu()
{
	in_vfio_bed
	vfio 10.0
	dma_calm
	first=$(faults)
	m=$1 expect=$2
	shift 2
	MACHINE='-c 1 -m 64'
	payload $m edu -e $expect --vfio-pci 00:10.0${EDU:-} "$@"
	dma_faults $first
}
case_vfio_edu_vm() { edu vm edu-msi.vm -p msi; }
case_vfio_edu_realm()
{
	edu realm edu-msi.realm -p msi
	n=$(grep -c "takes back" "$T/err")
	[ "$n" = 1 ] || fail "$n warnings of a part that was taken back, not one"
}
case_vfio_edu_intx() { edu vm edu-intx.vm --irqchip gicv3 -p intx; }
case_long_vfio_edu_realm_intx() { edu realm edu-intx.realm --irqchip gicv3 -p intx; }
case_vfio_edu_both() { EDU=,dma-alias=both; edu realm edu-both.realm -p both; }
case_vfio_edu_static() { edu realm edu.realm -p static --vfio-dma static; }

# Share, unshare, share, while two devices do DMA
load()
{
	in_vfio_bed
	s=$1
	shift
	LIMIT=$((s + 120))
	sectors 8192 >d
	disk_write 08.0 rt-table d
	vfio 08.0 10.0
	MACHINE='-c 2 -m 64'
	payload realm dmaload --vfio-pci 00:08.0 --vfio-pci 00:10.0 -p seconds=$s "$@"
}
case_vfio_load() { load 8; }
case_long_vfio_load() { load 180; }
case_long_vfio_load_group() { load 60 --vfio-backend group; }

# What the host cannot do is said.
case_vfio_refused()
{
	in_vfio_bed
	vfio 09.0
	set -- run -c 1 -m 64 -k "$G/hello.flat" --vfio-pci
	bad "no such PCI function" "$@" 00:1f.7
	bad "no such PCI function" "$@" 0001:00:08.0
	bad "no PCI address" "$@" 00:1f
	bad "given twice" "$@" 00:09.0 --vfio-pci 0000:00:09.0
	host_disk 08.0 rt-table
	bad "bound to driver nvme.*0000:00:08.0.*driver_override" "$@" 00:08.0
	[ -b $disk ] || fail "the host has lost its disk"
	bind 08.0 ''
	bad "bound to no driver.*driver_override" "$@" 00:08.0
	# the other one of its group belongs to a driver of the host
	vfio 11.0
	bad "IOMMU group.*0000:00:11.1.*driver_override" "$@" 00:11.0
	# somebody else has it
	bg run -c 1 -m 64 -k "$G/echo.flat" --vfio-pci 00:09.0
	await ready
	bad "another program has it" "$@" 00:09.0
	kill -TERM $bg
	bg_end
	if ! has_iommufd; then
		bad "CDEV.*--vfio-backend group" run -c 1 -m 64 -k "$G/hello.flat" --vfio-backend iommufd --vfio-pci 00:09.0
	fi
}

# as_limited_user KIB: $BIN is run by a user who may lock so much; only root can set the limit
as_limited_user()
{
	cat >user <<-END
		#!/bin/sh
		ulimit -l $1
		exec su -s "$RT" -- user "\$@"
	END
	chmod 755 user
}

# What may be locked in memory: a user without privileges, and each back end counts in its own way
case_vfio_memlock()
{
	in_vfio_bed
	vfio 09.0
	group=$(basename $(readlink $PCI/devices/0000:00:09.0/iommu_group))
	nodes="/dev/vfio/$group /dev/vfio/devices/* /dev/iommu"
	chmod 755 .
	BIN=$PWD/user
	for b in iommufd group; do
		if [ $b = iommufd ] && ! has_iommufd; then
			continue
		fi
		set -- run -c 1 -m 64 -k "$G/hello.flat" --vfio-backend $b --vfio-pci 00:09.0
		as_limited_user 4096
		bad "permission denied.*(chown|chgrp)" "$@"
		chown user $nodes 2>/dev/null
		bad 'ulimit -l' "$@"
		# what it asks for is enough
		kib=$(sed -n 's/.*ulimit -l \([0-9]*\).*/\1/p' "$T/err")
		[ "${kib:-0}" -ge 65536 ] || fail "$b: \"ulimit -l $kib\" for 64 MiB"
		as_limited_user $kib
		rt "$@"
		[ $rc = 0 ] || fail "$b: with ulimit -l $kib: $(tail -n 1 "$T/err")"
		chown root $nodes 2>/dev/null
	done
	return 0
}
