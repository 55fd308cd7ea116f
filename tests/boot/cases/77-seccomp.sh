# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# Filters of system calls. That nothing else breaks with them all other cases show, which have them;
# these look for calls that are missing in the lists, and at the filters themselves.

# all_listed FILE: nothing was said of a call that is on no list
all_listed()
{
	! grep 'forbidden system call' "$1" ||
		fail "not on the lists: $(grep -m 1 'forbidden' "$1")"
}

# filters NAME KIND...: each thread has a filter, those of that kind two
filters()
{
	for t in /proc/"$1"/task/*; do
		n=$(sed -n 's/^Seccomp_filters:[[:space:]]*//p' "$t/status")
		[ "$(sed -n 's/^Seccomp:[[:space:]]*//p' "$t/status")" = 2 ] ||
			fail "no filter: $(cat "$t/comm")"
		case $(cat "$t/comm") in
		vcpu-* | io[0-9]*) [ "${n:-2}" = 2 ] || fail "$n filters: $(cat "$t/comm")" ;;
		esac
	done
}

# A Linux with a device of most kinds: audit names what the lists lack.
seccomp_audit()
{
	in_bed
	m=$1 p=$2
	shift 2
	truncate -s 2M d.img p.img
	mkdir share
	# shellcheck disable=SC2046 # nothing, or one word
	bg run $(mode "$m") -c 2 -m 512 -k "$TOP/Image" -i "$TOP/initrd" \
		-p "console=ttyS0 panic=-1 quiet $p" -d d.img --rng \
		--vsock 3,path=v.sock --9p share,tag --trace t.json --name audit --sandbox=audit "$@"
	bg_end 120
	all_listed "$T/err"
}

case_seccomp_audit_vm()
{
	seccomp_audit vm rt.test=report --balloon --pmem p.img
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
}

case_seccomp_audit_realm()
{
	seccomp_audit realm rt.test=report
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
}

# what /proc says of the threads, and what is left of the mode off
case_seccomp_threads()
{
	in_bed
	for s in on off; do
		bg run -c 2 -m 64 -k "$G/echo.flat" -p irq --sandbox=$s --name filters
		await "# ready" 30
		if [ $s = on ]; then
			filters "$bg"
		else
			grep -q '^Seccomp:[[:space:]]*0' "/proc/$bg/status" ||
				fail "filters with off"
		fi
		kill -TERM "$bg"
		sleep 1
		kill -TERM "$bg" 2>/dev/null
		bg_end 20
	done
}
