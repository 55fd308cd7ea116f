#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Static checks, behind "make check". A line per check, what it found below it; last line "N passed,
# N failed[, N skipped]". A check whose tool is missing is skipped (tests/testbed/deps host check
# installs all of them). Exit code 1 if one failed. check.sh NAME... runs only these.

set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C

DIR=build/check
ROOMS='vmm realm fdt virtio vfio'
mkdir -p $DIR
passed=0 failed=0 skipped=0

# Every file of ours. Not from git: it may be missing, or refuse a clone of another user's.
find . \( -path ./build -o -path ./.git \) -prune -o -type f -print | sed 's,^\./,,' |
	sort >$DIR/files

# files PATTERN: those whose name matches the extended regular expression
files()
{
	grep -E "$1" $DIR/files
}

# library: the sources of the library
library()
{
	# shellcheck disable=SC2086 # a list
	find $ROOMS -name '*.[ch]' ! -path vmm/main.c | sort
}

# code FILE...: the lines as FILE:NR:TEXT with comments and strings blanked out
code()
{
	awk '
		FNR == 1 { inside = 0 }
		{
			line = $0
			gsub(/\\./, "", line)
			gsub(/"[^"]*"/, "\"\"", line)
			out = ""
			while (line != "") {
				if (inside) {
					i = index(line, "*/")
					if (!i) break
					line = substr(line, i + 2)
					inside = 0
				} else {
					i = index(line, "/*")
					j = index(line, "//")
					if (j && (!i || j < i)) {
						out = out substr(line, 1, j - 1)
						break
					}
					if (!i) {
						out = out line
						break
					}
					out = out substr(line, 1, i - 1)
					line = substr(line, i + 2)
					inside = 1
				}
			}
			print FILENAME ":" FNR ":" out
		}' "$@"
}

# ---- the checks: print what is wrong, return 0 if nothing is ------------------------------------

# The first line, or the second behind #!, names the licence. What output is compared with, byte for
# byte (.tap, .expected), has no room for it.
check_spdx()
{
	files . | grep -vE '^LICENSE$|\.(tap|expected)$' | while read -r f; do
		head -n 2 "$f" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' ||
			echo "$f: no SPDX line"
	done | none
}

# none: there is no line; passes what there is
none()
{
	awk '{ print } END { exit NR != 0 }'
}

check_includes()
{
	sh tests/check/includes.sh
}

check_headers()
{
	h=$DIR/header.c
	for f in $(library | grep '\.h$'); do
		printf '#include "%s"\nextern int unused;\n' "$f" >$h
		${CC:-cc} -std=gnu11 -D_GNU_SOURCE -I. -Wall -Wextra -Werror -Wno-unused-parameter \
			-fsyntax-only $h || echo "$f does not stand alone"
	done 2>&1 | none
}

# Only main.c ends the program; the rest returns errors.
check_exit()
{
	# of a child that could not become another program, and of processes that are no realmtool run
	child="vmm/helper.c:[0-9]*:\s*_exit(12[67])"
	# shellcheck disable=SC2046 # no blanks in the names
	code $(library) | grep -E '(^|[^a-zA-Z0-9_>.])(_?exit|abort|_Exit|quick_exit|errx?|error)[ ]*\(' |
		grep -vE "^vmm/(attendant|sandbox)\.c:[0-9]*:\s*_exit" | grep -v "$child" | none
}

# Library code speaks through vmm/core/log.h; commands and the option table print what was asked
# for, the debugger, config files and JSON write to a stream, a sandbox's init to files.
check_print()
{
	# shellcheck disable=SC2046
	code $(library |
		grep -vE '^vmm/(cmd[a-z_]*|conf_[a-z]*|conffile|rootfs_init|gdb[a-z_]*|core/(opt|log|json|trace))\.c$') |
		grep -E '(^|[^a-zA-Z0-9_])(printf|puts|putchar|perror|v?fprintf|fputs|dprintf)[ ]*\(' |
		none
}

# One place knows how an address space splits.
check_split()
{
	# shellcheck disable=SC2046
	code $(library | grep -v '^realm/ipa.h$') |
		grep -E '<< *\(?[a-zA-Z_.>-]*(bits|width) *- *1' | none
}

# One door: the mapping of guest memory is used where it is made and nowhere else.
check_door()
{
	# shellcheck disable=SC2046
	code $(library | grep -vE '^(realm/|vmm/core/gmem\.c$)') |
		grep -E -e '->region\[|[.>]shared *[+[]|rsi_granule *\(' | none
}

# 100 columns, in scripts 125. A row of a table cannot be broken; a message is not cut in two.
check_lines()
{
	files '\.(c|h|S|lds|in|[1-9]|md|sh|bash|zsh|fish)$|^Makefile$|^\.ci/run$|^tests/.*/[a-z0-9-]+$' |
		grep -v '^tests/lkvm/corpus$' |
		while read -r f; do
		expand "$f" | awk -v f="$f" '
			BEGIN { max = f ~ /\.(c|h|S|lds|in|[1-9]|md)$/ ? 100 : 125 }
			/^```/ { fence = !fence }
			length <= max || (f ~ /\.md$/ && (fence || /^\|/)) { next }
			f ~ /\.[ch]$/ && length <= 120 && /"/ && index($0, "\"") < max { next }
			{ print f ":" FNR ": " length " columns" }'
	done | none
}

check_blanks()
{
	{
		files . | grep -v "[.]tap$" | xargs grep -nE "[[:blank:]]+$" /dev/null
		files . | while read -r f; do
			[ -z "$(tail -c 1 "$f")" ] || echo "$f: no newline at its end"
		done
	} | none
}

# Words that promise work: the issue list is the place for that.
check_promises()
{
	files . | grep -v '^tests/check\.sh$' |
		xargs grep -nwE 'TODO|FIXME|XXX|HACK|TBD' /dev/null | none
}

scripts()
{
	files . | while read -r f; do
		case $f in
		*.sh | *.bash) echo "$f" ;;
		*) head -n 1 "$f" | grep -qE '^#! ?/bin/(ba)?sh' && echo "$f" ;;
		esac
	done
}

check_shellcheck()
{
	# a= b= is clear; variables may be for the script that sources; lists are split on purpose;
	# ulimit -c is there in busybox
	usual=SC1007,SC2034,SC2206,SC3045
	# cases are sourced: they use what lib.sh defines, and options that come as lists
	scripts | grep -v "^tests/boot/cases/" | xargs shellcheck -x -P SCRIPTDIR -S warning -e $usual &&
		files "^tests/boot/cases/" |
		xargs shellcheck -S warning -e $usual,SC2046,SC2154,SC2238
}

# The other compiler; for arm64 too where its C library is there.
check_clang()
{
	make --no-print-directory -j"$(nproc)" CC=clang STATIC=0 O=$DIR/clang \
		$DIR/clang/realmtool unit-binaries || return
	[ "$(uname -m)" != aarch64 ] && [ -d /usr/aarch64-linux-gnu/include ] &&
		[ -d build/sysroot/arm64 ] || return 0
	make --no-print-directory -j"$(nproc)" CC='clang --target=aarch64-linux-gnu' ARCH=arm64 \
		O=$DIR/clang-arm64 $DIR/clang-arm64/realmtool
}

# The flags may be given and come to nothing: look into what was linked.
check_hardened()
{
	for a in x86_64 arm64; do
		case $a:$(uname -m) in
		x86_64:x86_64 | arm64:aarch64) ;;
		arm64:*) [ -d build/sysroot/arm64 ] || continue ;;
		*) continue ;;
		esac
		bin=build/$a/realmtool
		make --no-print-directory -j"$(nproc)" ARCH=$a $bin >&2 || return
		readelf -hlWd $bin >$DIR/elf
		grep -q 'Type: *DYN' $DIR/elf && grep -q 'Flags:.* PIE' $DIR/elf ||
			echo "$bin: not position independent"
		grep -q GNU_RELRO $DIR/elf && grep -q BIND_NOW $DIR/elf ||
			echo "$bin: its relocations stay writable"
		grep -q 'GNU_STACK.* RW ' $DIR/elf || echo "$bin: its stack is executable"
		! grep -q 'LOAD.* RWE ' $DIR/elf || echo "$bin: memory that is writable and executable"
		! grep -q TEXTREL $DIR/elf || echo "$bin: its code is relocated"
		readelf -sW $bin >$DIR/elf
		grep -q __stack_chk_fail $DIR/elf || echo "$bin: no stack protector"
		grep -q __vsnprintf_chk $DIR/elf || echo "$bin: no _FORTIFY_SOURCE"
		case $a in
		x86_64) feature='IBT, SHSTK' ;;
		arm64) feature='BTI, PAC' ;;
		esac
		# of the C library's objects the distribution decides
		for o in $(library | sed -n 's/\.c$/.o/p'); do
			readelf -nW build/$a/"$o" | grep -q "$feature" || echo "$o: no $feature"
		done
	done | none
}

# how a file is compiled where make is not asked
compile_flags()
{
	out=build/$(uname -m | sed s/aarch64/arm64/)
	make --no-print-directory "$out/config.mk" "$out/vmm/syscalls_table.h" >&2
	echo "-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -DREALMTOOL_VERSION=\"\" -pthread" \
		"$(sed -nE 's/^(HAVE :|SYS_CFLAGS \+)=//p' build/"$(uname -m | sed s/aarch64/arm64/)"/config.mk)" \
		"-I$out -DSYSCALLS_TABLE=\"vmm/syscalls_table.h\""
}

# all sources but err.c, which is what analyzer.h stands in for
analysed()
{
	library | grep '\.c$' | grep -v '^vmm/core/err\.c$'
}

check_tidy()
{
	flags=$(compile_flags)
	# one file at a time: version 14 forgets va_start() otherwise
	# shellcheck disable=SC2016 # for the inner shell
	analysed | xargs -P "$(nproc)" -n 1 sh -c '
		flags=$1
		shift
		clang-tidy --quiet "$@" -- -include tests/check/analyzer.h $flags 2>/dev/null' - "$flags"
}

# What it gets wrong stands in analyzer.supp.
check_analyzer()
{
	flags=$(compile_flags)
	# shellcheck disable=SC2016 # for the inner shell
	analysed | xargs -P "$(nproc)" -n 1 sh -c '
		${CC:-gcc} -O1 -fanalyzer -include tests/check/analyzer.h $1 -c -o /dev/null "$2" 2>&1' \
		- "$flags" >$DIR/analyzer.all
	awk '
		FNR == NR { if (!/^#/) known[$0]; next }
		/(warning|error):/ {
			file = $1
			sub(/:.*/, "", file)
			option = $NF
			gsub(/[][]/, "", option)
			text = !((file " " option) in known)
		}
		text' tests/check/analyzer.supp $DIR/analyzer.all | none
}

# The files of boot cases are read into one shell: a name that two of them define is lost.
check_cases()
{
	grep -hoE '^[a-z_0-9]+\(\)' tests/boot/cases/*.sh tests/boot/lib.sh | sort | uniq -d |
		sed 's/$/: defined twice in the boot cases/' | none
}

# What SECURITY.md names is there: files, boot cases, functions.
check_security()
{
	awk -F'`' '/^\|/ { for (i = 2; i <= NF; i += 2) print $i }' SECURITY.md | sort -u |
		while read -r w; do
		case $w in
		*/*) [ -e "$w" ] || echo "SECURITY.md: there is no $w" ;;
		[a-z]*_*) grep -q "^case_$w()" tests/boot/cases/*.sh ||
			echo "SECURITY.md: there is no boot case $w" ;;
		esac
	done | none
}

check_cppcheck()
{
	mkdir -p $DIR/cppcheck
	# shellcheck disable=SC2086
	cppcheck --quiet --std=c11 --language=c --platform=unix64 -j"$(nproc)" -I. \
		--cppcheck-build-dir=$DIR/cppcheck --error-exitcode=1 --inline-suppr \
		--enable=warning,performance,portability --suppressions-list=tests/check/cppcheck.supp \
		--include=tests/check/cppcheck.h -D__aarch64__ \
		-DHAVE_URING -DHAVE_CRYPTO -DHAVE_ZLIB -DHAVE_ZSTD $ROOMS
}

check_codespell()
{
	xargs codespell -I tests/check/words <$DIR/files
}

check_mandoc()
{
	make --no-print-directory man || return
	for m in man/*.[1-9] build/man/*.[1-9]; do
		mandoc -T lint -W warning "$m" || echo "$m"
	done | none
}

# For all values, not for some: and each proof has a bug that it finds (tests/cbmc).
check_cbmc()
{
	tests/cbmc/run.sh && tests/cbmc/run.sh --seeded
}

# ---- all together -------------------------------------------------------------------------------

# check NAME TEXT [TOOL]
check()
{
	name=$1
	case " $only " in
	"  " | *" $name "*) ;;
	*) return ;;
	esac
	if [ -n "${3:-}" ] && ! command -v "$3" >/dev/null; then
		skipped=$((skipped + 1))
		printf '%-60s skipped: no %s\n' "$2" "$3"
		return
	fi
	if "check_$name" >"$DIR/$name.log" 2>&1; then
		passed=$((passed + 1))
		printf '%-60s ok\n' "$2"
	else
		failed=$((failed + 1))
		printf '%-60s failed\n' "$2"
		grep -vE '^  (CC|LD|AR) ' "$DIR/$name.log" | sed 's/^/    /' | tail -n 100
	fi
}

only=$*
check spdx "every file names its licence"
check includes "includes point downwards, no loops"
check headers "every header stands alone" "${CC:-cc}"
check exit "only main.c ends the program"
check print "library code prints through the log"
check split "one place knows the address split"
check door "no way around the door to guest memory"
check lines "at most 100 columns"
check blanks "no blanks at line ends, a newline at each file's end"
check promises "no promises in the text"
check cases "boot cases: every function has a name of its own"
check security "what SECURITY.md names is there"
check shellcheck "scripts: shellcheck" shellcheck
check clang "clang, warnings are errors" clang
check hardened "the binaries are hardened" readelf
check tidy "clang-tidy" clang-tidy
check analyzer "gcc -fanalyzer" gcc
check cppcheck "cppcheck" cppcheck
check codespell "spelling" codespell
check mandoc "manual pages" mandoc
case " $only " in
"  " | *" cbmc "*)
	# without Debian 13 within reach it cannot be had
	tests/testbed/deps cbmc >$DIR/cbmc.log 2>&1 || :
	if why=$(tests/cbmc/run.sh --usable); then
		check cbmc "proofs: ring indices, the door, the RIPAS map (cbmc)"
	else
		skipped=$((skipped + 1))
		printf '%-60s skipped: %s\n' "proofs: ring indices, the door, the RIPAS map (cbmc)" "$why"
	fi ;;
esac
if [ $skipped = 0 ]; then
	echo "$passed passed, $failed failed"
else
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ $failed = 0 ] && [ $passed != 0 ]
