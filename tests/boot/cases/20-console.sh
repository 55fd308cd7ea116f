# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# The console and the ways in which a run ends.

case_console_stdin_file()
{
	printf 'abcq' >keys
	BIN=$RT
	for how in '' irq; do
		keep
		rc=0
		timeout -s KILL 20 "$RT" run $MACHINE -k "$G/echo.flat" -p "$how" <keys >"$T/out" 2>"$T/err" || rc=$?
		[ $rc = 0 ] || fail "exit code $rc ($how): $(tail -n 1 "$T/err")"
		grep -qF '[a][b][c][q]' "$T/out" || fail "the guest read \"$(grep -F '[' "$T/out")\""
	done
}

case_console_stdin_pipe()
{
	keep
	rc=0
	{ sleep 1; printf 'ab'; sleep 1; printf 'q'; } |
		timeout -s KILL 20 "$RT" run $(mode realm) $MACHINE -k "$G/echo.flat" -p irq >"$T/out" 2>"$T/err" ||
		rc=$?
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	grep -qF '[a][b][q]' "$T/out" || fail "the guest read \"$(grep -F '[' "$T/out")\""
}

# more at once than a FIFO and a buffer hold: nothing may be lost
case_console_stdin_much()
{
	seq 1 900 | tr -d 'q' >keys
	printf q >>keys
	keep
	rc=0
	timeout -s KILL 60 "$RT" run $MACHINE -k "$G/echo.flat" -p irq <keys >"$T/out" 2>"$T/err" || rc=$?
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	# [c] for each byte, the line feed too
	tr -d '\n' <keys >sent
	tr -d '\r\n' <"$T/out" | sed 's/\[\(.\{0,1\}\)\]/\1/g' >back
	grep -qF "$(cat sent)" back || fail "what came back is not what was sent"
}

case_console_stdin_closed()
{
	keep
	rc=0
	timeout -s KILL 20 "$RT" run $MACHINE -k "$G/hello.flat" <&- >"$T/out" 2>"$T/err" || rc=$?
	tap_check hello.vm
}

# no descriptor at all: nothing of ours may land on 0, 1 or 2
case_console_all_closed()
{
	rc=0
	sectors 2048 >d.img
	timeout -s KILL 20 "$RT" run $MACHINE -k "$G/virtio.flat" --virtio-transport mmio \
		-d d.img -p sectors=2048 <&- >&- 2>&- || rc=$?
	[ $rc = 0 ] || fail "exit code $rc"
	sectors 5 >want
	head -c 2560 d.img >got
	cmp got want || fail "something wrote into the disk: $(head -c 80 got)"
}

case_console_stdout_closed()
{
	keep
	rc=0
	{
		timeout -s KILL 20 "$RT" run $MACHINE -k "$G/flood.flat" -p lines=300 2>"$T/err" || echo $? >code
	} | head -c 100 >"$T/out"
	[ ! -e code ] || fail "a reader that goes away ends the guest: exit code $(cat code)"
}

case_console_flood()
{
	rt run $MACHINE -k "$G/flood.flat" -p lines=500
	[ $rc = 0 ] || fail "exit code $rc"
	tr -d '\r' <"$T/out" | grep '^# line' >got
	awk 'BEGIN { for (i = 0; i < 500; i++)
		printf "# line %06d 0123456789012345678901234567890123456789012\n", i }' >want
	cmp got want || fail "lines are lost or reordered: $(diff -u want got | head -n 3 | tr '\n' ' ')"
}

# a reader that stops holds the guest, and loses nothing: more than a pipe and our buffer take
case_long_slow_reader()
{
	mkfifo slow
	keep
	timeout -s KILL 180 "$RT" run $MACHINE -k "$G/flood.flat" -p lines=3000 </dev/null >slow 2>"$T/err" &
	pid=$!
	{ sleep 40; cat; } <slow >"$T/out"
	rc=0
	wait $pid || rc=$?
	[ $rc = 0 ] || fail "exit code $rc"
	n=$(grep -c '# line' "$T/out")
	[ "$n" = 3000 ] || fail "$n of 3000 lines arrived"
}

tty()
{
	echo "+ ptyrun $*" >>"$T/commands"
	keep
	rc=0
	"$TOP/ptyrun" "$@" >"$T/out" 2>"$T/err" || rc=$?
}

case_console_ctrl_a_x()
{
	for m in vm realm; do
		tty -e ready -s 'a\x03' -e '[a][' -s '\x01x' -- "$RT" run $(mode $m) $MACHINE -k "$G/echo.flat"
		[ $rc = 0 ] || fail "$m: exit code $rc: $(tail -n 2 "$T/err" | tr '\n' ' ')"
		grep -q 'terminal same' "$T/err" || fail "$m: the terminal is not restored"
	done
}

case_console_ctrl_a_h()
{
	# help is on the terminal, then ctrl-a a is one ctrl-a for the guest
	tty -e ready -s '\x01h' -e ctrl-a -z 300 -s '\x01a' -e "[$(printf '\001')]" -s q -e '1..1' -- \
		"$RT" run $MACHINE -k "$G/echo.flat"
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 2 "$T/err" | tr '\n' ' ')"
	grep -q 'terminal same' "$T/err" || fail "the terminal is not restored"
}

case_console_terminal_after_off()
{
	tty -e '1..' -- "$RT" run $MACHINE -k "$G/hello.flat"
	[ $rc = 0 ] || fail "exit code $rc"
	grep -q 'terminal same' "$T/err" || fail "the terminal is not restored"
}

case_console_terminal_after_signal()
{
	# TERM, INT, HUP, and a crash of realmtool itself
	for s in 15 2 1 11; do
		tty -e ready -k $s -- "$RT" run $MACHINE -k "$G/echo.flat"
		[ $rc != 0 ] && [ $rc != 125 ] || fail "signal $s: exit code $rc"
		grep -q 'terminal same' "$T/err" || fail "signal $s: the terminal is not restored"
	done
}

case_console_bad_input_terminal()
{
	tty -- "$RT" run -k /nowhere
	[ $rc = 128 ] || fail "exit code $rc"
	grep -q 'terminal same' "$T/err" || fail "the terminal is changed"
}

case_end_term()
{
	for m in vm realm; do
		bg run $(mode $m) $MACHINE -k "$G/fault.flat" -p wait
		await 'going wrong'
		kill -TERM $bg
		bg_end 5
		[ $rc = 0 ] || [ $rc = 143 ] || fail "$m: exit code $rc: $(tail -n 1 "$T/err")"
	done
}

# a guest that never rests and never exits
case_end_term_spin()
{
	bg run $MACHINE -k "$G/fault.flat" -p spin
	sleep 1
	kill -TERM $bg
	bg_end 5
	[ $rc = 0 ] || [ $rc = 143 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
}

case_end_reset()
{
	for m in vm realm; do
		bg run $(mode $m) $MACHINE -k "$G/reset.flat" -p ask
		await '# boot'
		printf r >&9
		n=50
		while [ "$(grep -c '# boot' "$T/out")" -lt 2 ]; do
			[ $n -gt 0 ] || fail "$m: no second boot: $(tail -n 1 "$T/err")"
			n=$((n - 1))
			usleep 100000
		done
		printf r >&9
		n=50
		while [ "$(grep -c '# boot' "$T/out")" -lt 3 ]; do
			[ $n -gt 0 ] || fail "$m: no third boot: $(tail -n 1 "$T/err")"
			n=$((n - 1))
			usleep 100000
		done
		printf o >&9
		bg_end
		[ $rc = 0 ] || fail "$m: exit code $rc: $(tail -n 1 "$T/err")"
		! grep -q '^not ok' "$T/out" || fail "$m: $(grep '^not ok' "$T/out" | head -n 1)"
		[ "$(grep -c '^ok .* memory is clean' "$T/out")" = 3 ] || fail "$m: memory was not looked at"
	done
}

# what was named is kept open: a reset needs no file again
case_end_reset_files_gone()
{
	cp "$G/reset.flat" r.flat
	sectors 16 >d.img
	bg run $(mode realm) $MACHINE -k r.flat -d d.img -p ask
	await '# boot'
	rm r.flat d.img
	printf r >&9
	second_boot
	printf o >&9
	bg_end
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
}

case_end_no_reboot()
{
	for m in vm realm; do
		rt run $(mode $m) $MACHINE --no-reboot -k "$G/reset.flat"
		[ $rc = 0 ] || fail "$m: exit code $rc: $(tail -n 1 "$T/err")"
		[ "$(grep -c '# boot' "$T/out")" = 1 ] || fail "$m: $(grep -c '# boot' "$T/out") boots"
	done
}

case_end_reset_lkvm()
{
	BIN=$LKVM
	rt run --nodefaults $MACHINE -k "$G/reset.flat"
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	[ "$(grep -c '# boot' "$T/out")" = 1 ] || fail "$(grep -c '# boot' "$T/out") boots"
}

# three resets before the first byte on the console
case_end_reset_silent()
{
	for m in vm realm; do
		rt run $(mode $m) $MACHINE -k "$G/reset.flat" -p silent
		[ $rc != 0 ] || fail "$m: exit code 0"
		grep -q '^\(Fatal\|Error\): ' "$T/err" || fail "$m: no reason: $(cat "$T/err")"
	done
}

# one hint after 10 s without a byte, and only one
case_end_hint()
{
	bg run $MACHINE -k "$G/fault.flat" -p spin
	sleep 12
	hints=$(grep -c console "$T/err")
	kill -TERM $bg
	bg_end 5
	[ "$hints" = 1 ] || fail "$hints hints: $(cat "$T/err")"
}

case_second_vm()
{
	bg run --name first $MACHINE -k "$G/echo.flat"
	await ready
	first=$bg
	mv "$T/out" "$T/out-first"
	mv "$T/err" "$T/err-first"
	rt run --name second $(mode realm) $MACHINE -k "$G/hello.flat"
	tap_check hello.realm
	printf 'xq' >&9
	bg=$first
	bg_end
	[ $rc = 0 ] || fail "the first ended with $rc: $(cat "$T/err-first")"
	grep -qF '[x][q]' "$T/out-first" || fail "the first lost its input"
}
