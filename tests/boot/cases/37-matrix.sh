# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# The guest's view: all virtio devices at once, driven by the stock modules of Debian's kernel, in a plain
# VM and in an emulated realm, on virtio-mmio and virtio-pci, with split and packed rings. One boot each.
# (9p, fs, pmem and back ends outside of realmtool have cases of their own: 33, 35, 36.)

# matrix MODE TRANSPORT RING
matrix()
{
	m=$1 bus=$2 ring=$3
	in_bed
	modprobe tun 2>/dev/null
	[ -c /dev/net/tun ] || skip "this host has no taps"
	pattern 31 2097152 >d.img
	pattern 32 1048576 >ro.img
	pattern 33 2097152 >want.img
	sum=$(sha d.img) ro=$(sha ro.img)
	set -- -d d.img -d ro.img,ro -n mode=tap,tapif=rt0,host_ip=10.6.0.1 --rng \
		--console-port chat,path=chat.sock --vsock 7,path=vs.sock \
		--virtio-transport "$bus" --virtio-ring "$ring"
	nr=6
	if [ "$m" = vm ]; then
		set -- "$@" --balloon
		nr=7
	else
		# six devices share the guest's pool of bounce pages
		set -- "$@" --swiotlb 32
	fi
	"$TOP/sockio" -l -e unix:vs.sock_88 >"$T/vsock" 2>&1 &
	echo $! >>"$T/pids"
	p=$!
	# shellcheck disable=SC2046
	bg run $(mode "$m") -c 2 -m 512 -k "$KERNEL" -i "$TOP/initrd" \
		-p "$CONSOLE panic=-1 quiet rt.test=matrix rt.seed=33" "$@"
	await 'RT: ready' 90
	"$TOP/sockio" -n -s 100000 -r 100000 unix:chat.sock >"$T/chat" 2>&1 || fail "console port: $(cat "$T/chat")"
	ping -c 3 -W 5 10.6.0.2 >"$T/ping" 2>&1 || fail "ping from the host: $(tail -n 1 "$T/ping")"
	bg_end 90
	kill $p 2>/dev/null
	answers
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	want rc 0

	# each device: where it is, and that its driver took what was offered
	want devices $nr
	! grep '^device=' "$T/rt" | grep -v " bus=$bus " || fail "not all are on $bus"
	! grep '^device=' "$T/rt" | grep -v ' bound=yes' || fail "a device has no driver"
	grep '^device=' "$T/rt" | while read -r line; do
		case $ring in
		packed) echo "$line" | grep -q ' packed=1' ;;
		*) echo "$line" | grep -q ' packed=0' ;;
		esac || fail "$line: rings should be $ring"
		# VERSION_1; Linux takes ACCESS_PLATFORM wherever it is offered, but for its balloon
		echo "$line" | grep -qE ' modern=1 platform=1|device=0x0005.* modern=1' || fail "$line"
	done || exit 1

	want vda_sha256 "$sum"
	want vdb_sha256 "$ro"
	want vdb_ro 1
	want written_sha256 "$(sha want.img)"
	cmp d.img want.img || fail "the disk is not what the guest wrote"
	[ "$(sha ro.img)" = "$ro" ] || fail "the read-only disk was changed"
	want ping 3
	want hwrng "virtio_rng.0"
	want random differs
	want port "echoed 100000"
	want vsock "sent 500000 received 500000"
	[ "$m" = vm ] || [ "$(got swiotlb)" = forced ] || fail "nothing was bounced"
}

case_long_matrix_vm_mmio_split() { matrix vm mmio split; }
case_matrix_vm_mmio_packed() { matrix vm mmio packed; }
case_long_matrix_vm_pci_split() { matrix vm pci split; }
case_long_matrix_vm_pci_packed() { matrix vm pci packed; }
case_long_matrix_realm_mmio_split() { matrix realm mmio split; }
case_long_matrix_realm_mmio_packed() { matrix realm mmio packed; }
case_matrix_realm_pci_split() { matrix realm pci split; }
case_long_matrix_realm_pci_packed() { matrix realm pci packed; }
