# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# Command lines as other projects have them, with the binary called lkvm.

# corpus_files: what the lines of tests/lkvm/corpus name; kernels and firmware are the payload off.flat,
# which powers off at once
corpus_files()
{
	mkdir -p realm cca rootdir home
	for f in Image X.flat KVMTOOL_EFI.fd realm/Image; do
		cp "$G/off.flat" $f
	done
	for f in guest-disk.img guest.ext4 realm/realm-fs.ext4 a.img b.img initrd test.cpio.gz ENV; do
		truncate -s 1M $f
	done
	truncate -s 1M vars.fd
	HOME=$PWD/home
	XDG_RUNTIME_DIR=$PWD/home
	export HOME XDG_RUNTIME_DIR
}

# corpus_line NAME EXPECTATION WORD...
corpus_line()
{
	name=$1 expect=$2
	shift 2
	case $expect in
	boots)
		rt "$@"
		[ $rc = 0 ] || fail "$name: exit code $rc: $(tail -n 1 "$T/err")"
		! grep -vE '^(Warning|Info|Debug): ' "$T/err" >odd || fail "$name: $(head -n 1 odd)"
		case " $* " in
		*'loglevel'*) ;;
		*) grep -q '^Info: KVM session ended normally\.$' "$T/err" || fail "$name: no word of the end" ;;
		esac
		;;
	noop)
		rt run -c 1 -m 64 -k Image --nodefaults "$1"
		[ $rc = 0 ] || fail "$name: exit code $rc: $(tail -n 1 "$T/err")"
		[ "$(grep -c "^Info: .*$1" "$T/err")" = 1 ] || fail "$name: not one line says so"
		;;
	'refused '*)
		rt "$@"
		[ $rc = 128 ] || fail "$name: exit code $rc"
		tail -n 1 "$T/err" | grep -q "^Fatal: .*${expect#refused }" ||
			fail "$name: $(tail -n 1 "$T/err")"
		;;
	'says '*)
		expect=${expect#says }
		rt "$@"
		[ "$rc" = "${expect%% *}" ] || fail "$name: exit code $rc: $(tail -n 1 "$T/err")"
		case $expect in
		*' '*) cat "$T/out" "$T/err" | grep -q -e "${expect#* }" || fail "$name: no ${expect#* }" ;;
		esac
		;;
	esac
	rm -f "$T/err".* "$T/out".*
}

# corpus PATTERN N: the lines whose words match, N of them at least
corpus()
{
	BIN=$LKVM
	corpus_files
	plain_user
	pattern=$1 least=$2 nr=0
	while IFS='|' read -r name expect words; do
		case $name in '#'* | '') continue ;; esac
		# shellcheck disable=SC2254 # a pattern
		case $words in $pattern) ;; *) continue ;; esac
		words=$(printf '%s\n' "$words" |
			sed 's, /\(realm\|cca\)/, ./\1/,g; s/ --realm / --realm=emulated /')
		eval "set -- $words"
		expect=${expect# }
		corpus_line "${name%% *}" "${expect% }" "$@" </dev/null
		nr=$((nr + 1))
	done <"$TOP/corpus"
	[ $nr -ge "$least" ] || fail "only $nr lines"
}
case_lkvm_corpus_realm() { corpus '*--realm*' 15; }
case_lkvm_corpus_vm() { corpus ' run -[!-]*' 40; }
case_lkvm_corpus_kut() { corpus ' run --[!r]*' 8; }
case_lkvm_corpus_other() { corpus ' [!r]*' 25; corpus ' re*' 2; }

# lkvm's sandbox; the host's only program is a busybox
case_9p_lkvm_sandbox()
{
	p9_kernel
	mkdir home
	HOME=$PWD/home
	export HOME
	plain_user
	bb=/bin/busybox
	set -- -c 1 -m 256 -k "$KERNEL" --network mode=none
	# the root file system is made, the command's output is all there is
	rt sandbox "$@" -- $bb printf 'one\ntwo\n' three
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	printf 'one\ntwo\n' | cmp -s - "$T/out" || fail "the output is $(od -c "$T/out" | head -n 4)"
	[ ! -s "$T/err" ] || fail "$(head -n 1 "$T/err")"
	# arguments as they are, an exit code, a signal, no such program
	rt sandbox "$@" $bb sh -c 'echo "$#:$1:$2:$3"; pwd; id -u; exit 42' sh "a  b" "" "'\"\$x"
	[ $rc = 42 ] || fail "exit code $rc, not 42: $(tail -n 1 "$T/err")"
	[ "$(sed -n 1p "$T/out")" = "3:a  b::'\"\$x" ] || fail "arguments: $(sed -n 1p "$T/out")"
	[ "$(sed -n 2p "$T/out")" = /virt/home ] || fail "folder: $(sed -n 2p "$T/out")"
	rt sandbox "$@" -- $bb sh -c 'kill -TERM $$'
	[ $rc = 143 ] || fail "exit code $rc after a signal"
	rt sandbox "$@" -- no-such-program
	[ $rc = 127 ] || fail "exit code $rc without a program"
	grep -q no-such-program "$T/out" || fail "it does not say which: $(cat "$T/out")"
	# a realm, called as lkvm; another root file system; what it writes there stays
	BIN=$LKVM
	plain_user
	rt setup other
	rt sandbox --realm=emulated --disk other "$@" -- $bb sh -c 'echo note >note; exit 7'
	[ $rc = 7 ] || fail "realm: exit code $rc: $(tail -n 1 "$T/err")"
	[ "$(cat home/.lkvm/other/virt/home/note)" = note ] || fail "realm: no note"
	grep -q '^Info: # lkvm run -k .*--name' "$T/err" || fail "no line \"# lkvm run\""
	# the script of "run"
	printf '#!/bin/sh\nexit 9\n' >script.sh
	rt run "$@" --sandbox script.sh
	[ $rc = 9 ] || fail "--sandbox script.sh: exit code $rc: $(tail -n 1 "$T/err")"
	# it powers off under the command: that is not the command's end
	rt sandbox "$@" -- $bb poweroff -f
	[ $rc = 128 ] || fail "exit code $rc after poweroff"
	grep -q 'ended before the command' "$T/err" || fail "$(tail -n 1 "$T/err")"
	# killed: the guest goes too, and what is left goes with the next one
	bg sandbox "$@" -- $bb sh -c 'echo "is"" here"; sleep 1000'
	await 'is here' 60
	kill -KILL "$bg"
	i=0
	while [ "$(find home/.lkvm/default/virt -name 'sandbox.*' | wc -l)" = 1 ] && [ $i -lt 1 ]; do
		rt sandbox "$@" -- $bb true
		i=$((i + 1))
	done
	[ $rc = 0 ] || fail "after a kill: exit code $rc: $(tail -n 1 "$T/err")"
	# stopped as a whole
	bg sandbox "$@" -- $bb sh -c 'echo "is"" here"; sleep 1000'
	await 'is here' 60
	kill -TERM "$bg"
	bg_end 30
	[ $rc = 143 ] || fail "SIGTERM: exit code $rc"
	rm -f home/.lkvm/*/virt/init
	[ -z "$(find home -name 'sandbox.*')" ] || fail "left: $(find home -name 'sandbox.*' | head -n 3)"
	bad 'which command' sandbox "$@"
	bad 'root file system' sandbox "$@" --nodefaults -- true
}

# kvm-unit-tests, run-realm-tests of its CCA branch
case_lkvm_kvm_unit_tests()
{
	BIN=$LKVM
	plain_user
	rt run --realm=emulated --restricted_mem --irqchip=gicv3-its --console=serial --network mode=none \
		--nodefaults --loglevel error -c 2 -m 16 -k "$G/psci.flat" -p cpus=2
	tap_check psci.realm
	[ ! -s "$T/err" ] || grep -qi protect "$T/err" || fail "noise: $(cat "$T/err")"
	printf 'A=B\n' >./env
	rt run --nodefaults --network mode=none --loglevel=warning --cpus 2 --params cpus=2 --initrd env \
		--kernel "$G/psci.flat" --irqchip=gicv3
	tap_check psci.vm
	rt run --nodefaults --network mode=none --kernel _NO_FILE_4Uhere_
	grep -q 'Fatal: Unable to open kernel _NO_FILE_4Uhere_' "$T/err" || fail "$(cat "$T/err")"
}

# shrinkwrap and TF-RMM
case_lkvm_shrinkwrap()
{
	BIN=$LKVM
	plain_user
	MACHINE=
	pattern 3 1048576 >guest-disk.img
	rt run --realm=emulated --disable-sve --irqchip=gicv3-its -c 1 -m 512 --no-pvtime --force-pci \
		--kernel "$KERNEL" -i "$TOP/initrd" --disk guest-disk.img \
		-p "panic=-1 rt.test=report" --measurement-algo=sha256 --restricted_mem
	answers
	[ $rc = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	want rsi 1.0
	want disk_sha256 "$(sha guest-disk.img)"
}

# what lkvm appends without --nodefaults, and nothing with it
case_lkvm_parameters()
{
	BIN=$LKVM
	rt run $MACHINE -k "$G/hello.flat" -p first
	grep -q '# args \[.*console=ttyS0.*\]' "$T/out" || fail "$(grep args "$T/out")"
	grep -q '# args \[.*first.*\]' "$T/out" || fail "$(grep args "$T/out")"
	rt run --nodefaults $MACHINE -k "$G/hello.flat" -p only
	grep -q '# args \[only *\]' "$T/out" || fail "$(grep args "$T/out")"
	BIN=$RT
	rt run $MACHINE -k "$G/hello.flat" -p only
	grep -q '# args \[only\]' "$T/out" || fail "$(grep args "$T/out")"
}

# the devicetree is the same byte for byte, and other RAM is another devicetree
case_lkvm_dump_dtb()
{
	plain_user
	for m in vm realm; do
		rt run $(mode $m) $MACHINE -k "$G/off.flat" --dump-dtb a.dtb
		rt run $(mode $m) $MACHINE -k "$G/off.flat" --dump-dtb b.dtb
		cmp a.dtb b.dtb || fail "$m: two runs, two devicetrees"
		rt run $(mode $m) -c 1 -m 128 -k "$G/off.flat" --dump-dtb c.dtb
		! cmp -s a.dtb c.dtb || fail "$m: other RAM, same devicetree"
		# the user's own is taken as it is
		rt run $(mode $m) $MACHINE -k "$G/hello.flat" --dtb a.dtb
		tap_check hello.$m
	done
}
