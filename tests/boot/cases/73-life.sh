# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# A guest as a service: readiness, power button, the end, the log.

# manager: a service manager that listens; what it is told is in $T/told
manager()
{
	rm -f notify
	"$TOP/sockio" -d unix:"$PWD/notify" >"$T/told" 2>&1 &
	manager=$!
	echo $manager >>"$T/pids"
	n=50
	while [ ! -S notify ] && [ $n -gt 0 ]; do
		usleep 100000
		n=$((n - 1))
	done
	NOTIFY_SOCKET=$PWD/notify
	export NOTIFY_SOCKET
}

# power MODE ARG...: the payload with a button in the background
power()
{
	m=$1
	shift
	# shellcheck disable=SC2046,SC2086
	bg run $(mode "$m") $MACHINE --power-button --loglevel info -k "$G/power.flat" "$@"
	await '# ready'
}

# SIGTERM presses the button, the guest switches itself off, and that is a good end
case_power_button()
{
	for m in vm realm strict; do
		power $m
		kill -TERM "$bg"
		bg_end 60
		tap_check power.${m%strict}$([ $m != strict ] || echo realm)
		grep -q 'the power button is pressed' "$T/err" || fail "$m: not a word of the button"
	done
	# a reset after the button is an end, too
	power vm -p reset
	kill -TERM "$bg"
	bg_end 60
	[ $rc = 0 ] || fail "reset: exit code $rc"
	[ "$(grep -c '# ready' "$T/out")" = 1 ] || fail "the guest was started again"
}

# a guest that does not heed it is ended by force: by time, by a second SIGTERM, by SIGINT
case_power_button_force()
{
	power vm -p deaf --stop-timeout 2
	kill -TERM "$bg"
	bg_end 30
	[ $rc = 143 ] || fail "after its time: exit code $rc"
	grep -q 'has not switched itself off within 2 s' "$T/err" || fail "not a word of force"
	power realm -p deaf --stop-timeout 1000
	kill -TERM "$bg"
	usleep 300000
	kill -0 "$bg" || fail "the first SIGTERM ended it at once"
	kill -TERM "$bg"
	bg_end 20
	[ $rc = 143 ] || fail "second SIGTERM: exit code $rc"
	power vm -p deaf --stop-timeout 1000
	kill -INT "$bg"
	bg_end 20
	[ $rc = 130 ] || fail "SIGINT: exit code $rc"
}

# "stop" presses it, --force does not; a guest that is paused goes on
case_power_button_stop()
{
	XDG_RUNTIME_DIR=$PWD/xdg
	export XDG_RUNTIME_DIR
	mkdir xdg
	"$BIN" version | grep -q 'jansson *yes' || skip "built without jansson"
	for what in '' pause --force; do
		power vm --name p --stop-timeout 1000
		if [ "$what" = pause ]; then
			"$BIN" pause -n p || fail "pause"
			what=
		fi
		timeout -s KILL 60 "$BIN" stop $what -n p || fail "stop $what"
		bg_end 5
		[ $rc = 0 ] || fail "stop $what: exit code $rc"
		if [ -z "$what" ]; then
			tap_check power.vm
		else
			! grep -q 'ok 5' "$T/out" || fail "--force did press the button"
		fi
	done
}

# without the option there is none, and the devicetree does not say so
case_power_button_none()
{
	rt run $MACHINE --dump-dtb with --power-button -k "$G/off.flat"
	rt run $MACHINE --dump-dtb without -k "$G/off.flat"
	grep -q gpio-keys with || fail "no key in the devicetree"
	! grep -q gpio-keys without || fail "a key in the devicetree"
	bg run $MACHINE --loglevel info -k "$G/echo.flat" -p irq
	await '# ready'
	kill -TERM "$bg"
	bg_end 20
	[ $rc = 143 ] || fail "exit code $rc"
}

# Linux finds it: its GPIO driver, its key driver, an event
case_9p_power_button()
{
	p9_kernel
	for m in vm realm; do
		# shellcheck disable=SC2046
		bg run $(mode $m) -c 2 -m 512 --power-button -k "$KERNEL" -i "$TOP/initrd" \
			-p "console=ttyS0 panic=-1 quiet rt.test=power"
		await 'RT: ready' 60
		kill -TERM "$bg"
		bg_end 40
		answers
		[ $rc = 0 ] || fail "$m: exit code $rc: $(tail -n 1 "$T/err")"
		want key gpio-keys
		want pressed 116
	done
}

# READY=1 comes with the line, not before; then the end
case_notify()
{
	for m in vm realm; do
		manager
		# shellcheck disable=SC2046,SC2086
		export WATCHDOG_USEC=2000000
		bg run $(mode $m) $MACHINE --ready 'line:^\[x\]' -k "$G/echo.flat" -p irq
		await '# ready'
		usleep 1500000
		! grep -q READY=1 "$T/told" || fail "$m: READY=1 came before the line"
		grep -q WATCHDOG=1 "$T/told" || fail "$m: no sign of life: $(tr '\n' ' ' <"$T/told")"
		printf x >&9
		await '^READY=1' 20 "$T/told"
		printf q >&9
		bg_end 20
		[ $rc = 0 ] || fail "$m: exit code $rc"
		wait "$manager" || fail "$m: the service manager ended with $?"
		[ "$(grep -c '^READY=1' "$T/told")" = 1 ] || fail "$m: READY=1 came again"
		[ "$(grep -c '^STOPPING=1' "$T/told")" = 1 ] || fail "$m: STOPPING=1 did not come once"
	done
	# the reason of a failure
	manager
	rt run $MACHINE -k "$G/echo.flat" --vsock 3,path=sock --ready vsock:x
	[ $rc = 128 ] || fail "a port x: exit code $rc"
	rt run $MACHINE -k "$G/echo.flat" --realm
	[ $rc = 128 ] || fail "a realm on this host: exit code $rc"
	wait "$manager"
	grep -q '^STATUS=.*ealm' "$T/told" || fail "the manager is told: $(tail -n 1 "$T/told")"
}

# the guest says it itself, to realmtool's own vsock and to the host kernel's
notify_vsock()
{
	manager
	# shellcheck disable=SC2046
	bg run $(mode "$1") -c 2 -m 512 --vsock "$2" --ready vsock:1234 -k "$KERNEL" -i "$TOP/initrd" \
		-p "console=ttyS0 panic=-1 quiet rt.test=power rt.what=ready"
	await 'RT: ready' 60
	await '^READY=1' 20 "$T/told"
	bg_end 60
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	wait "$manager"
	[ ! -e v.sock_1234 ] || fail "the socket is still there"
}
case_notify_vsock() { notify_vsock realm 3,path=v.sock; }
case_notify_vsock_kernel()
{
	modprobe vhost_vsock 2>/dev/null
	[ -e /dev/vhost-vsock ] || skip "this host has no vhost-vsock"
	notify_vsock vm 3
}

# one object a line on stderr, nothing else; what the guest says is untouched
case_log_json()
{
	rt run $MACHINE --name j --log-json --debug -k "$G/hello.flat"
	tap_check hello.vm
	[ "$(wc -l <"$T/err")" -gt 3 ] || fail "$(wc -l <"$T/err") lines"
	good='^[{]"time":"20[-0-9]*T[0-9:.]*Z","level":"[a-z]*","vm":"j","message":".*"[}]$'
	! grep -vE "$good" "$T/err" >odd || fail "no JSON: $(head -n 1 odd)"
}

# priorities for the journal, if stderr leads there
case_log_journal()
{
	: >log.txt
	# device and inode as the kernel shows them; a file in the journal's place
	JOURNAL_STREAM=$(stat -c '%d:%i' log.txt) "$BIN" run $MACHINE --loglevel info -k "$G/hello.flat" \
		</dev/null >"$T/out" 2>>log.txt || fail "exit code $?"
	cp log.txt "$T/err"
	[ -s log.txt ] || fail "no message"
	! grep -vE '^<[3-7]>[A-Z][a-z]*: ' log.txt || fail "a line without priority"
}
