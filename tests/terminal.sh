#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What a user sees first: help of every command, colour on terminals only, NO_COLOR, errors that say
# what to do. terminal.sh PROGRAM. The last line is "N passed, N failed".

set -u
program=$(realpath "${1:-./realmtool}") || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0
export TERM=xterm HOME="$dir" XDG_RUNTIME_DIR="$dir/run"
unset NO_COLOR
esc=$(printf '\033')

# is TEXT COMMAND...: the command succeeds
is()
{
	text=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
		echo "ok - $text"
	else
		failed=$((failed + 1))
		echo "not ok - $text"
	fi
}

# on_terminal ARG...: what the program prints on one
on_terminal()
{
	script -qec "'$program' $*" /dev/null </dev/null 2>/dev/null
}

colored()
{
	on_terminal "$@" | grep -q "$esc\[31m"
}

plain()
{
	! on_terminal "$@" | grep -q "$esc"
}

piped()
{
	! "$program" "$@" 2>&1 | grep -q "$esc"
}

# answers COMMAND: "help COMMAND" and "COMMAND --help", the first the longer one
answers()
{
	"$program" help "$1" >"$dir/long" && "$program" "$1" --help >"$dir/short" &&
		grep -q '^usage: realmtool ' "$dir/short" &&
		[ "$(wc -l <"$dir/long")" -ge "$(wc -l <"$dir/short")" ]
}

# advises PATTERN ARG...: it fails with one line that says what to do
advises()
{
	pattern=$1
	shift
	"$program" "$@" >"$dir/out" 2>"$dir/err" </dev/null
	rc=$?
	[ $rc = 128 ] && [ "$(wc -l <"$dir/err")" = 1 ] && grep -qE "^Fatal: .*($pattern)" "$dir/err" || {
		sed 's/^/# /' "$dir/err"
		return 1
	}
}

mkdir "$dir/run"
ln -s "$program" "$dir/realmtool"
program=$dir/realmtool
cd "$dir" || exit 1
for c in $("$program" help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
	[ "$c" = help ] || is "help $c" answers "$c"
done
is "errors are red on a terminal" colored stop nobody
is "what is missing is red in the report" colored check --dev /nonexistent
NO_COLOR=1
export NO_COLOR
is "NO_COLOR" plain stop nobody
NO_COLOR=
is "an empty NO_COLOR does not count" colored stop nobody
unset NO_COLOR
TERM=dumb
is "no colour on a dumb terminal" plain stop nobody
TERM=xterm
is "no colour in a pipe" piped stop nobody
is "no colour in a file: the report" piped check --dev /nonexistent

is "unknown command" advises 'did you mean run' rnu
is "unknown option" advises 'did you mean --kernel' run --kernle x
is "an option before the command" advises 'write ".*run' -k Image
is "no kernel" advises 'give --kernel' run
is "no such kernel" advises 'Image.*No such file' run -k Image
is "no such word" advises 'emulated' run --realm=x -k Image
is "size" advises 'unit' run -m 12z -k Image
is "disk format" advises 'raw.*qcow2|qcow2.*raw' run -k Image -d x,format=vdi
is "no guest of this name" advises 'command list' stop nobody
is "which guest" advises 'NAME|name' stop
is "no config file" advises 'give FILE.conf' config check nothing
is "config without a word" advises 'check, show' config
is "token without a file" advises 'needs a file' token
is "no token" advises 'no CCA token|not a CCA|CBOR|empty' token /dev/null
is "measure of what is no realm" advises 'add --realm' measure -k Image
is "setup without a name" advises 'setup NAME' setup
is "completion" advises 'bash, zsh or fish' completion

echo "$passed passed, $failed failed"
[ $failed = 0 ]
