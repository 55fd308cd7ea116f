# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154,SC2034,SC2086 # rc, G, ... come from, CMDLINE goes to lib.sh; words
# The block device with Linux as its driver: options, queues, caches, sizes, and what a kill leaves.

# blk MODE WHAT ARG...
blk()
{
	m=$1
	CMDLINE=rt.blk=$2
	shift 2
	linux "$m" blk "$@"
	want rc 0
}

# what the options say is what the driver sees
case_blk_options()
{
	MACHINE='-c 2 -m 512'
	truncate -s 4M d.img
	blk vm looks -d d.img
	want queues 2
	want cache "write back"
	want serial disk0
	[ "$(got discard)" -gt 0 ] || fail "no discard"
	blk vm looks -d d.img,queues=1,queue-size=32,cache=writethrough,discard=off,serial=hello
	want queues 1
	want cache "write through"
	want discard 0
	want serial hello
	! grep -q unsafe "$T/err" || fail "a warning: $(cat "$T/err")"
	blk realm looks -d d.img,cache=unsafe,queue-size=1024
	want queues 2
	want cache "write through"
	grep -q '^Warning: .*cache=unsafe' "$T/err" || fail "no warning: $(cat "$T/err")"
}

case_long_blk_cache_type()
{
	MACHINE='-c 1 -m 512'
	truncate -s 1M d.img
	blk vm cache -d d.img
	[ "$(sed -n 's/^cache_type=//p' "$T/rt" | tr '\n' ,)" = 'write through,write back,' ] ||
		fail "cache_type: $(sed -n 's/^cache_type=//p' "$T/rt" | tr '\n' ,)"
	[ "$(grep -c '^written=yes' "$T/rt")" = 2 ] || fail "a write failed"
}

# all CPUs at once, each through a queue of its own
parts()
{
	MACHINE='-c 4 -m 512'
	truncate -s 4M d.img
	blk "$1" verify -d "d.img$2" $3 ${4:-}
	for cpu in 0 1 2 3; do
		want part$cpu same
		seq $((cpu + 1))00000 999999999 | head -c 1048576
	done >want.img
	cmp d.img want.img || fail "the file is not what the guest wrote"
}
case_long_blk_vm_queues() { parts vm '' ''; }
case_long_blk_realm_queues() { parts realm '' ''; }
case_long_blk_vm_queues_packed() { parts vm '' --virtio-ring packed; }
case_long_blk_realm_queues_packed() { parts realm ,queues=2 --virtio-ring packed; }

# the guest's discard frees blocks of the file
case_blk_discard()
{
	MACHINE='-c 1 -m 512'
	pattern 1 4194304 >d.img
	pattern 1 4194304 >want.img
	dd if=/dev/zero of=want.img bs=1M seek=1 count=2 conv=notrunc 2>/dev/null
	before=$(du -k d.img | cut -f1)
	blk realm trim -d d.img
	want trimmed yes
	want zeroes 0
	after=$(du -k d.img | cut -f1)
	[ $((before - after)) -ge 2048 ] || fail "$before KiB before, $after after"
	cmp d.img want.img || fail "more than that was changed"
}

# killed in the middle: what was flushed is there
killed()
{
	MACHINE='-c 1 -m 512'
	truncate -s 2M d.img
	# shellcheck disable=SC2046,SC2086
	bg run $(mode "$1") $MACHINE -k "$KERNEL" -i "$TOP/initrd" \
		-p "$CONSOLE panic=-1 quiet rt.test=blk rt.blk=sync" -d "d.img$2"
	await 'RT: flushed=20' 90
	kill -KILL "$bg"
	wait "$bg" 2>/dev/null
	answers
	n=$(got flushed)
	[ "${n:-0}" -ge 20 ] || fail "nothing was flushed"
	i=1
	while [ $i -le "$n" ]; do
		printf '%-511d\n' $i
		i=$((i + 1))
	done >want
	dd if=d.img bs=512 skip=1 count="$n" 2>/dev/null | cmp - want || fail "sectors are lost of $n flushed"
}
case_blk_vm_killed() { killed vm ''; }
case_long_blk_realm_killed() { killed realm ,cache=writethrough; }

# the file grows, the host says so by a signal, the guest sees it and uses it
case_blk_resize()
{
	MACHINE='-c 1 -m 512'
	truncate -s 1M d.img
	# shellcheck disable=SC2046,SC2086
	bg run $(mode vm) $MACHINE -k "$KERNEL" -i "$TOP/initrd" \
		-p "$CONSOLE panic=-1 quiet rt.test=blk rt.blk=resize" -d d.img
	await 'RT: before=1048576' 90
	truncate -s 2M d.img
	kill -USR1 "$bg"
	bg_end 60
	answers
	[ $rc = 0 ] || fail "exit code $rc"
	want after 2097152
	want end written
	[ "$(dd if=d.img bs=512 skip=4095 2>/dev/null | head -n 1)" = here ] || fail "the end was not written"
}

# a block device that the host has mounted
case_blk_busy()
{
	in_bed
	truncate -s 8M fs.img
	mke2fs -F fs.img >/dev/null 2>&1 || skip "no mke2fs"
	modprobe loop 2>/dev/null
	loop=$(losetup -f)
	losetup "$loop" fs.img || skip "no loop device"
	mkdir mnt
	mount -t ext2 "$loop" mnt 2>/dev/null || mount -t ext4 "$loop" mnt || {
		losetup -d "$loop"
		skip "cannot mount it"
	}
	rc=0
	(bad 'is in use on this host' run -k "$G/hello.flat" -m 64 -d "$loop") || rc=1
	umount mnt
	losetup -d "$loop"
	[ $rc = 0 ] || exit 1
}

# as many as the PCI bus has room for
case_long_blk_240_disks()
{
	MACHINE='-c 2 -m 1024' LIMIT=400
	set --
	i=1
	while [ $i -le 240 ]; do
		truncate -s $((i * 4096)) $i.img
		set -- "$@" -d $i.img
		i=$((i + 1))
	done
	linux vm disks --virtio-transport pci "$@"
	n=$(grep -c '^disk=' "$T/rt")
	[ "$n" = 240 ] || fail "the guest sees $n disks"
	sum=$(sed -n 's/^disk=[a-z]* bytes=\([0-9]*\) .*/\1/p' "$T/rt" | awk '{ n += $1 } END { print n }')
	[ "$sum" = $((4096 * 240 * 241 / 2)) ] || fail "their sizes add up to $sum"
	grep -q '^disk=vda bytes=4096 serial=disk0 ' "$T/rt" || fail "vda is not the first disk"
}
