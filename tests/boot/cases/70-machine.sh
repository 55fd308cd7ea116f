# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154,SC2034 # rc, G, T, ... come from lib.sh and inside.sh
# What a machine is made of: number and place of the CPUs, SVE, PMU, devicetree, debugger.

case_machine_64_cpus()
{
	MACHINE='-c 64 -m 64'
	payload vm hello
	grep -q 'cpus 64' "$T/out" || fail "the guest sees $(head -n 1 "$T/out")"
}

case_machine_too_many_cpus() { bad 'at most [0-9]* vCPUs|1 to 512|512' run -c 513 -k "$G/hello.flat"; }

case_machine_affinity()
{
	bg run -c 2 -m 64 --vcpu-affinity 1 -k "$G/echo.flat"
	await '#'
	n=0
	for t in /proc/"$bg"/task/*; do
		case $(cat "$t/comm") in
		vcpu-*)
			n=$((n + 1))
			grep -q 'Cpus_allowed_list:[[:space:]]*1$' "$t/status" ||
				fail "$(cat "$t/comm"): $(grep allowed_list "$t/status")"
			;;
		esac
	done
	[ "$n" = 2 ] || fail "$n vCPU threads"
	printf q >in
	bg_end
	[ "$rc" = 0 ] || fail "exit code $rc"
	bad 'vcpu-affinity' run --vcpu-affinity 0-x -k "$G/hello.flat"
	bad 'vcpu-affinity' run --vcpu-affinity 900 -k "$G/hello.flat"
}

# the guest's kernel says what it found
case_machine_sve_and_pmu()
{
	MACHINE='-c 1 -m 512 --sve-max-vl 128 --pmu' CMDLINE='loglevel=7'
	linux vm poweroff
	grep -q 'SVE: maximum available vector length 16 bytes' "$T/out" || fail "no SVE of 128 bits"
	grep -qi 'pmu.*counters available' "$T/out" || fail "no PMU"
	MACHINE='-c 1 -m 512'
	linux vm poweroff
	! grep -q 'SVE: maximum' "$T/out" || fail "SVE that nobody asked for"
	! grep -qi 'pmu.*counters available' "$T/out" || fail "a PMU that nobody asked for"
	bad 'sve-max-vl 2048' run --sve-max-vl 2048 -k "$G/hello.flat"
}

case_machine_user_dtb()
{
	rt run -c 2 -m 64 --dump-dtb x.dtb -k "$G/hello.flat" -p 'from the tree'
	[ "$(wc -c <x.dtb)" = 65536 ] || fail "the devicetree has $(wc -c <x.dtb) bytes"
	rt run -c 2 -m 64 --dtb x.dtb -k "$G/hello.flat"
	tap_check hello.vm
	grep -q 'args \[from the tree\]' "$T/out" || fail "$(grep args "$T/out")"
	# an initrd where the tree says, and nowhere else
	echo initrd >ird
	bad 'initrd' run -c 2 -m 64 --dtb x.dtb -k "$G/hello.flat" -i ird
	rt run -c 2 -m 64 --dump-dtb y.dtb -k "$G/hello.flat" -i ird
	rt run -c 2 -m 64 --dtb y.dtb -k "$G/hello.flat" -i ird
	tap_check hello.vm
}

# pkt TEXT: a packet of gdb's protocol
pkt()
{
	s=0 rest=$1
	while [ -n "$rest" ]; do
		c=${rest%"${rest#?}"}
		rest=${rest#?}
		s=$(((s + $(printf %d "'$c")) & 255))
	done
	printf '$%s#%02x' "$1" $s
}

# stopped at the first instruction, one step, memory, then it runs to its end
gdb_session()
{
	# shellcheck disable=SC2046
	bg run $(mode "$1") -c 1 -m 64 --gdb 12345 -k "$G/hello.flat"
	await 'target remote' 20 "$T/err"
	{
		for p in '?' p20 s p20 m80080000,4 'X80100000,0:' M80100000,4:deadbeef m80100000,4; do
			pkt "$p"
			sleep 1
			printf +
		done
		[ ! -s "$T/out" ] || echo early >early
		pkt D
		sleep 1
	} | timeout 30 nc 127.0.0.1 12345 >replies
	bg_end
	tap_check "hello.$1"
	[ ! -e early ] || fail "the guest ran while gdb had it stopped"
	tr -d '+' <replies | sed 's/#../\n/g' | sed -n 's/^\$//p' >answers
	# shellcheck disable=SC2046
	set -- $(cat answers)
	case $1 in T05*) ;; *) fail "?: $1" ;; esac
	[ "$2" = 0000088000000000 ] || fail "pc at the start: $2"
	case $3 in T05*) ;; *) fail "s: $3" ;; esac
	[ "$4" = 0400088000000000 ] || fail "pc after a step: $4"
	[ "$5" = "$(head -c 4 "$G/hello.flat" | od -An -tx1 | tr -d ' \n')" ] || fail "first instruction: $5"
	[ "$8" = deadbeef ] || fail "memory after writing: $8"
}
case_machine_gdb_vm() { gdb_session vm; }
case_machine_gdb_realm() { gdb_session realm; }
