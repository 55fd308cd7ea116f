# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# Console ports, sockets, balloon, persistent memory.

# small MODE WHAT ARG...: Linux in the background, which does that
small()
{
	m=$1 what=$2
	shift 2
	# shellcheck disable=SC2046
	bg run $(mode "$m") -c 2 -m 512 -k "$KERNEL" -i "$TOP/initrd" \
		-p "console=ttyS0 panic=-1 quiet rt.test=small rt.what=$what" "$@"
}

small_end()
{
	bg_end 60
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	answers
}

# two ports, a socket each: both at once, each way
ports()
{
	m=$1
	shift
	small "$m" ports --console-port first,path=first.sock --console-port second,path=second.sock \
		"$@"
	await "RT: ready" 60
	"$TOP/sockio" -n -s 200000 -r 200000 unix:first.sock >"$T/first" 2>&1 &
	p=$!
	"$TOP/sockio" -n -s 300000 -r 300000 unix:second.sock >"$T/second" 2>&1 ||
		fail "second port: $(cat "$T/second")"
	wait $p || fail "first port: $(cat "$T/first")"
	small_end
	want first "echoed 200000"
	want second "echoed 300000"
	[ ! -e first.sock ] || fail "the socket is still there"
}
case_small_vm_ports() { ports vm; }
case_long_small_realm_ports() { ports realm; }
case_long_small_vm_ports_packed() { ports vm --virtio-ring packed; }

# with ports the size of the terminal is a message
case_small_ports_resize()
{
	for m in vm realm; do
		keep
		rc=0
		# shellcheck disable=SC2046
		"$TOP/ptyrun" -t 120 -e "hvc=ready" -s "forty-two\\n" -e "got=forty-two" -w 100x30 -z 1000 \
			-s "\\n" -e "winsize=30 100" -- "$RT" run $(mode $m) -c 1 -m 512 --console virtio \
			--console-port x --console-port y,path=y.sock -k "$KERNEL" -i "$TOP/initrd" \
			-p "panic=-1 quiet rt.test=hvc" >"$T/out" 2>"$T/err" || rc=$?
		[ $rc = 0 ] || fail "$m: exit code $rc: $(grep ptyrun "$T/err" | head -n 1)"
	done
}

# both directions at once, and a port that nobody listens on
sockets()
{
	m=$1
	shift
	small "$m" vsock --vsock 5,path=vs.sock "$@"
	"$TOP/sockio" -l -e unix:vs.sock_88 >"$T/to_host" 2>&1 &
	p=$!
	await "RT: ready" 60
	i=0
	until "$TOP/sockio" -h "CONNECT 77" -s 3000000 -r 3000000 unix:vs.sock >"$T/from_host" 2>&1; do
		[ $i -lt 20 ] || fail "from the host: $(cat "$T/from_host")"
		i=$((i + 1))
		usleep 300000
	done
	grep -q '^OK [0-9]*$' "$T/from_host" || fail "the host's program is told $(cat "$T/from_host")"
	small_end
	kill $p 2>/dev/null
	want to_host "sent 3000000 received 3000000"
	want from_host "echoed 3000000"
	case $(got refused) in
	*reset*) ;;
	*) fail "port 89: $(got refused)" ;;
	esac
	[ ! -e vs.sock ] || fail "the socket is still there"
}
case_long_small_vm_vsock() { sockets vm; }
case_small_realm_vsock() { sockets realm; }
case_long_small_realm_vsock_packed() { sockets realm --virtio-ring packed; }

rss()
{
	sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$bg/status"
}

# 256 MiB of what the guest has touched go back to the host, and it tells of its memory
case_long_small_balloon()
{
	small vm balloon --balloon=256M,stats=1 --debug
	await "RT: touched" 60
	before=$(rss)
	await "RT: inflated" 60
	usleep 500000
	after=$(rss)
	await "statistics [2-9]" 20 "$T/err"
	small_end
	echo "resident: $before kB before, $after kB after" >>"$T/log"
	[ "$(got inflated)" -ge 65536 ] || fail "the balloon has $(got inflated) pages"
	[ $((before - after)) -gt 200000 ] || fail "resident: $before kB before, $after kB after"
	bad 'balloon.*leave it out' run --realm=emulated --balloon -k "$KERNEL"
}

case_small_pmem()
{
	truncate -s 4M p.img
	pattern 42 4194304 >want.img
	zero=$(sha p.img)
	small vm pmem --pmem p.img
	await "RT: kept" 90
	kill -KILL "$bg"
	wait "$bg" 2>/dev/null
	answers
	want bytes 4194304
	want before "$zero"
	want written "$(sha want.img)"
	cmp p.img want.img || fail "the file is not what the guest wrote"

	# what it writes to a copy is not kept
	truncate -s 0 p.img
	truncate -s 4M p.img
	small vm pmem --pmem p.img,ro --virtio-ring packed
	await "RT: kept" 90
	kill -KILL "$bg"
	wait "$bg" 2>/dev/null
	answers
	want written "$(sha want.img)"
	[ "$(sha p.img)" = "$zero" ] || fail "the file was changed"
	bad 'pmem.*give --disk' run --realm=emulated --pmem p.img -k "$KERNEL"
	truncate -s 1000 odd.img
	bad 'multiple of 2 MiB' run --pmem odd.img -k "$KERNEL"
}
