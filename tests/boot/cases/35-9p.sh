# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# Folders shared by 9p. The guest is the kernel of tests/testbed/mkkernel: Debian's has no 9p.

p9_kernel()
{
	[ -e "$TOP/Image.9p" ] || skip "no kernel with 9p was built"
	KERNEL=$TOP/Image.9p
}

# p9_share: a folder "share" with all kinds of things, beside it what is none of the guest's business
p9_share()
{
	mkdir share
	pattern 7 3000000 >share/from-host
	echo secret >secret
	ln -s ../secret share/astray
	mkfifo share/fifo
}

# p9_check MODE CACHE MSIZE SEED OPTION...
p9_check()
{
	m=$1 cache=$2 msize=$3 seed=$4
	shift 4
	p9_kernel
	p9_share
	MACHINE="-c 2 -m 512"
	linux "$m" p9 --9p share,share -p "rt.cache=$cache rt.msize=$msize rt.seed=$seed" "$@"
	[ -z "$(got error)" ] || fail "guest: $(got error)"
	want from_host "$(sha share/from-host)"
	want fifo through
	for t in fsx names directory attributes xattrs locks escapes mapping; do
		grep -q "^p9 $t ok" "$T/rt" || fail "$t: $(grep "^p9 $t" "$T/rt")"
	done
	want from_guest "$(sha share/from-guest)"
	[ -p share/made/d/fifo ] || fail "no FIFO came out of the guest"
	[ "$(readlink share/made/esc)" = ../../../../../../../../../../host-secret ] || fail "symlink"
	[ "$(stat -c '%u %g %s' share/made/attr)" = "12 34 5000" ] ||
		fail "attributes: $(stat -c '%u %g %s' share/made/attr)"
	[ "$(cat secret)" = secret ] || fail "the file beside the share has changed"
}

case_9p_vm()
{
	p9_check vm none 512000 1
}

case_long_9p_vm_cached()
{
	p9_check vm loose 16384 2
}

case_9p_realm()
{
	p9_check realm none 512000 3
	want rsi 1.0
}

case_long_9p_realm_cached()
{
	p9_check realm loose 131072 4
}

case_9p_read_only()
{
	p9_kernel
	p9_share
	before=$(sha share/from-host)
	linux vm p9 --9p share,share,ro -p "rt.cache=none rt.msize=65536 rt.ro"
	[ -z "$(got error)" ] || fail "allowed: $(got error)"
	want from_host "$before"
	[ "$(sha share/from-host)" = "$before" ] || fail "from-host has changed"
	[ "$(find share | wc -l)" = 4 ] || fail "$(find share)"
}

case_9p_bad_options()
{
	rt run $MACHINE -k "$G/hello.flat" --9p none,share
	[ $rc != 0 ] || fail "a folder that is not there"
	grep -q 'none.*No such file' "$T/err" || fail "$(cat "$T/err")"
	rt run $MACHINE -k "$G/hello.flat" --9p "$RT,share"
	[ $rc != 0 ] || fail "a file for a folder"
	grep -q 'no folder' "$T/err" || fail "$(cat "$T/err")"
}

# lkvm_home: ~ is here, so that ~/.lkvm is made anew
lkvm_home()
{
	p9_kernel
	BIN=$LKVM
	HOME=$PWD
	export HOME
}

# lkvm without a disk: ~/.lkvm/default is made, and its init runs what it finds
case_9p_lkvm_default()
{
	lkvm_home
	rt setup default
	[ $rc = 0 ] || fail "setup: $(cat "$T/err")"
	[ -x .lkvm/default/virt/init ] || fail "no init"
	rt setup default
	[ $rc != 0 ] || fail "made twice"
	cat >.lkvm/default/virt/init-script <<-'END'
		#!/host/bin/busybox sh
		export PATH=/host/bin
		bb=/host/bin/busybox
		echo "RT: init=$($bb sed -n 's/.*init=//p' /proc/cmdline | $bb cut -d' ' -f1)"
		echo "RT: root=$($bb sed -n 's/^[^ ]* \/ \([^ ]*\) .*/\1/p' /proc/mounts | $bb tail -n 1)"
		echo "RT: host=$($bb cat /host/marker)"
		echo no 2>/dev/null >/host/marker && echo "RT: error=hostfs is writable"
		echo "from the guest" >/virt/home/note
		$bb touch /tmp/x || echo "RT: error=/tmp"
	END
	chmod +x .lkvm/default/virt/init-script
	echo "the host" >/marker
	for m in vm realm; do
		rm -f .lkvm/default/virt/home/note
		# shellcheck disable=SC2046
		rt run $(mode $m) -c 1 -m 256 -k "$KERNEL" --network mode=none -p "quiet panic=-1"
		answers
		[ $rc = 0 ] || fail "$m: exit code $rc: $(tail -n 1 "$T/err"); $(tail -n 3 "$T/out")"
		[ -z "$(got error)" ] || fail "$m: $(got error)"
		want init /virt/init
		want root 9p
		want host "the host"
		[ "$(cat .lkvm/default/virt/home/note)" = "from the guest" ] || fail "$m: no note"
	done
	rm /marker
}

# -d NAME is one of ~/.lkvm, -d FOLDER is a root file system of the user's own
case_9p_lkvm_disk()
{
	lkvm_home
	rt setup other
	[ $rc = 0 ] || fail "setup: $(cat "$T/err")"
	printf '#!/host/bin/busybox sh\necho RT: mine=other\n' >.lkvm/other/virt/init-script
	chmod +x .lkvm/other/virt/init-script
	rt run -c 1 -m 256 -k "$KERNEL" -d other --network mode=none -p "quiet panic=-1"
	answers
	want mine other
	mkdir -p own/dev
	cp "$RT" own/init-program
	cp .lkvm/other/virt/init own/init
	mkdir -p own/proc own/sys own/run own/host own/virt
	cp /bin/busybox own/busybox
	printf '#!/busybox sh\necho RT: mine=own\n' >own/virt/init-script
	chmod +x own/virt/init-script
	rt run -c 1 -m 256 -k "$KERNEL" -d own --network mode=none -p "quiet panic=-1 init=/init"
	answers
	want mine own
	rt run -c 1 -m 256 -k "$KERNEL" -d own -d other --network mode=none
	[ $rc != 0 ] || fail "two root file systems"
}
