#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of vfio.sh that runs on the KVM host: vfio-inside.sh SECONDS.
# Results: out/raw, lines NAME.KEY=VALUE; logs: out/logs. Exit code 1 if a run failed.

# shellcheck disable=SC2086 # commands are lists of words here

set -u
cd "$(dirname "$0")" || exit 1
seconds=$1
raw=out/raw
mkdir -p out/logs
: >$raw
bad=0

echo "env.kernel=$(uname -r)" >>$raw
echo "env.cpus=$(grep -c ^processor /proc/cpuinfo)" >>$raw
echo "env.realmtool=$(./realmtool version | sed -n '1s/^realmtool //p')" >>$raw

# bind ADDRESS DRIVER
bind()
{
	d=/sys/bus/pci/devices/0000:00:$1
	echo $2 >$d/driver_override
	[ ! -e $d/driver ] || echo 0000:00:$1 >$d/driver/unbind
	echo 0000:00:$1 >/sys/bus/pci/drivers_probe
}

# results NAME FILE
results()
{
	tr -d '\r' <$2 | sed -n "s/^.*\(RT:\|#\) result /$1./p" >>$raw
	if ! grep -q ' result ' $2 || grep -q 'RT: error\|^not ok' $2; then
		bad=1
		echo "$1.failed=1" >>$raw
		echo "$1 failed:"
		tail -n 5 $2 | tr -d '\r'
	fi
}

# convert NAME OPTION...: sharing and taking back 64 MiB
convert()
{
	name=$1
	shift
	timeout 300 ./realmtool run --realm=emulated -c 1 -m 256 -k convert.flat "$@" \
		>out/logs/$name 2>out/logs/$name.err || cat out/logs/$name.err
	results $name out/logs/$name
}

bind 10.0 vfio-pci
convert none
convert iommufd --vfio-pci 00:10.0 --vfio-backend iommufd
convert group --vfio-pci 00:10.0 --vfio-backend group
convert static --vfio-pci 00:10.0 --vfio-dma static

# the disk, in the host
bind 09.0 nvme
sh ./nvme rt-apart $seconds >out/logs/host 2>&1
results host out/logs/host

# pinned NAME: what is pinned for the devices of this guest, and how much of its memory is shared
pinned()
{
	./realmtool stat --json -n bench >out/logs/$1.stat 2>&1 || return
	for k in pinned shared; do
		tr -d " \n" <out/logs/$1.stat | sed -n "s/.*\"$k\":\([0-9]*\).*/$1.$k=\1\n/p" >>$raw
	done
}

# disk NAME OPTION...: in a guest
disk()
{
	name=$1
	shift
	bind 09.0 vfio-pci
	timeout 300 ./realmtool run --name bench -c 1 -m 512 -k Image -i initrd "$@" --vfio-pci 00:09.0 \
		-p "console=ttyS0 panic=-1 quiet rt.test=nvme rt.serial=rt-apart rt.seconds=$seconds" \
		>out/logs/$name 2>out/logs/$name.err &
	pid=$!
	while kill -0 $pid 2>/dev/null && ! grep -q 'RT: still' out/logs/$name; do
		sleep 0.5
	done
	pinned $name
	wait $pid || cat out/logs/$name.err
	results $name out/logs/$name
}
disk plain
disk realm --realm=emulated --swiotlb 64
exit $bad
