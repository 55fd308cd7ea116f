#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The command lines of tests/lkvm/corpus, as far as they go without KVM: run.sh PROGRAM. What each
# line is expected to do stands there. Prints TAP; the last line is "N passed, N failed".

set -u
program=$(realpath "${1:?}") || exit 1
corpus=$(dirname "$(realpath "$0")")/corpus
passed=0 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
mkdir bin home work
ln -s "$program" bin/lkvm
HOME=$dir/home XDG_RUNTIME_DIR=$dir/home
export HOME XDG_RUNTIME_DIR
unset XDG_CONFIG_HOME XDG_STATE_HOME
cd work || exit 1

# An arm64 Image of a page (Linux, Documentation/arch/arm64/booting.rst): size at 16, flags at 24
# (4 KiB pages), magic at 56.
{
	printf '\0\0\0\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\20\0\0\0\0\0\2\0\0\0\0\0\0\0'
	printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ARM\144\0\0\0\0'
	head -c 4032 /dev/zero
} >Image
mkdir -p realm cca rootdir huge
for f in guest-disk.img guest.ext4 a.img b.img initrd test.cpio.gz ENV KVMTOOL_EFI.fd; do
	head -c 65536 /dev/zero >$f
done
truncate -s 1M vars.fd
# an instruction: nop
printf '\37\40\3\325' >X.flat
cp Image realm/Image
cp guest.ext4 realm/realm-fs.ext4

# lkvm WORD...: sets rc; output in out and err
lkvm()
{
	rc=0
	timeout 60 ../bin/lkvm "$@" >out 2>err </dev/null || rc=$?
}

why()
{
	echo "# $*"
	sed 's/^/#   /' err
	return 1
}

# What goes to stderr is a message with its level in front.
levels()
{
	! grep -vE '^(Fatal|Error|Warning|Info|Debug): ' err >odd || why "no level: $(head -n 1 odd)"
}

is_dtb()
{
	[ "$(od -An -tx1 -N4 "$1" 2>/dev/null)" = ' d0 0d fe ed' ]
}

# The devicetree of a line in $1. On an arm64 machine "run" would go on; "measure" does for realms.
devicetree()
{
	to=$1
	shift
	rm -f "$to"
	if [ "$(uname -m)" != aarch64 ]; then
		lkvm run "$@" --dump-dtb "$to"
	else
		case " $* " in *' --realm'*) ;; *) return 0 ;; esac
		lkvm measure "$@" --dump-dtb "$to"
	fi
	[ $rc = 0 ] || why "exit code $rc" || return
	is_dtb "$to" || why "no devicetree"
}

# parses WORD...: behind "run"
parses()
{
	devicetree a.dtb "$@" || return
	levels || return
	[ "$(uname -m)" = aarch64 ] || case " $* " in
	*' error '* | *'=warning '*) ;;
	*) grep -qE '^Info: # lkvm run (-k|--firmware) [^ ]+ -m [0-9]+ -c [0-9]+ --name [^ ]+$' err ||
		why "no line \"# lkvm run\"" || return ;;
	esac
	../bin/lkvm version | grep -q 'libconfuse *yes' || return 0
	rm -f made.conf
	lkvm config from-args -o made.conf -- lkvm run "$@"
	[ $rc = 0 ] || why "from-args: exit code $rc" || return
	lkvm config check made.conf
	[ $rc = 0 ] || why "config check: exit code $rc" || return
	# the mode of a realm that measure wants is in the file
	case " $* " in *' --realm'*) set -- made.conf --realm ;; *) set -- made.conf ;; esac
	devicetree b.dtb "$@" || return
	[ ! -e a.dtb ] || cmp a.dtb b.dtb || why "the config file makes another guest"
}

# one NAME EXPECTATION WORD...
one()
{
	expect=$2
	shift 2
	case $expect in
	boots | parses)
		shift
		parses "$@"
		;;
	'warns '*)
		shift
		devicetree a.dtb "$@" && levels || return
		grep -q "^Warning: .*${expect#warns }" err || why "no such warning: ${expect#warns }"
		;;
	noop)
		set -- --realm -k Image -m 64 --nodefaults "$1"
		devicetree a.dtb "$@" || return
		[ "$(grep -c "^Info: .*$7" err)" = 1 ] || why "not one line says so" || return
		! grep "^Warning: .*$7" err || why "a warning" || return
		devicetree b.dtb --realm -k Image -m 64 --nodefaults || return
		cmp a.dtb b.dtb || why "it changes the guest" || return
		devicetree a.dtb "$@" --loglevel error || return
		[ ! -s err ] || why "it is not silent"
		;;
	'refused '*)
		lkvm "$@"
		[ $rc = 128 ] || why "exit code $rc" || return
		[ "$(grep -c '^Fatal: ' err)" = 1 ] || why "not one line Fatal:" || return
		tail -n 1 err | grep -q "^Fatal: .*${expect#refused }" ||
			why "the reason is another one"
		;;
	'says '*)
		expect=${expect#says }
		lkvm "$@"
		[ "$rc" = "${expect%% *}" ] || why "exit code $rc" || return
		case $expect in *' '*) ;; *) return 0 ;; esac
		cat out err | grep -q -e "${expect#* }" || why "no ${expect#* } in its output"
		;;
	*)
		echo "# unknown expectation \"$expect\""
		return 1
		;;
	esac
}

while IFS='|' read -r name expect words; do
	case $name in '#'* | '') continue ;; esac
	# absolute paths of other machines are here, too
	words=$(printf '%s\n' "$words" | sed 's, /\(realm\|cca\)/, ./\1/,g')
	eval "set -- $words"
	name=${name%% *}
	expect=${expect# }
	if one "$name" "${expect% }" "$@" 3<&- >log 2>&1; then
		passed=$((passed + 1))
		echo "ok - $name"
	else
		failed=$((failed + 1))
		echo "not ok - $name: $words"
		cat log
	fi
done 3<&0 <"$corpus"
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed != 0 ]
