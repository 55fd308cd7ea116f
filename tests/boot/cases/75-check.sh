# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# "realmtool check" on an ordinary arm64 host. What it says is held against what "run" does.

# json SECTION KEY MEMBER: a member of a finding, or of a section of its own if KEY is empty
json()
{
	awk -v s="$1" -v k="$2" -v m="$3" '
		{ depth = match($0, /[^ ]/) / 2 }
		depth == 1.5 { section = $1 }
		depth == 2.5 { key = $1 }
		section == "\"" s "\":" && key == "\"" k "\":" && $1 == "\"" m "\":" {
			sub(/^[^:]*: /, "")
			sub(/,$/, "")
			print
			exit
		}' "$T/out"
}

top()
{
	sed -n "s/^  \"$1\": \(.*[^,]\),*\$/\1/p" "$T/out"
}

# The host of the test bed offers no realms.
check_bed()
{
	in_bed
	rt check "$@"
	[ "$rc" = 1 ] || fail "exit code $rc: $(tail -n 1 "$T/out" "$T/err")"
	[ ! -s "$T/err" ] || fail "on stderr: $(head -n 1 "$T/err")"
}

case_check_report()
{
	check_bed
	tail -n 1 "$T/out" | grep -q '^No realms on this host: only emulated realms' ||
		fail "the last line: $(tail -n 1 "$T/out")"
	grep -q '^  ok    kernel  *'"$(uname -r)\$" "$T/out" || fail "another kernel than $(uname -r)"
	grep -q '^  ok    architecture  *arm64$' "$T/out" || fail "not arm64"
	grep -q '^  no    RMI generation' "$T/out" || fail "nothing of realms"
	if separate; then
		grep -q '^  ok    guest_memfd flags *mmap init-shared$' "$T/out" || fail "no guest_memfd"
	else
		grep -q '^  no    guest_memfd ' "$T/out" || fail "a guest_memfd on $(uname -r)"
		grep -q 'what helps  *Linux 6.18' "$T/out" || fail "not what helps"
	fi
	awk 'length > 100 { exit 1 }' "$T/out" || fail "a line of more than 100 columns"
}

case_check_json()
{
	check_bed --json
	[ "$(top exit_code)" = 1 ] || fail "exit_code: $(top exit_code)"
	[ "$(top realms) $(top emulated_realms) $(top plain_vms)" = 'false true true' ] ||
		fail "$(head -n 5 "$T/out")"
	for key in api arm64 vm gicv3 its events exits smccc_filter; do
		[ "$(json kvm $key value)" = true ] || fail "kvm.$key: $(json kvm $key text)"
	done
	[ "$(json kvm ipa_bits value)" -ge 32 ] || fail "kvm.ipa_bits: $(json kvm ipa_bits value)"
	[ "$(json realm generation state)" = '"no"' ] || fail "realm.generation"
	separate && want=true || want=false
	[ "$(json kvm guest_memfd value)" = $want ] || fail "guest_memfd: $(json kvm guest_memfd value)"
}

# as many bits, and no more
case_check_ipa_bits()
{
	check_bed --json
	bits=$(json kvm ipa_bits value)
	rt run -m 64 --ipa-bits "$bits" -c 2 -k "$G/hello.flat"
	tap_check hello.vm
	[ "$bits" -ge 52 ] || bad "at most $bits" run -m 64 --ipa-bits $((bits + 1)) -k "$G/hello.flat"
}

# a user without rights, and a host without KVM, change the answer and nothing else
case_check_device()
{
	in_bed
	rt check --dev /dev/none
	[ "$rc" = 2 ] || fail "exit code $rc without a device"
	grep -q '^No guest can be launched' "$T/out" || fail "the last line: $(tail -n 1 "$T/out")"
	rt check --dev /dev/null
	[ "$rc" = 2 ] || fail "exit code $rc for /dev/null"
	grep -q '^  no    API' "$T/out" || fail "/dev/null is KVM"
	bad 'rmi-generation' check --rmi-generation none
	bad 'unexpected word' check this
}
