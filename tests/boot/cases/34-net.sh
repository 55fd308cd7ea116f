# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154,SC2086 # rc, G, T, ... come from lib.sh and inside.sh
# Network devices: a tap on this host, and passt without root.

SUM=1048576

# serve PORT FILE: one connection gets the file
serve()
{
	nc -l -p "$1" <"$2" >/dev/null &
	echo $! >>"$T/pids"
}

# with_taps: this host may have taps only in a module
with_taps()
{
	in_bed
	modprobe tun 2>/dev/null
	[ -c /dev/net/tun ] || skip "this host has no taps"
}

# over a tap: both ways, by both sides
tap()
{
	with_taps
	m=$1 queues=$2
	shift 2
	pattern 77 $SUM >want_up
	pattern 5 $SUM >down
	mkfifo hold
	nc -l -p 7001 0<>hold >up &
	echo $! >>"$T/pids"
	serve 7002 down
	for n in 1 2 3 4; do
		serve 701$n down
	done
	start_net "$m" tap -n "mode=tap,tapif=rt0,host_ip=10.5.0.1,mq=$queues${TAP_MORE:-}" "$@"
	await 'RT: net=ready' 60
	ping -c 3 -W 5 10.5.0.2 >pong || fail "the guest does not answer: $(tail -n 2 pong)"
	grep -q ' 3 packets received' pong || fail "$(grep received pong)"
	n=50
	until nc 10.5.0.2 7003 </dev/null 2>/dev/null; do
		n=$((n - 1))
		[ $n -gt 0 ] || fail "the guest takes no connection"
		usleep 200000
	done
	bg_end 100
	answers
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	want mac 02:15:15:15:15:15
	want carrier 1
	want tx_queues "$queues"
	want ping 3
	cmp -s up want_up || fail "$(wc -c <up) bytes came up, not what the guest has sent"
	want down "$(sha down)"
	want many "$(sha down) "
	want errors "0 0"
	# what we made is gone with us
	[ ! -e /sys/class/net/rt0 ] || fail "the interface rt0 is still there"
}

# start_net MODE WHAT ARG...
start_net()
{
	m=$1 what=$2
	shift 2
	# shellcheck disable=SC2046,SC2086
	bg run $(mode "$m") $MACHINE -k "$KERNEL" -i "$TOP/initrd" \
		-p "$CONSOLE panic=-1 quiet rt.test=net rt.net=$what rt.seed=77 $CMDLINE" "$@"
}

case_long_net_tap_vm() { MACHINE='-c 1 -m 512'; tap vm 1; }
case_long_net_tap_vm_mq() { MACHINE='-c 2 -m 512'; tap vm 2; }
case_long_net_tap_vm_packed() { MACHINE='-c 1 -m 512'; tap vm 1 --virtio-ring packed; }
case_long_net_tap_vm_pci() { MACHINE='-c 2 -m 512'; tap vm 2 --virtio-transport pci; }
case_long_net_tap_realm()
{
	MACHINE='-c 1 -m 512 --swiotlb 64'
	tap realm 1
	want swiotlb 32768
	want mtu 1500
}
# The bounce pool that Linux takes by itself, 512 KiB. With mergeable buffers it comes to a halt.
case_net_tap_realm_pool()
{
	MACHINE='-c 1 -m 512'
	tap realm 1
	want swiotlb 256
	want mtu 1501
	grep -q 'through a pool of only 512 KiB' "$T/err" || fail 'no warning'
}
case_long_net_tap_realm_mq() { MACHINE='-c 2 -m 1024 --swiotlb 64'; tap realm 2 --virtio-transport pci; }

# as_user: from here on realmtool is run by somebody without privileges, and finds passt. passt
# leaves the root file system for an empty one, and the kernel's first one cannot be left: the user
# sees another mount of it.
as_user()
{
	[ -e "$TOP/vhost/passt" ] || skip "no Debian 13 for passt"
	in_bed
	chmod 755 .
	mkdir root
	cat >inner <<-END
		PATH=\$PATH:$TOP/vhost
		exec "$BIN" "\$@"
	END
	cat >outer <<-END
		mount -o rbind / "$PWD/root" && cd "$PWD/root" && mount -o move . / || exit 1
		exec chroot . su -s /bin/sh -- user "$PWD/inner" "\$@"
	END
	printf '#!/bin/sh\nexec unshare -m sh "%s/outer" "$@"\n' "$PWD" >user
	chmod 755 user
	BIN=$PWD/user
}

# passt_pids: it is started by way of its own C library's loader
passt_pids()
{
	grep -l 'real[/]passt' /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3
}

# outside: this host has a way to the world, whose end passt takes for its own
outside()
{
	with_taps
	tunctl -t ext0 >/dev/null || fail "no interface"
	ip addr add 192.0.2.1/24 dev ext0
	ip link set ext0 up
	ip route add default via 192.0.2.2
}

user()
{
	as_user
	outside
	pattern 77 $SUM >want_up
	pattern 5 $SUM >down
	mkfifo hold
	nc -l -p 7001 0<>hold >up &
	echo $! >>"$T/pids"
	serve 7002 down
	start_net "$1" user -n user --debug
	bg_end 100
	tunctl -d ext0 >/dev/null
	answers
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	want carrier 1
	want lease "192.168.33.15 192.168.33.1"
	cmp -s up want_up || fail "$(wc -c <up) bytes came up, not what the guest has sent"
	want down "$(sha down)"
	want errors "0 0"
	no_passt
}

no_passt()
{
	i=0
	while [ -n "$(passt_pids)" ] && [ $i -lt 20 ]; do
		usleep 100000
		i=$((i + 1))
	done
	[ -z "$(passt_pids)" ] || fail "passt is still there"
}

case_net_user_vm() { MACHINE='-c 1 -m 512'; user vm; }
case_long_net_user_realm() { MACHINE='-c 1 -m 512 --swiotlb 64'; user realm; }

# passt dies under a running guest: the guest sees its link go down, and lives
case_net_user_dies()
{
	as_user
	MACHINE='-c 1 -m 512'
	start_net vm end -n user
	await 'RT: net=ready' 60
	p=$(passt_pids)
	[ -n "$p" ] || fail "no passt is there"
	kill -KILL "$p"
	bg_end 60
	answers
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	want carrier 0
	want rc 0
	grep -q '^Warning: passt was ended by signal 9' "$T/err" || fail "$(cat "$T/err")"
	grep -q '^Warning: .*its link is down' "$T/err" || fail "$(cat "$T/err")"
}

# lkvm's own network device, on a host without passt: in its place, without a link
case_net_lkvm_default()
{
	BIN=$LKVM
	MACHINE='-c 1 -m 512'
	rt run $MACHINE -k "$KERNEL" -i "$TOP/initrd" -p "panic=-1 quiet rt.test=net rt.net=none"
	answers
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	want mac 02:15:15:15:15:15
	want carrier 0
	[ "$(grep -c passt "$T/err")" = 1 ] || fail "$(grep -c passt "$T/err") lines about passt"
	grep -q '^Info: .*no link.*passt.*apt install passt' "$T/err" || fail "$(grep passt "$T/err")"
	# it is in the devicetree, whatever the host has, and --network mode=none takes it away
	rt run $MACHINE -k "$G/off.flat" --dump-dtb a.dtb
	rt run $MACHINE -k "$G/off.flat" --dump-dtb b.dtb --network mode=none
	! cmp -s a.dtb b.dtb || fail "mode=none makes no difference"
	rt run $MACHINE -k "$G/off.flat" --dump-dtb c.dtb --nodefaults
	rt run $MACHINE -k "$G/off.flat" --dump-dtb b.dtb --nodefaults --network mode=none
	cmp -s b.dtb c.dtb || fail "--nodefaults is not without it"
}

# a macvtap filters by its MAC address, so the guest gets that one
case_net_macvtap()
{
	with_taps
	modprobe macvtap 2>/dev/null
	tunctl -t base0 >/dev/null || fail "no tap to stand on"
	ip link set base0 up
	ip link add link base0 name mv0 type macvtap || skip "no macvtap here"
	ip link set mv0 up
	want=$(cat /sys/class/net/mv0/address)
	n=$(cat /sys/class/net/mv0/ifindex)
	MACHINE='-c 1 -m 512' CMDLINE='rt.net=none'
	linux vm net -n "tap,tapif=/dev/tap$n"
	ip link del mv0
	tunctl -d base0 >/dev/null
	want mac "$want"
	want carrier 1
}

case_net_script()
{
	with_taps
	cat >ifup <<-'END'
		#!/bin/sh
		echo "$0 $*" >>log
		ip link set "$1" up
	END
	cp ifup ifdown
	chmod 755 ifup ifdown
	rt run $MACHINE -k "$G/off.flat" -n mode=tap,tapif=rt1,script=ifup,downscript="$PWD/ifdown"
	[ "$rc" = 0 ] || fail "exit code $rc: $(cat "$T/err")"
	[ "$(cat log)" = "./ifup rt1
$PWD/ifdown rt1" ] || fail "$(cat log)"
	echo 'echo oh dear; exit 3' >>ifup
	bad 'rt1: .*ended with code 3: oh dear' run $MACHINE -k "$G/off.flat" \
		-n tapif=rt1,script=./ifup
	bad 'script .*nowhere: No such file.*or none' run $MACHINE -k "$G/off.flat" \
		-n tapif=rt1,script=nowhere
}

case_net_bad_input()
{
	bad 'passt is not there.*apt install passt.*mode=tap' run $MACHINE -k "$G/off.flat" -n user
	bad 'socket nowhere: No such file.*passt with --socket' run $MACHINE -k "$G/off.flat" \
		-n user,socket=nowhere
	bad 'descriptor 9 was not handed over' run $MACHINE -k "$G/off.flat" -n fd=9
	bad 'MAC address' run $MACHINE -k "$G/off.flat" -n tap,guest_mac=1:2:3
	bad 'no IPv4 address' run $MACHINE -k "$G/off.flat" -n user,guest_ip=1.2.3
	bad 'mq is for taps' run $MACHINE -k "$G/off.flat" -n user,mq=2
	bad 'name of an interface' run $MACHINE -k "$G/off.flat" -n tap,tapif=a-name-far-too-long
	with_taps
	bad 'interface lo is no tap' run $MACHINE -k "$G/off.flat" -n tap,tapif=lo
	bad '/dev/tap99: No such file' run $MACHINE -k "$G/off.flat" -n tap,tapif=/dev/tap99
	# who may not make one is told what to type
	chmod 666 /dev/net/tun
	as_user
	bad 'rt2 is not there.*sudo ip tuntap add rt2 mode tap user 1000 && sudo ip link set rt2 up' \
		run $MACHINE -k "$G/off.flat" -n tap,tapif=rt2
}
