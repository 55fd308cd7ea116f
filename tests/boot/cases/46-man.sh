# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# The examples of manual pages that need a guest; tests/man.sh runs the others.

case_man_examples()
{
	control_setup
	vm web -c 1 -m 256 --balloon -k "$KERNEL" -i "$TOP/initrd" \
		-p "console=ttyS0 panic=-1 quiet rt.test=small rt.what=control"
	ctl 0 wait -n web --for 'RT: balloon' --timeout 120
	# the page on stop comes last
	sh "$TOP/man.sh" --guest "$BIN" "$TOP"/man/*.in >got 2>&1 || fail "$(grep -A 5 '^not ok' got | tr '\n' '|')"
	tail -n 1 got | grep -q '^5 passed, 0 failed' || fail "$(tail -n 1 got)"
	ctl 0 list
	! has_web || fail "stop web left it"
	no_sockets
}

has_web()
{
	grep -q ' web ' got
}
