# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154,SC2086,SC2046,SC2015 # rc, G, ... come from lib.sh; words
# A host that fails under a running guest. Its helpers that die: 34-net.sh, 36-vhost.sh; kill -9 at
# random moments: 72-control.sh; clients of the control socket that hang: tests/unit/test_control.c.

# start MODE TEST ARG...: Linux in the background
start()
{
	m=$1 t=$2
	shift 2
	bg run $(mode "$m") $MACHINE -k "$KERNEL" -i "$TOP/initrd" \
		-p "$CONSOLE panic=-1 quiet rt.test=$t $CMDLINE" "$@"
}

# sectors_of FILE: what the guest says it has flushed is in the file
sectors_of()
{
	answers
	n=$(got flushed)
	i=1
	while [ $i -le "${n:-0}" ]; do
		printf '%-511d\n' $i
		i=$((i + 1))
	done >want
	dd if="$1" bs=512 skip=1 count="${n:-0}" 2>/dev/null | cmp - want ||
		fail "sectors are lost of ${n:-0} flushed"
}

# calm WHAT: the log is a few lines, whatever the guest does
calm()
{
	[ "$(wc -l <"$T/err")" -le 12 ] || fail "$1: $(wc -l <"$T/err") lines in the log"
}

# own_ticks: CPU time of realmtool's threads that are no vCPUs, in hundredths of a second
own_ticks()
{
	cat /proc/$bg/task/*/stat 2>/dev/null |
		awk '$0 !~ /\(vcpu/ { sub(/.*\) /, ""); n += $12 + $13 } END { print n + 0 }'
}

# idle WHAT: no thread goes round and round
idle()
{
	t0=$(own_ticks)
	sleep 2
	t1=$(own_ticks)
	echo "$1: $((t1 - t0)) ticks in 2 s" >>"$T/log"
	[ $((t1 - t0)) -lt 120 ] || fail "$1: a thread spins, $((t1 - t0)) ticks in 2 s"
}

# the file system of a disk fills up: the guest sees the error, what it flushed before is there
disk_full()
{
	in_bed
	MACHINE='-c 1 -m 512' CMDLINE=rt.blk=sync
	mkdir full
	mount -t tmpfs -o size=48k none full || fail "no tmpfs"
	truncate -s 2M full/d.img
	start "$1" blk -d "full/d.img$2"
	bg_end 100
	(
		[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
		sectors_of full/d.img
		[ "$n" -ge 20 ] && [ "$n" -lt 200 ] || fail "$n sectors fit into 48 KiB"
		calm "$1"
	) || rc=1
	umount full
	[ $rc = 0 ] || exit 1
}
case_faults_disk_full_vm() { disk_full vm ''; }
case_long_faults_disk_full_realm() { disk_full realm ,cache=writethrough; }

# the same by a limit on the size of files, which comes as a signal, too
case_faults_file_limit()
{
	MACHINE='-c 1 -m 512' CMDLINE=rt.blk=sync
	truncate -s 2M d.img
	(
		ulimit -f 64	# of 512 bytes, or of 1024
		start vm blk -d d.img
		bg_end 100
		[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	) || exit 1
	sectors_of d.img
	[ "$n" -ge 20 ] && [ "$n" -lt 200 ] || fail "$n sectors fit into the limit"
	calm limit
}

# somebody cuts the file of a disk short: errors for the guest, nothing worse; it grows again
case_faults_disk_cut()
{
	MACHINE='-c 1 -m 512' CMDLINE=rt.blk=reads
	pattern 3 4194304 >d.img
	start vm blk -d d.img
	await 'RT: read=4194304' 90
	truncate -s 1M d.img
	await 'RT: read=1048576' 60
	truncate -s 4M d.img
	await 'RT: again=4194304' 60
	bg_end 60
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	calm cut
}

# the file behind persistent memory: the guest's next access ends the run, with the reason
case_faults_pmem_cut()
{
	MACHINE='-c 1 -m 512' CMDLINE=rt.what=pmem
	truncate -s 4M p.img
	start vm small --pmem p.img
	await 'RT: bytes=4194304' 90
	truncate -s 0 p.img
	bg_end 60
	answers
	# 0: the guest took the error for one of its own, and went on
	case $rc in
	0) ;;
	128)
		[ "$(grep -c '^Fatal: ' "$T/err")" = 1 ] || fail "no word why: $(tail -n 1 "$T/err")"
		;;
	*) fail "exit code $rc: $(tail -n 1 "$T/err")" ;;
	esac
	rm p.img
	rt run $MACHINE -k "$G/hello.flat"
	[ $rc = 0 ] || fail "the next run: exit code $rc"
}

# a tap that is taken away: the guest lives, nobody goes round and round
case_faults_tap_gone()
{
	in_bed
	modprobe tun 2>/dev/null
	[ -c /dev/net/tun ] || skip "this host has no taps"
	bg run $MACHINE -k "$G/tick.flat" -n mode=tap,tapif=rt0
	await '# ready' 60
	ip link set rt0 up
	idle "with the tap"
	ip link del rt0
	idle "without the tap"
	printf q >&9
	bg_end 30
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	calm tap
}

# the clock of the host jumps: what waits for a time still waits as long as it did
case_faults_clock()
{
	in_bed
	now=$(date +%s)
	bg run $MACHINE --power-button -k "$G/power.flat" -p deaf --stop-timeout 4
	await '# ready' 60
	date -s "@$((now + 86400))" >/dev/null
	kill -TERM "$bg"
	usleep 500000
	kill -0 "$bg" || fail "its time was over at once"
	date -s "@$((now - 86400))" >/dev/null
	bg_end 30
	date -s "@$((now + 10))" >/dev/null
	[ $rc = 143 ] || fail "exit code $rc"

	# timers of a guest, and its own counter
	bg run $MACHINE -k "$G/tick.flat"
	await '# ready' 60
	date -s "@$((now - 3600))" >/dev/null
	usleep 500000
	date -s "@$((now + 20))" >/dev/null
	idle clock
	printf q >&9
	bg_end 30
	[ $rc = 0 ] || fail "exit code $rc"
	ms=$(sed -n 's/^# ticked \([0-9]*\) ms.*/\1/p' "$T/out" | tr -d '\r')
	[ "$ms" -lt 100000 ] || fail "the guest's counter advanced by $ms ms"
	calm clock
}

# stopped like any other process, and continued: the guest goes on
case_faults_stop()
{
	for m in vm realm; do
		bg run $(mode $m) $MACHINE -k "$G/tick.flat"
		await '# ready' 60
		for i in 1 2 3; do
			kill -STOP "$bg"
			sleep 1
			kill -CONT "$bg"
			usleep 200000
		done
		idle "$m after $i stops"
		printf q >&9
		bg_end 30
		[ $rc = 0 ] || fail "$m: exit code $rc: $(tail -n 1 "$T/err")"
		grep -q '^ok 1 - tick' "$T/out" || fail "$m: $(tail -n 1 "$T/out")"
		[ ! -s "$T/err" ] || [ $m = realm ] || fail "$m: $(head -n 1 "$T/err")"
		calm $m
	done
}

# memory that runs out: with a limit that a guest can live with it does, below it the kernel ends
# realmtool and nothing is left
case_long_faults_memory()
{
	in_bed
	mkdir cg
	mount -t cgroup2 none cg 2>/dev/null || skip "this host has no cgroup2"
	echo +memory >cg/cgroup.subtree_control 2>/dev/null
	mkdir cg/faults
	[ -e cg/faults/memory.max ] || {
		rmdir cg/faults
		umount cg
		skip "no memory controller"
	}
	for max in 320M 24M; do
		echo $max >cg/faults/memory.max
		rc=0
		truncate -s 2M d.img
		(
			echo 0 >cg/faults/cgroup.procs
			rt run -c 1 -m 1024 -k "$KERNEL" -i "$TOP/initrd" -d d.img \
				-p "$CONSOLE panic=-1 quiet rt.test=blk rt.blk=looks"
			exit $rc
		) || rc=$?
		echo 0 >cg/cgroup.procs
		case $max in
		320M) [ $rc = 0 ] || break ;;
		*) if [ $rc = 0 ]; then rc=1; break; fi ;;
		esac
		rc=0
	done
	i=0
	until rmdir cg/faults 2>/dev/null || [ $i = 50 ]; do
		usleep 100000
		i=$((i + 1))
	done
	umount cg
	[ $rc = 0 ] || fail "memory.max=$max: $(cat "$T/why" 2>/dev/null) $(tail -n 1 "$T/err")"
	rm -f "$T/why"
	rt run $MACHINE -k "$G/hello.flat"
	[ $rc = 0 ] || fail "the next run: exit code $rc"
}

# kill -9 at each second of a boot: the same disk and name serve the next start, nothing is lost
case_long_faults_killed_each_second()
{
	XDG_RUNTIME_DIR=$PWD/xdg
	export XDG_RUNTIME_DIR
	mkdir xdg
	MACHINE='-c 1 -m 512 --name each' CMDLINE=rt.blk=sync
	truncate -s 2M d.img
	s=0 over=0
	while [ $s -lt 40 ] && [ $over -lt 3 ]; do
		start vm blk -d d.img --vsock 3,path=v.sock
		sleep $s
		kill -KILL "$bg" || fail "it ended by itself before $s s: $(tail -n 1 "$T/err")"
		wait "$bg" 2>/dev/null
		! grep -v 'no byte on the guest' "$T/err" || fail "after a kill: $(tail -n 1 "$T/err")"
		sectors_of d.img
		[ "${n:-0}" = 0 ] || over=$((over + 1))
		s=$((s + 1))
	done
	[ $over = 3 ] || fail "no boot was over within 40 s"
	"$BIN" list >/dev/null
	[ -z "$(ls -A xdg/realmtool)" ] || fail "left: $(ls -A xdg/realmtool)"
	rm -f v.sock
}
