#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of the I/O benchmarks that runs on the KVM host, in the folder that "io.sh" filled:
# io-inside.sh SECONDS WHAT. Results: out/raw, lines GROUP.WHO.NAME.KEY=VALUE; logs: out/logs.
# Exit code 1 if a run failed.

# shellcheck disable=SC2046,SC2086,SC2129 # commands are lists of words here, and no word has a space

set -u
cd "$(dirname "$0")" || exit 1

seconds=$1
what=$2
raw=out/raw
mkdir -p out/logs
: >$raw
bad=0

# One disk for all: a RAM disk of 64 MiB, which costs both sides the same and nothing more.
DISK=/dev/ram0
QEMU="q/ld.so --library-path q/lib q/qemu-system-aarch64 -M virt,gic-version=3 -accel kvm -cpu host
	-smp 1 -m 768 -nodefaults -display none -no-reboot -serial stdio -kernel Image"
RT="./realmtool run -c 1 -m 768 -k Image"

[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
modprobe brd rd_nr=1 rd_size=65536 2>/dev/null
[ -b $DISK ] || { echo "no RAM disk on this host"; exit 1; }
# A RAM disk takes its pages at the first write: not at the first VMM's expense.
dd if=/dev/zero of=$DISK bs=1M 2>/dev/null
modprobe tun 2>/dev/null
modprobe vhost_net 2>/dev/null

echo "env.l1_kernel=$(uname -r)" >>$raw
echo "env.l1_cpus=$(grep -c ^processor /proc/cpuinfo)" >>$raw
echo "env.realmtool=$(./realmtool version | sed -n '1s/^realmtool //p')" >>$raw
echo "env.qemu=$(q/ld.so --library-path q/lib q/qemu-system-aarch64 --version |
	sed -n 's/^QEMU emulator version //p')" >>$raw

# once GROUP WHO COMMAND...: what the guest says of its work goes beside what vmstat says of the VMM
once()
{
	group=$1 who=$2
	shift 2
	log=out/logs/$group.$who
	if ./vmstat $group.$who $log 300 "$@" >out/new 2>out/why && ! grep -q 'RT: error' $log; then
		cat out/new >>$raw
		tr -d "\r" <$log | sed -n "s/^.*RT: result /$group.$who./p" >>$raw
		return
	fi
	bad=1
	echo "$group.$who failed:"
	{
		cat out/why
		tail -n 8 $log | tr -d '\r\0'
	} | tee out/logs/$group.$who.failed
	echo "$group.$who.failed=1" >>$raw
}

# options WHO: the options of realmtool
options()
{
	case $1 in
	*-mmio) echo --virtio-transport mmio ;;
	*) echo --virtio-transport pci ;;
	esac
	case $1 in realm*) echo --realm=emulated ;; esac
	case $1 in *-packed) echo --virtio-ring packed ;; esac
}

blk()
{
	par="panic=-1 quiet rt.test=fio rt.seconds=$seconds"
	case $1 in
	qemu)
		once blk qemu $QEMU -initrd initrd-fio -append "console=ttyAMA0 $par" -object iothread,id=t \
			-drive if=none,id=d,format=raw,file=$DISK,cache=none,aio=io_uring \
			-device virtio-blk-pci,drive=d,iothread=t,romfile= ;;
	*)
		once blk $1 $RT $(options $1) -i initrd-fio -p "console=ttyS0 $par" -d $DISK,direct ;;
	esac
}

# up IFNAME ADDR: waits for the tap of a VMM and gives it an address
up()
{
	i=0
	while [ ! -d /sys/class/net/$1 ] && [ $i -lt 100 ]; do
		usleep 100000
		i=$((i + 1))
	done
	ip addr add $2/24 dev $1
	ip link set $1 up
}

net()
{
	par="panic=-1 quiet rt.test=net rt.seconds=$seconds rt.ip=10.9.0.2 rt.peer=10.9.0.1"
	case $1 in
	qemu*)
		vhost=off
		[ $1 = qemu ] || vhost=on
		up rtb0 10.9.0.1 &
		once net $1 $QEMU -initrd initrd-net -append "console=ttyAMA0 $par" \
			-netdev tap,id=n,ifname=rtb0,script=no,downscript=no,vhost=$vhost \
			-device virtio-net-pci,netdev=n,romfile=
		wait $! ;;
	*)
		vhost=
		case $1 in *vhost*) vhost=,vhost=1 ;; esac
		once net $1 $RT $(options $1) -i initrd-net -p "console=ttyS0 $par" \
			-n mode=tap,tapif=rtb0,host_ip=10.9.0.1$vhost ;;
	esac
}

net/ld.so --library-path net/lib net/iperf3 -s >/dev/null 2>&1 &
servers=$!
./pingpong 7100 &
servers="$servers $!"

for w in $what; do
	case $w in
	blk:*) blk ${w#blk:} ;;
	net:*) net ${w#net:} ;;
	esac
done
kill $servers
rm -f out/new out/why
exit $bad
