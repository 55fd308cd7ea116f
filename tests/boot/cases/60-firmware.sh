# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# A real UEFI (edk2's ArmVirtKvmTool), if there is one: see tests/boot/firmware. We type commands at
# its shell, and look at what it says and at what it leaves on its disk and in its flash.

FW=$TOP/f/KVMTOOL_EFI.fd
# namespace of our variable, any
GUID=5f1c9a52-0e4f-4d0a-9f0e-6d1d0b6a7c11

need_firmware()
{
	[ -e "$FW" ] || skip "no firmware (FIRMWARE=FILE, or tests/boot/firmware builds one)"
}

# count TEXT: how often the console has said it. Escape sequences are left out.
count()
{
	[ -e "$T/out" ] || { echo 0; return; }
	tr -d '\r\0' <"$T/out" | sed 's/\x1b\[[0-9;=]*[A-Za-z]//g' >"$T/text"
	grep -o -- "$1" "$T/text" | wc -l
}

# says TEXT N [SECONDS [KEY]]: until the console has said it N times; KEY is pressed twice a second
says()
{
	n=$((${3:-30} * 2))
	while [ "$(count "$1")" -lt "$2" ]; do
		[ $n -gt 0 ] || fail "waited ${3:-30} s in vain for \"$1\", the console says: $(tail -n 1 "$T/text")"
		kill -0 "$bg" 2>/dev/null || [ "$(count "$1")" -ge "$2" ] ||
			fail "it ended before it said \"$1\": $(tail -n 1 "$T/err")"
		[ -z "${4:-}" ] || printf '%b' "$4" >&9
		n=$((n - 1))
		usleep 500000
	done
}

# uefi_shell: the firmware's hot key for it is "s"; any key skips its wait for a script
boots=0
uefi_shell()
{
	boots=$((boots + 1))
	says 'Interactive Shell' $boots 40 s
	old=$(count 'Shell> ')
	says 'Shell> ' $((old + 1)) 20 '\r'
	# what the keys above leave behind
	usleep 700000
	[ "$(count 'Interactive Shell')" = $boots ] || fail "it started again while it came up"
	typed 'echo ready'
}

# typed COMMAND: and its answer is in $T/answer
typed()
{
	old=$(count 'Shell> ')
	was=$(wc -l <"$T/text")
	printf '%s\r' "$1" >&9
	says 'Shell> ' $((old + 1))
	tail -n +$((was + 1)) "$T/text" >"$T/answer"
}

# variable: what the firmware says of our variable: fails unless it is there
variable()
{
	typed "setvar RealmtoolTest -guid $GUID"
	# "kept", in UTF-16
	grep -qi '6B 00 65 00 70 00 74 00' "$T/answer" || fail "$1: the variable is gone: $(tail -n 1 "$T/answer")"
}

case_firmware_vm()
{
	need_firmware
	MACHINE='-c 2 -m 512'
	cp "$TOP/f/uefi.img" d.img
	truncate -s 16M vars.fd

	set -- run $MACHINE --firmware "$FW" --flash vars.fd -d d.img
	bg "$@"
	uefi_shell
	typed "setvar RealmtoolTest -guid $GUID -bs -rt -nv =L\"kept\""
	variable 'just set'

	# the clock: Debian's test bed is on UTC, and so is the RTC
	before=$(date -u +%m/%d/%Y)
	typed date
	today=$(sed -n 's,^\([0-9]*/[0-9]*/[0-9]*\).*,\1,p' "$T/answer")
	[ "$today" = "$before" ] || [ "$today" = "$(date -u +%m/%d/%Y)" ] ||
		fail "it is $before, the firmware says \"$today\""

	# its own virtio driver writes
	typed 'connect -r'
	typed 'map -r'
	typed 'echo written by the firmware >a fs0:\note.txt'
	typed 'type fs0:\note.txt'
	grep -q '^written by the firmware' "$T/answer" || fail "it cannot read what it has written"

	# a reset within one run, then a run of its own: the variable outlives both
	printf 'reset\r' >&9
	uefi_shell
	variable 'after a reset'
	printf 'reset -s\r' >&9
	bg_end
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"

	boots=0
	bg "$@"
	uefi_shell
	variable 'in another run'
	typed 'connect -r'
	typed 'map -r'
	typed 'type fs0:\note.txt'
	grep -q '^written by the firmware' "$T/answer" || fail "what the firmware wrote is not on the disk"
	printf 'fs0:\\linux.nsh\r' >&9
	bg_end 60
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	answers
	want cpus 2
	want rsi none
	grep -q '^done' "$T/rt" || fail "the guest did not come to its end"
}

# without --flash its variables live in RAM; no ITS is no hindrance; RAM on both sides of 4 GiB
case_firmware_variants()
{
	need_firmware
	for MACHINE in '-c 1 -m 128' '-c 4 -m 256 --irqchip gicv3' '-c 1 -m 2304'; do
		boots=0
		bg run $MACHINE --firmware "$FW"
		uefi_shell
		printf 'reset -s\r' >&9
		bg_end
		[ $rc = 0 ] || fail "$MACHINE: exit code $rc: $(tail -n 1 "$T/err")"
	done
}

# edk2 up to 2025.02 knows nothing of realms: it finds its UART at the address the devicetree
# gives, without the shared bit. Then the log must say so; one that knows comes to its shell.
case_firmware_realm()
{
	need_firmware
	MACHINE='-c 1 -m 512'
	truncate -s 16M vars.fd
	bg run $(mode realm) $MACHINE --debug --firmware "$FW" --flash vars.fd
	n=30
	while [ $n -gt 0 ] && [ "$(count 'boot options')" = 0 ]; do
		if grep -q 'without the shared bit: external abort' "$T/err"; then
			kill -KILL "$bg"
			skip "this firmware does not know realms: $(grep -o 'access to .* shared bit' "$T/err" | head -n 1)"
		fi
		kill -0 "$bg" 2>/dev/null || fail "it ended: $(tail -n 1 "$T/err")"
		n=$((n - 1))
		usleep 500000
	done
	uefi_shell
	printf 'reset -s\r' >&9
	bg_end
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
}
