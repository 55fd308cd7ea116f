# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154,SC2086,SC2046,SC2034 # what lib.sh and inside.sh set; lists of words
# --trace: what is in the file, for each kind of end.

# spans FILE: TID BEGIN END NAME of all spans, nanoseconds since the first one, as they nest
spans()
{
	awk -F'"ts":|,"dur":|,"args"' '
		/"ph":"X"/ {
			tid = name = $1
			sub(/.*"tid":/, "", tid)
			sub(/,.*/, "", tid)
			sub(/.*"name":"/, "", name)
			sub(/".*/, "", name)
			gsub(/[^A-Za-z0-9_]/, "-", name)
			# microseconds since the boot of the host and three digits behind them
			if (base == "")
				base = int($2) - 100000000
			split($2, t, ".")
			began = (t[1] - base) * 1000 + t[2]
			split($3, t, ".")
			printf "%d %.0f %.0f %s\n", tid, began, began + t[1] * 1000 + t[2], name
		}' "$1" | sort -k1,1n -k2,2n -k3,3nr
}

# trace_check FILE [open]: an event a line, no line is anything else, and spans of a thread lie
# in each other or beside each other; open: nobody has closed the array
trace_check()
{
	f=$1
	cp $f "$T/"
	[ "$(head -n 1 $f)" = '[' ] || fail "$f does not begin as an array"
	if [ "${2:-}" = open ]; then
		! tail -n 1 $f | grep -q '^]' || fail "$f is closed"
		# whole lines but for the last
		sed '1d;$d' $f >lines
	else
		[ "$(tail -n 1 $f)" = ']' ] || fail "$f does not end as an array"
		[ "$(tail -n 2 $f | head -n 1 | grep -c '},$')" = 0 ] || fail "$f: a comma before the end"
		sed '1d;$d' $f | sed '$s/$/,/' >lines
	fi
	event='^\{"ph":"(M|X|i|b|e)","name":"[^"\\]*"(,"cat":"[a-z]*")?,"pid":[0-9]+,"tid":[0-9]+'
	event="$event"'(,"id":"0x[0-9a-f]+")?(,"ts":[0-9]+\.[0-9]{3})?(,"dur":[0-9]+\.[0-9]{3})?'
	event="$event"'(,"s":"t")?(,"args":\{("[a-z0-9]+":([0-9]+|"([^"\\]|\\.)*"),?)*\})?\},$'
	bad=$(grep -vE "$event" lines | head -n 1)
	[ -z "$bad" ] || fail "$f: no event: $bad"
	spans $f >"$T/spans"
	awk '
		$1 != tid { tid = $1; depth = 0 }
		{
			while (depth && end[depth] <= $2 && ($3 > $2 || end[depth] < $2))
				depth--
			if (depth && $3 > end[depth]) {
				print $4 " begins in " name[depth] " and ends after it"
				exit
			}
			end[++depth] = $3
			name[depth] = $4
		}' "$T/spans" >nesting
	[ ! -s nesting ] || fail "$f: $(cat nesting)"
	# what began as something beside others has ended
	[ "$(grep -c '"ph":"b"' $f)" = "$(grep -c '"ph":"e"' $f)" ] || [ "${2:-}" = open ] ||
		fail "$f: a request has no end"
}

# within OUTER INNER: a span INNER lies in a span OUTER of its thread
within()
{
	awk -v outer="$1" -v inner="$2" '
		$4 == outer && (tid != $1 || $3 > end) { tid = $1; end = $3 }
		$4 == inner && $1 == tid && $3 <= end { found = 1 }
		END { exit !found }' "$T/spans" || fail "no $2 within a $1"
}

# there PATTERN...: such events are in the file
there()
{
	for p; do
		grep -qE -e "$p" $f || fail "no event $p"
	done
}

# Linux with a disk
traced()
{
	m=$1
	MACHINE='-c 2 -m 512'
	pattern 7 4194304 >d.img
	linux $m report -d d.img --name "traced-$m" --loglevel info --trace t.json --console virtio
	trace_check t.json
	there '"process_name",.*"name":"traced-'$m \
		'"thread_name",.*"name":"main"' '"thread_name",.*"name":"vcpu-1"' \
		'"load",.*"piece":"kernel"' '"load",.*"piece":"initrd"' '"load",.*"piece":"dtb"' \
		'"populate",.*"piece":"kernel"' '"create VM"' '"create vCPUs"' '"create devices"' \
		'"activate"' '"layout"' '"first KVM_RUN"' '"run"' '"tear down"' \
		'"mmio (read|write)","cat":"exit",.*"device":"[a-z]+' '"ph":"b","name":"read","cat":"blk"' \
		'"name":"end","cat":"vm",.*"reason":"power-off"'
	within create-machine populate
	# behind the bus: which function, and where
	there '"BAR","cat":"pci",.*"device":"disk d.img","bar":[0-5],"offset":"0x[0-9a-f]+"'
	within mmio-read BAR
}

case_long_trace_linux_vm()
{
	CONSOLE=console=hvc0
	traced vm
	! grep -q '"cat":"conversion"' t.json || fail "a plain VM converts memory"
	# an access, and what was there
	there '"device":"PCI [a-zA-Z]+","vcpu":[01],"address":"0x[0-9a-f]+","bytes":[1248]\}'
}

case_trace_linux_realm()
{
	CONSOLE=console=hvc0
	traced realm
	there '"measure","cat":"measure"' '"hash","cat":"measure",.*"piece":"kernel"' \
		'"to shared","cat":"conversion",.*"base":"0x8[0-9a-f]*","top":"0x[0-9a-f]*","error":0' \
		'"RSI_VERSION","cat":"rsi",.*"status":0' '"RSI_IPA_STATE_SET"' '"PSCI_CPU_ON","cat":"psci"'
	within hypercall RSI_IPA_STATE_SET
	within RSI_IPA_STATE_SET to-shared
	within hypercall PSCI_CPU_ON
	within measure hash
}

# not Linux's: each of these ends in another way
case_trace_ends()
{
	rt run $MACHINE -k "$G/hello.flat" --trace t.json
	[ $rc = 0 ] || fail "exit code $rc"
	trace_check t.json
	there '"mmio write","cat":"exit",.*"device":"uart0","vcpu":0' '"reason":"power-off"'

	# the guest resets itself
	bg run $MACHINE -k "$G/reset.flat" -p ask --trace reset.json
	await '# boot'
	printf r >&9
	sleep 2
	printf o >&9
	bg_end
	trace_check reset.json
	there '"name":"reset","cat":"vm"' '"reason":"reset"' '"reason":"power-off"'
	[ "$(grep -c '"name":"first KVM_RUN"' reset.json)" = 2 ] || fail "it has not booted twice"

	# a launch that fails: early, in the machine, and by its measurement
	rt run $MACHINE -k nothing --trace failed.json
	[ $rc = 128 ] || fail "exit code $rc"
	trace_check failed.json
	rt run $MACHINE --dev /dev/null -k "$G/hello.flat" --trace failed2.json
	[ $rc = 128 ] || fail "exit code $rc"
	trace_check failed2.json
	there '"layout"'
	rt run --realm=emulated $MACHINE -k "$G/hello.flat" --trace failed3.json \
		--expect-rim 0000000000000000000000000000000000000000000000000000000000000000
	[ $rc = 3 ] || fail "exit code $rc"
	trace_check failed3.json
	there '"measure"'
	bad '--trace /nowhere/t: No such file' run $MACHINE -k "$G/hello.flat" --trace /nowhere/t

	# told to end, and not asked
	for s in TERM KILL; do
		bg run $MACHINE -k "$G/echo.flat" -p irq --trace $s.json
		await '# ready'
		# more than the ten times a second
		sleep 1
		kill -$s $bg
		bg_end
		[ $s = KILL ] || [ $rc = 143 ] || fail "exit code $rc"
	done
	trace_check TERM.json
	there '"reason":"asked for"'
	trace_check KILL.json open
	there '"mmio write","cat":"exit",.*"device":"uart0"' '"first KVM_RUN"'
}

case_trace_pause()
{
	"$BIN" version | grep -q 'jansson *yes' || skip "built without jansson"
	XDG_RUNTIME_DIR=$PWD
	export XDG_RUNTIME_DIR
	bg run --name traced $MACHINE -k "$G/echo.flat" -p irq --trace t.json
	await '# ready'
	"$BIN" pause -n traced >/dev/null || fail "it cannot be paused"
	"$BIN" resume -n traced >/dev/null || fail "it cannot go on"
	"$BIN" stop -n traced --force >/dev/null || fail "it cannot be stopped"
	bg_end
	trace_check t.json
	there '"name":"pause","cat":"vm"' '"name":"resume","cat":"vm"'
}

case_trace_net()
{
	with_taps
	MACHINE='-c 1 -m 512'
	# a test that does not come to its end here; its packets are what is wanted
	start_net vm tap -n mode=tap,tapif=rt0,host_ip=10.5.0.1 --trace t.json
	await 'RT: net=ready' 60
	ping -c 3 -W 5 10.5.0.2 >pong || fail "the guest does not answer: $(tail -n 2 pong)"
	kill -INT $bg
	bg_end
	trace_check t.json
	there '"send","cat":"net",.*"device":".*net.*","queue":0,"bytes":[0-9]+,"packets":1' \
		'"receive","cat":"net",.*"device":".*net.*","queue":0,"bytes":110'
}

case_vfio_trace()
{
	in_vfio_bed
	vfio 10.0
	rt run --realm=emulated -c 1 -m 64 -k "$G/edu.flat" --vfio-pci 00:10.0 --trace t.json
	trace_check t.json
	there '"map","cat":"dma",.*"iova":"0x[0-9a-f]+","bytes":[0-9]+,"error":0' '"unmap","cat":"dma"'
	within to-shared map
	within to-private unmap
}
