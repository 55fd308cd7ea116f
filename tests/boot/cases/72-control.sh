# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# The control socket and the commands that use it, all without privileges.

# vm NAME ARG...: a guest in the background; what it says is in $T/NAME.out
vm()
{
	n=$1
	shift
	echo "+ run --name $n $* &" >>"$T/commands"
	"$BIN" run --name "$n" "$@" </dev/null >"$T/$n.out" 2>"$T/$n.err" &
	vm=$!
	echo $vm >>"$T/pids"
}

# ctl CODE ARG...: a command that must end with this exit code; its output is in got
ctl()
{
	code=$1
	shift
	echo "+ $*" >>"$T/commands"
	rc=0
	timeout -s KILL 130 "$BIN" "$@" </dev/null >got 2>got.err || rc=$?
	[ $rc = "$code" ] || fail "exit code $rc, not $code, for: $*: $(head -n 1 got.err)"
}

# has PATTERN: the last command said so
has()
{
	grep -qE -e "$1" got || fail "no \"$1\" in: $(head -n 3 got | tr '\n' '|')"
}

# member KEY: the value of the first member of this name in the JSON in got
member()
{
	sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" got | head -n 1
}

control_setup()
{
	XDG_RUNTIME_DIR=$PWD/xdg
	export XDG_RUNTIME_DIR
	mkdir xdg
	# a build without jansson says so
	"$BIN" version | grep -q 'jansson *yes' || skip "built without jansson"
	plain_user
}

# no_sockets: nothing of a guest is left
no_sockets()
{
	# shellcheck disable=SC2012 # our own names
	left=$(ls -A xdg/realmtool 2>/dev/null | tr '\n' ' ')
	[ -z "$left" ] || fail "sockets are left: $left"
}

case_control_life()
{
	control_setup
	for m in vm realm; do
		# shellcheck disable=SC2046
		vm $m $(mode $m) $MACHINE -k "$G/echo.flat" -p irq
		ctl 0 wait --for '# ready' --timeout 60 -n $m
		has '^# ready'
		[ "$(stat -c %a xdg/realmtool) $(stat -c %a xdg/realmtool/$m.sock)" = "700 600" ] ||
			fail "others can use the socket"
		ctl 0 list
		has " $m +running"
		ctl 0 list --json
		[ "$(member name)" = $m ] && [ "$(member pid)" = $vm ] && [ "$(member state)" = running ] &&
			[ "$(member memory)" = 67108864 ] || fail "list --json: $(tr '\n' ' ' <got)"
		if [ $m = realm ]; then
			rim=$(member rim)
			ctl 0 measure --realm=emulated $MACHINE -k "$G/echo.flat" -p irq
			grep -q "$rim" got && [ ${#rim} = 64 ] || fail "list says that the RIM is $rim"
		fi
		# typed by a viewer, seen by another
		printf ab | timeout 2 "$BIN" console -n $m >typed 2>"$T/console.err"
		grep -qF '[a][b]' typed || fail "$m: the guest said \"$(tail -n 1 typed)\""
		ctl 0 console --log -n $m
		has '\[a\]\[b\]'

		ctl 0 pause -n $m
		has paused
		ctl 0 list
		has " $m +paused"
		{ printf c; sleep 2; } | timeout 2 "$BIN" console --new -n $m >typed
		! grep -qF '[c]' typed || fail "$m: the guest runs while it is paused"
		ctl 0 stat -n $m
		has 'RAM +64.0 MiB'
		ctl 0 resume -n $m
		ctl 0 wait --for '\[c\]' --timeout 30 -n $m

		if [ $m = realm ]; then
			ctl 0 metrics -n $m
			has "^realmtool_exits_total.guest=\"$m\",vcpu=\"0\",reason=\"mmio\". [1-9]"
			ctl 0 stat --map -n $m
			has " P+$"
			ctl 0 debug -n $m
			has "^ pc  "
			ctl 128 debug -m 0 -n $m
			grep -q "no NMI" got.err || fail "debug -m: $(cat got.err)"
			ctl 128 balloon -i 1 -n $m
			grep -q realm got.err || fail "$(cat got.err)"
		fi

		# its disks and its name are free when stop returns
		ctl 0 stop -n $m
		! kill -0 $vm 2>/dev/null || [ "$(sed -n 's/^State:\t\(.\).*/\1/p' /proc/$vm/status)" = Z ] ||
			fail "$m: the process is still there"
		rc=0
		wait $vm || rc=$?
		[ $rc = 0 ] || fail "$m: exit code $rc"
		no_sockets
		ctl 128 stat -n $m
		grep -q 'no guest' got.err || fail "$(cat got.err)"
	done
	ctl 0 list --json
	[ -z "$(member name)" ] || fail "guests are left: $(tr '\n' ' ' <got)"
}

# persistent memory has its place in the planned map and in the one of the guest that runs
case_control_pmem()
{
	control_setup
	truncate -s 4M p.img
	set -- $MACHINE --pmem p.img -k "$G/echo.flat" -p irq
	ctl 0 config show --map -- "$@"
	has '4 MiB +persistent memory$'
	base=$(awk '/persistent memory/ { sub(/^0x0*/, "", $1); print $1 }' got)
	vm pm "$@"
	ctl 0 wait -n pm --for ready --timeout 60
	ctl 0 stat --map -n pm
	has "0x0*$base - .*persistent memory, 4 MiB$"
	ctl 0 stop -n pm
	wait $vm || fail "exit code $?"
}

# on a terminal: two viewers, what one types the other sees; detached, the guest goes on
case_control_attach()
{
	control_setup
	vm a $MACHINE -k "$G/echo.flat" -p irq
	ctl 0 wait -n a --for ready --timeout 60
	timeout 60 "$BIN" console --view -n a </dev/null >viewer 2>&1 &
	viewer=$!
	echo $viewer >>"$T/pids"
	rc=0
	"$TOP/ptyrun" -e ready -s 'x' -e '[x]' -s '\x01a' -e "[$(printf '\001')]" -s '\x01x' -- \
		"$BIN" console -n a >"$T/pty.out" 2>"$T/pty.err" || rc=$?
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/pty.err")"
	grep -q 'terminal same' "$T/pty.err" || fail "the terminal is not restored"
	ctl 0 list
	has ' a +running'
	ctl 0 console --log -n a
	has '\[x\]'
	timeout 60 "$BIN" stat --watch -n a </dev/null >watch 2>watch.err &
	watch=$!
	sleep 2
	ctl 0 stop -n a
	wait $watch || fail "stat --watch: $(cat watch.err)"
	[ "$(grep -c '^Guest a ' watch)" -gt 1 ] || fail "stat --watch printed once"
	wait $viewer || fail "the viewer ended with $?"
	grep -qF '[x]' viewer || fail "the viewer saw \"$(tail -n 1 viewer)\""
}

# while it is paused its clock stands
case_control_clock()
{
	control_setup
	for m in vm realm; do
		# shellcheck disable=SC2046
		vm $m $(mode $m) $MACHINE -k "$G/tick.flat"
		ctl 0 wait --for '# ready' --timeout 60 -n $m
		ctl 0 pause -n $m
		sleep 4
		ctl 0 resume -n $m
		printf q | timeout 20 "$BIN" console --new -n $m >typed
		gap=$(sed -n 's/.*gap \([0-9]*\) ms.*/\1/p' "$T/$m.out")
		[ -n "$gap" ] && [ "$gap" -lt 3000 ] || fail "$m: the guest missed \"$gap\" ms"
		rc=0
		wait $vm || rc=$?
		[ $rc = 0 ] || fail "$m: exit code $rc"
	done
}

case_control_wait()
{
	control_setup
	# a guest that is yet to come; then its end
	{ sleep 1; "$BIN" run --name late $MACHINE -k "$G/hello.flat" </dev/null >"$T/late.out" 2>"$T/late.err"; } &
	ctl 0 wait -n late --timeout 60
	has 'late: poweroff'
	wait
	vm loop $MACHINE -k "$G/echo.flat" -p irq
	ctl 2 wait -n loop --for 'never said' --timeout 2
	ctl 2 wait -n loop --timeout 1
	ctl 128 wait -n loop --for '(' --timeout 2
	ctl 128 wait -n nobody
	{ sleep 1; printf q | timeout 10 "$BIN" console -n loop >/dev/null; } &
	ctl 1 wait -n loop --for 'never said' --timeout 60
	has 'loop: poweroff'
	wait $vm || fail "loop: exit code $?"
	vm killed $MACHINE -k "$G/echo.flat"
	ctl 0 wait -n killed --for ready --timeout 60
	{ sleep 1; kill -KILL $vm; } &
	ctl 1 wait -n killed --timeout 60
	has 'killed: killed'
	ctl 0 list
	no_sockets
	vm stopped $MACHINE -k "$G/echo.flat"
	ctl 0 wait -n stopped --for ready --timeout 60
	{ sleep 1; "$BIN" stop -n stopped; } &
	ctl 1 wait -n stopped --timeout 60
	has 'stopped: stop'
	wait
}

# killed at a random moment, from the first instruction of the program on; what it holds then: a disk
# that is locked, the name, the control socket, a socket for vsock
case_control_kill()
{
	control_setup
	truncate -s 1M d.img
	i=0
	for m in vm realm vm realm vm realm vm realm; do
		ms=$(($(od -An -N2 -tu2 /dev/urandom) % 1500))
		echo "killed after $ms ms" >>"$T/commands"
		# shellcheck disable=SC2046
		vm again $(mode $m) $MACHINE -d d.img --vsock 3,path=v.sock -k "$G/echo.flat" -p irq
		usleep ${ms}000
		kill -KILL $vm
		wait $vm 2>/dev/null
		# what is left is no guest, and looking at it takes it away
		if [ $((i % 2)) = 1 ]; then
			ctl 0 list
			! grep -q again got || fail "a guest that was killed after $ms ms is listed"
			no_sockets
		fi
		i=$((i + 1))
	done
	vm again $MACHINE -d d.img --vsock 3,path=v.sock -k "$G/echo.flat"
	ctl 0 wait -n again --for ready --timeout 60
	# two of one name
	ctl 128 run --name again $MACHINE -k "$G/hello.flat"
	[ "$(wc -l <got.err)" = 1 ] && grep -q '"again" runs already' got.err || fail "$(cat got.err)"
	ctl 128 run --name a/b $MACHINE -k "$G/hello.flat"
	kill -KILL $vm
	wait $vm 2>/dev/null
	ctl 0 list
	! grep -q again got || fail "a guest that was killed is listed"
	no_sockets
}

# many N: so many guests at a time
many()
{
	control_setup
	i=1
	while [ $i -le "$1" ]; do
		vm "guest$i" -c 1 -m 8 --nodefaults -k "$G/echo.flat" -p irq
		# a few at a time: there are two CPUs
		[ $((i % 4)) != 0 ] || ctl 0 wait -n "guest$i" --for ready --timeout 120 -q
		i=$((i + 1))
	done
	i=1
	while [ $i -le "$1" ]; do
		grep -q ready "$T/guest$i.out" || ctl 0 wait -n "guest$i" --for ready --timeout 120 -q
		i=$((i + 1))
	done
	ctl 0 list
	[ "$(grep -c ' guest[0-9]* *running' got)" = "$1" ] || fail "$(wc -l <got) lines in the list"
	[ "$(find xdg/realmtool -type s | wc -l)" = "$1" ] || fail "$(find xdg/realmtool -type s | wc -l) sockets"
	ctl 0 pause -a
	ctl 0 metrics -a
	[ "$(grep -c '^realmtool_guest_info.*state="paused"' got)" = "$1" ] || fail "not all are paused"
	[ "$(grep -c '^# TYPE realmtool_exits_total' got)" = 1 ] || fail "a metric has two heads"
	ctl 0 stop -a
	wait
	no_sockets
	ctl 0 list
	[ "$(wc -l <got)" = 1 ] || fail "some are left: $(tail -n 3 got)"
	for i in "$T"/guest*.err; do
		[ ! -s "$i" ] || fail "${i##*/}: $(head -n 1 "$i")"
	done
	rm -f "$T"/guest*
}
case_control_hundred() { many 100; }

# clients that talk nonsense, or are silent, are no concern of the guest's
case_control_rude()
{
	control_setup
	vm rude $MACHINE -k "$G/echo.flat" -p irq
	ctl 0 wait -n rude --for ready --timeout 60
	[ -x "$TOP/sockio" ] || skip "no sockio"
	i=0
	while [ $i -lt 5 ]; do
		timeout 5 "$TOP/sockio" -s 200000 unix:xdg/realmtool/rude.sock >/dev/null 2>&1
		i=$((i + 1))
	done
	ctl 0 stat -n rude
	printf q | timeout 10 "$BIN" console -n rude >typed
	wait $vm || fail "exit code $?"
	grep -qF '[q]' "$T/rude.out" || fail "the guest did not get its q"
}

# lkvm's sockets are in ~/.lkvm, and its commands know their old options
case_control_lkvm()
{
	control_setup
	mkdir home
	HOME=$PWD/home
	own=$BIN
	BIN=$LKVM
	plain_user
	vm old $MACHINE --nodefaults --network mode=none -k "$G/echo.flat" -p irq
	ctl 0 wait -n old --for ready --timeout 60
	[ -S home/.lkvm/old.sock ] || fail "no ~/.lkvm/old.sock"
	ctl 0 list -i
	has '^ +PID NAME +STATE$'
	has "^ *$vm old +running$"
	ctl 0 pause --name old
	has '^Guest old paused$'
	ctl 0 resume -a
	has '^Guest old resumed$'
	ctl 0 stat -m -n old
	ctl 0 debug --dump --name old
	# the other name finds it, too; .inner says which it is
	BIN=$own
	[ "$BIN" = "$RT" ] || echo "exec \"$RT\" \"\$@\"" >.inner
	ctl 0 stop old
	wait $vm || fail "exit code $?"
	grep -q 'KVM session ended normally' "$T/old.err" || fail "$(tail -n 1 "$T/old.err")"
	[ ! -e home/.lkvm/old.sock ] || fail "the socket is left"
}

# numbers of a Linux: the balloon on request, its own view of its memory, counters of a disk
case_control_linux()
{
	control_setup
	truncate -s 8M d.img
	vm linux -c 1 -m 256 --balloon -d d.img -k "$KERNEL" -i "$TOP/initrd" \
		-p "console=ttyS0 panic=-1 quiet rt.test=small rt.what=control"
	ctl 0 wait -n linux --for 'RT: balloon' --timeout 120
	ctl 0 balloon -n linux -i 64
	has 'shall hold 64 MiB'
	i=0
	until ctl 0 stat -n linux && grep -q 'balloon: holds *64.0 MiB' got; do
		[ $i -lt 100 ] || fail "the balloon does not fill: $(grep balloon got | tr '\n' ' ')"
		i=$((i + 1))
		usleep 100000
	done
	has 'guest: total +[1-9]'
	ctl 0 balloon -n linux -d 32
	ctl 128 balloon -n linux -d 33
	ctl 0 metrics -n linux
	has '^realmtool_queue_requests_total.guest="linux",device="disk0",queue="0". [1-9]'
	has '^realmtool_queue_from_guest_bytes_total.guest="linux",device="disk0",queue="0". [1-9][0-9]{6}'
	has '^realmtool_queue_interrupts_total.guest="linux",device="disk0",queue="0". [1-9]'
	# a key that a Linux knows, on its serial console
	ctl 0 debug -n linux -s h
	ctl 0 wait -n linux --for 'sysrq: HELP' --timeout 30
	# it may be gone before the next command asks
	{ sleep 2; "$BIN" debug -n linux -s o; } >/dev/null 2>&1 &
	ctl 0 wait -n linux --timeout 60
	wait $vm || fail "exit code $?"
}
