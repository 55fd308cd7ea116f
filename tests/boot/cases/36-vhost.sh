# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# Devices served from outside: virtiofsd, qemu-storage-daemon, the kernel's vhost.

# programs: the helpers are found in PATH. The host's root is no file system that can be left for
# another (pivot_root), so virtiofsd has to make do with chroot there.
programs()
{
	[ -e "$TOP/vhost/virtiofsd" ] || skip "no Debian 13 for virtiofsd and qemu-storage-daemon"
	in_bed
	mkdir bin
	printf '#!/bin/sh\nexec "%s/vhost/virtiofsd" --sandbox chroot "$@"\n' "$TOP" >bin/virtiofsd
	chmod 755 bin/virtiofsd
	PATH=$PWD/bin:$TOP/vhost:$PATH
}

# vhost MODE WHAT ARG...: the guest's part WHAT
vhost()
{
	m=$1
	CMDLINE="rt.vhost=$2 rt.seed=4000"
	shift 2
	MACHINE='-c 2 -m 512'
	linux "$m" vhost "$@"
	want rc 0
	! grep -q '^error' "$T/rt" || fail "in the guest: $(grep '^error' "$T/rt" | head -n 1)"
}

fs()
{
	programs
	mkdir share
	pattern 11 1000000 >share/in
	vhost "$1" fs --fs share,rtshare
	want in_sha256 "$(sha share/in)"
	pattern 4000 1000000 >want
	cmp want share/out || fail "the file is not what the guest wrote"
	want ro no
	want link_sha256 "$(sha share/in)"
	want escape none
	[ -e share/dir/moved ] && [ "$(readlink share/dir/link)" = ../in ] || fail "no dir/moved, dir/link"
}
case_long_vhost_fs_vm() { fs vm; }
case_vhost_fs_realm() { fs realm; }

case_long_vhost_fs_ro()
{
	programs
	mkdir share
	pattern 12 100000 >share/in
	MACHINE='-c 1 -m 512' CMDLINE='rt.vhost=fs rt.seed=1'
	linux vm vhost --fs share,rtshare,ro
	want in_sha256 "$(sha share/in)"
	want ro yes
	[ "$(ls share)" = in ] || fail "in the folder: $(ls share)"
}

qcow2()
{
	programs
	pattern 21 1048576 >d.raw
	qemu-img convert -f raw -O qcow2 d.raw d.qcow2 || fail "qemu-img"
	vhost "$1" disk -d d.qcow2,format=qcow2
	want disk_bytes 1048576
	want disk_sha256 "$(sha d.raw)"
	want ro 0
	pattern 4000 1048576 >want
	want written_sha256 "$(sha want)"
	qemu-img convert -f qcow2 -O raw d.qcow2 out.raw || fail "qemu-img"
	cmp want out.raw || fail "the image is not what the guest wrote"
	qemu-img check d.qcow2 >"$T/check" 2>&1 || fail "$(tail -n 1 "$T/check")"
}
case_long_vhost_qcow2_vm() { qcow2 vm; }
case_vhost_qcow2_realm() { qcow2 realm; }

# read-only, and twice: the second VM is told who has it
case_long_vhost_qcow2_ro()
{
	programs
	pattern 22 1048576 >d.raw
	qemu-img convert -f raw -O qcow2 d.raw d.qcow2 || fail "qemu-img"
	h=$(sha d.qcow2)
	vhost vm disk -d d.qcow2,format=qcow2,ro
	want disk_sha256 "$(sha d.raw)"
	want ro 1
	[ "$(sha d.qcow2)" = "$h" ] || fail "the image was changed"
	qemu-storage-daemon --blockdev driver=file,node-name=f,filename=d.qcow2 \
		--blockdev driver=qcow2,node-name=d,file=f --export \
		type=vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,addr.path=s &
	qsd=$!
	n=50
	while [ ! -e s ] && [ $n -gt 0 ]; do
		n=$((n - 1))
		usleep 100000
	done
	# that one as a back end that runs already, too
	vhost vm disk -d socket=s
	want disk_sha256 "$(sha d.raw)"
	pattern 4000 1048576 >want
	want written_sha256 "$(sha want)"
	rt run -k "$G/hello.flat" -m 64 -d d.qcow2,format=qcow2
	kill $qsd
	wait $qsd
	[ $rc = 128 ] || fail "exit code $rc for an image that is in use"
	grep -q '^Fatal: disk d.qcow2: .*another process using' "$T/err" || fail "$(tail -n 1 "$T/err")"
}

# The guest reboots while both are in use; both go on.
boots_twice()
{
	programs
	mkdir share
	pattern 31 500000 >share/in
	pattern 32 1048576 >d.raw
	qemu-img convert -f raw -O qcow2 d.raw d.qcow2 || fail "qemu-img"
	LIMIT=240
	MACHINE='-c 2 -m 512' CMDLINE=rt.vhost=boots
	linux "$1" vhost --fs share,rtshare -d d.qcow2,format=qcow2
	[ "$(grep -c "^boot=[12] in_sha256=$(sha share/in) disk_sha256=$(sha d.raw)" "$T/rt")" = 2 ] ||
		fail "boots: $(grep '^boot=' "$T/rt" | tr '\n' ' ')"
}
case_long_vhost_reboot_vm() { boots_twice vm; }
case_long_vhost_reboot_realm() { boots_twice realm; }

# virtiofsd dies: the guest lives, and so does its disk
case_vhost_killed()
{
	programs
	mkdir share
	pattern 41 500000 >share/in
	pattern 42 1048576 >d.img
	bg run $(mode realm) -c 1 -m 512 -k "$KERNEL" -i "$TOP/initrd" --fs share,rtshare -d d.img \
		-p "$CONSOLE panic=-1 quiet rt.test=vhost rt.vhost=killed"
	await 'RT: ready' 60
	for p in /proc/[0-9]*; do
		grep -qz 'shared-dir=share' "$p/cmdline" 2>/dev/null && kill -KILL "${p#/proc/}"
	done
	await 'share rtshare: .*gone' 20 "$T/err"
	printf '\n' >&9
	bg_end 60
	answers
	want in_sha256 "$(sha share/in)"
	want disk_sha256 "$(sha d.img)"
	[ $rc = 0 ] || fail "exit code $rc"
}

# a tap whose packets the kernel carries
net()
{
	in_bed
	modprobe vhost_net 2>/dev/null
	[ -c /dev/vhost-net ] || skip "this host has no vhost-net"
	MACHINE="-c 2 -m $3" TAP_MORE=,vhost=1
	# its threads have names of their own, and are the kernel's or ours
	(while :; do
		cat /proc/[0-9]*/task/*/comm 2>/dev/null | grep '^vhost-' >>threads
		sleep 1
	done) &
	echo $! >>"$T/pids"
	q=$2 m=$1
	shift 3
	tap "$m" "$q" "$@"
	grep -q vhost- threads || fail "no thread of the kernel's carried the packets: $(cat threads)"
}
case_long_vhost_net_vm() { net vm 2 512; }
# with room for the bounces: with less, no segments pass, which makes it a matter of minutes
case_vhost_net_realm() { net realm 1 512 --swiotlb 32; }
case_long_vhost_net_realm_pool() { net realm 1 512; }

# passt behind a vhost-user socket
user_net()
{
	programs
	# without a way to the world passt takes addresses of its own choice
	[ -e /sys/class/net/ext0 ] || outside
	chmod 777 .
	for m; do
		su -s /bin/sh user -c "PATH=$PATH exec passt --vhost-user --socket $PWD/s --foreground \
			--address 192.168.33.15 --netmask 24 --gateway 192.168.33.1" >"$T/passt" 2>&1 &
		echo $! >>"$T/pids"
		n=100
		while [ ! -S s ]; do
			[ $n -gt 0 ] || fail "no passt: $(tail -n 1 "$T/passt")"
			n=$((n - 1))
			usleep 100000
		done
		pattern 77 1048576 >want_up
		pattern 5 1048576 >down
		rm -f hold
		mkfifo hold
		nc -l -p 7001 0<>hold >up &
		echo $! >>"$T/pids"
		serve 7002 down
		MACHINE='-c 1 -m 512'
		# its frames have 64 KiB
		[ $m = vm ] || MACHINE="$MACHINE --swiotlb 16"
		start_net $m user -n mode=vhost-user,socket=s
		bg_end 100
		answers
		[ "$rc" = 0 ] || fail "$m: exit code $rc: $(tail -n 1 "$T/err")"
		want lease "192.168.33.15 192.168.33.1"
		cmp -s up want_up || fail "$m: $(wc -c <up) bytes came up, not what the guest has sent"
		want down "$(sha down)"
		want errors "0 0"
		rm -f s
	done
}
case_vhost_user_net() { user_net realm; }
case_long_vhost_user_net() { user_net vm; }

# sockets through the kernel, in both directions at once
vsock()
{
	in_bed
	modprobe vhost_vsock 2>/dev/null
	[ -c /dev/vhost-vsock ] || skip "this host has no vhost-vsock"
	small "$1" vsock --vsock 5 --debug
	"$TOP/sockio" -l -e vsock:4294967295:88 >"$T/to_host" 2>&1 &
	echo $! >>"$T/pids"
	await "RT: ready" 60
	i=0
	until "$TOP/sockio" -s 3000000 -r 3000000 vsock:5:77 >"$T/from_host" 2>&1; do
		[ $i -lt 20 ] || fail "from the host: $(cat "$T/from_host")"
		i=$((i + 1))
		usleep 300000
	done
	bad 'another VM of this host has this CID' run -k "$G/hello.flat" -m 64 --vsock 5
	mv "$T/out.1" "$T/out"
	small_end
	want to_host "sent 3000000 received 3000000"
	want from_host "echoed 3000000"
	case $(got refused) in
	*reset*) ;;
	*) fail "port 89: $(got refused)" ;;
	esac
}
case_long_vhost_vsock_vm() { vsock vm; }
case_vhost_vsock_realm() { vsock realm; }

# What is missing is said, with what to do
case_vhost_missing()
{
	mkdir share
	PATH=/bin:/usr/bin:/sbin
	truncate -s 1M d.qcow2
	bad 'install virtiofsd' run -k "$G/hello.flat" -m 64 --fs share,t
	bad 'install qemu-utils' run -k "$G/hello.flat" -m 64 -d d.qcow2,format=qcow2
	bad 'no vhost-user back end at nobody' run -k "$G/hello.flat" -m 64 -d socket=nobody
	bad 'no vhost-user back end at nobody' run -k "$G/hello.flat" -m 64 --fs socket=nobody,tag=t
	in_bed
	modprobe tun
	modprobe -r vhost_vsock vhost_net 2>/dev/null
	bad 'no /dev/vhost-vsock: "sudo modprobe vhost_vsock", or .*path=SOCKET' run -k "$G/hello.flat" \
		-m 64 --vsock 5
	bad 'no /dev/vhost-net: "sudo modprobe vhost_net", or leave out vhost=1' run -k "$G/hello.flat" \
		-m 64 -n tap,tapif=rt3,vhost=1
}
