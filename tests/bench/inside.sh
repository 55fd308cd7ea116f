#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of the benchmarks that runs on the KVM host, in the folder that "run.sh" filled:
# inside.sh RUNS SECONDS. Results: out/raw, lines GROUP.WHAT.KEY=VALUE, one for each run; what a failing run
# said: out/logs. Exit code 1 if a run failed.
#
# Runs take turns (A B C, A B C, ...): what disturbs the machine hits all of them.

# shellcheck disable=SC2086 # commands are lists of words here, and no word has a space

set -u
cd "$(dirname "$0")" || exit 1

runs=$1
boots=$(((runs + 3) / 4))
budget=$2
raw=out/raw
: >$raw
mkdir -p out/logs
bad=0

QEMU="q/ld.so --library-path q/lib q/qemu-system-aarch64 -M virt,gic-version=3 -accel kvm -cpu host
	-smp 1 -nodefaults -display none -no-reboot -serial stdio"
LKVM="./lkvm run --nodefaults --network mode=none --irqchip gicv3-its --loglevel error -c 1"
WHO="plain realm qemu"
[ ! -e lkvm ] || WHO="$WHO lkvm"

note()
{
	echo "env.$1=$2" >>$raw
}

# once GROUP WHO OPTION... -- COMMAND...: one run; one that fails is not tried again
once()
{
	name=$1.$2
	shift 2
	[ ! -e out/logs/$name.failed ] || return 0
	if ./spawn -p $name -l out/logs/$name "$@" >out/new 2>out/why; then
		cat out/new >>$raw
		rm -f out/logs/$name.last
		mv out/logs/$name out/logs/$name.last
		return 0
	fi
	bad=1
	{
		cat out/why
		tail -n 5 out/logs/$name | tr -d '\r\0'
	} | tee out/logs/$name.failed
	echo "$name.failed=1" >>$raw
}

# vm WHO MIB KERNEL INITRD CMDLINE DISK: sets $vm, the command; empty: without
vm()
{
	case $1 in
	plain | realm)
		vm="./realmtool run -c 1 -m $2 -k $3"
		[ $1 = plain ] || vm="$vm --realm=emulated"
		[ -z "$4" ] || vm="$vm -i $4"
		[ -z "$6" ] || vm="$vm -d $6" ;;
	qemu)
		vm="$QEMU -m $2 -kernel $3"
		[ -z "$4" ] || vm="$vm -initrd $4"
		[ -z "$6" ] || vm="$vm -drive if=none,id=d,format=raw,file=$6
			-device virtio-blk-device,drive=d" ;;
	lkvm)
		vm="$LKVM -m $2 -k $3"
		[ -z "$4" ] || vm="$vm -i $4"
		[ -z "$6" ] || vm="$vm --virtio-transport mmio -d $6" ;;
	esac
	con=ttyS0
	case $1 in
	qemu) con=ttyAMA0; cmdline_opt=-append ;;
	*) cmdline_opt=-p ;;
	esac
	cmdline="console=$con panic=-1 quiet $5"
}

# --- where we are --------------------------------------------------------------------------------

note l1_kernel "$(uname -r)"
note l1_cpus "$(grep -c ^processor /proc/cpuinfo)"
note l1_cpu "$(awk -F': *' '/implementer/ { i = $2 } /part/ { print i "/" $2; exit }' /proc/cpuinfo)"
note realmtool "$(./realmtool version | sed -n '1s/^realmtool //p')"
note qemu "$(q/ld.so --library-path q/lib q/qemu-system-aarch64 --version | sed -n 's/^QEMU emulator version //p')"
note image_bytes "$(wc -c <Image)"
note loaded_bytes "$(cat Image initrd | wc -c)"

trace=/sys/kernel/tracing
[ -d $trace/events ] || mount -t tracefs tracefs $trace 2>/dev/null
[ -w $trace/instances ] && [ -d $trace/events/kvm ] && note traced 1 || trace=

# up PERCENT: that much of the time is over. A busy machine gets fewer rounds, not a longer wait.
uptime_s()
{
	cut -d. -f1 /proc/uptime
}
begin=$(uptime_s)
up()
{
	[ $(($(uptime_s) - begin)) -ge $((budget * $1 / 100)) ]
}

# --- measures ------------------------------------------------------------------------------------

i=0
while [ $i -le $runs ]; do
	# the first round warms the caches and is thrown away
	[ $i != 1 ] || sed -i '/failed/!{/^off\./d; /^entry\./d}' $raw
	once off exec -- /bin/true
	for w in $WHO; do
		kernel=off.flat
		[ $w != qemu ] || kernel=off.Image
		vm $w 128 $kernel '' '' ''
		once off $w -- $vm
	done
	if [ -n "$trace" ]; then
		for w in $WHO; do
			vm $w 512 Image initrd '' ''
			once entry $w -e -- $vm $cmdline_opt "$cmdline"
		done
	fi
	i=$((i + 1))
	[ $i -lt 4 ] || ! up 45 || break
done

i=0
while [ $i -lt $boots ]; do
	for w in $WHO; do
		vm $w 512 Image initrd rt.test=poweroff ''
		once linux $w -m "init=RT: init" -- $vm $cmdline_opt "$cmdline"
	done
	i=$((i + 1))
	! up 80 || break
done

head -c 4194304 /dev/urandom >disk
i=0
while [ $i -lt 2 ]; do
	for w in $WHO; do
		vm $w 512 Image initrd rt.sample disk
		once rss $w -m "init=RT: init" -r "RT: sample" -g 524288 -- $vm $cmdline_opt "$cmdline"
	done
	i=$((i + 1))
	! up 100 || break
done

if [ -n "$trace" ]; then
	for w in $WHO; do
		vm $w 512 Image initrd rt.test=poweroff disk
		case $w in plain | realm) vm="$vm --debug" ;; esac
		once exits $w -m "init=RT: init" -x -- $vm $cmdline_opt "$cmdline"
	done
	# what only realmtool knows: "realm: rsi-calls=N to-shared=N (N KiB) to-private=N (N KiB)"
	sed -n 's/.*realm: rsi-calls=/rsi-calls=/p' out/logs/exits.realm.last 2>/dev/null | tr -d '\r' |
		sed 's/ (\([0-9]*\) KiB)/,\1/g' | tr ' ' '\n' |
		sed -n 's/^\([a-z-]*\)=\([0-9]*\),\([0-9]*\)$/exits.realm.\1=\2\nexits.realm.\1-kib=\3/p
			s/^\(rsi-calls\)=\([0-9]*\)$/exits.realm.\1=\2/p' >>$raw
fi

rm -f out/new out/why
exit $bad
