#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Makes the seeds of a fuzz target that are easier made here than in its fuzz_seeds(): a function
# per target, which fills a directory. Run from the project's root: seeds.sh TARGET DIRECTORY

set -u

seeds_conf()
{
	cp configs/*.conf "$1/"
}

seeds_control()
{
	# a byte with the length of what follows, then that; from 0360 on something of the guest's
	request "$1/echo" '{"v":1,"cmd":"r","id":1,"x":[1,2,{"y":null}]}'
	request "$1/error" '{"v":1,"cmd":"e","id":"one"}' '{"v":1,"cmd":"none"}' '{"v":2,"cmd":"r"}'
	request "$1/bad" '[]' '{' '{"v":1}' '{"v":1,"id":[],"cmd":"r"}' '{"v":1,"v":2}'
	request "$1/wait" '{"v":1,"cmd":"wait"}' '{"v":1,"cmd":"r"}'
	request "$1/console" '{"v":1,"cmd":"console","input":true}'
	printf '\005hello\360\005guest\361\360\001x\362\003end\362' >>"$1/console"
	request "$1/look" '{"v":1,"cmd":"console","replay":false,"follow":false}'
	printf '\361\363\361\364\363\364' >>"$1/look"
}

# request FILE LINE...
request()
{
	file=$1
	shift
	for line; do
		printf "\\$(printf %o $((${#line} + 1)))%s\n" "$line"
	done >"$file"
}

seeds_measure()
{
	# the first byte says what it is: a profile; lines of measure, and their JSON
	for f in configs/profiles/*.profile; do
		{ printf '\000'; cat "$f"; } >"$1/${f##*/}"
	done
	rim=$(printf '%064d' 0)
	printf '\004create dialect=1.0 rim=0\ndata name=kernel base=0x80000000 rim=%s\n' "$rim" >"$1/lines"
	printf 'predicted RIM (dialect 1.0): %s\n' "$rim" >>"$1/lines"
	printf '\004{"rim":"%s","steps":[{"step":"data","name":"x","measured":true}]}' "$rim" >"$1/json"
	printf '\003%s' "$rim" >"$1/word"
	chance "$1"
}

# chance DIRECTORY: bytes without a meaning, of which some targets make choices; always the same
chance()
{
	perl -e 'for $i (0 .. 15) {
		open($f, ">", "$ARGV[0]/chance$i") or die;
		$x = 7919 * $i + 1;
		for (1 .. 100 * ($i + 1)) {
			$x = ($x * 1103515245 + 12345) & 0x7fffffff;
			print $f chr($x >> 16 & 0xff);
		}
	}' "$1"
}

for t in uart rtc pl061 flash kernel dtb rsi psci ripas; do
	eval "seeds_$t() { chance \"\$1\"; }"
done

case $(type "seeds_$1" 2>/dev/null) in
*function*) "seeds_$1" "$2" ;;
esac
