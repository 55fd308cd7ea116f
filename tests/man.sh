#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs the examples of the manual pages, and the shell commands of the guides in docs.
#
#   man.sh PROGRAM [PAGE...]        those that need no guest, in a folder with made-up files; "run" is
#                                   checked as far as its options go, for there may be no KVM
#   man.sh --guest PROGRAM PAGE...  those of pages in the current folder, as they are, where KVM is
#                                   and a guest named web runs (tests/boot/cases/46-man.sh)
#
# A comment in front of an example, in the page's source, says what is special:
#
#   .\" exit N          it ends with N (in docs/*.md: <!-- exit N -->)
#   .\" guest           it needs a guest: run with --guest only
#   .\" for ever        as "guest", and it goes on until it is stopped
#   .\" file NAME       it is no command but the contents of a file; config files are checked
#   .\" bash        it is for bash
#   .\" not run: WHY
#
# The last line is "N passed, N failed[, N skipped]". Needs sh and awk alone.

set -u
guest=
[ "${1:-}" != --guest ] || { guest=1; shift; }
program=$(realpath "${1:?}") || exit 1
shift
top=$(dirname "$(realpath "$0")")/..
[ $# -gt 0 ] || set -- "$top"/man/*.[157] "$top"/man/*.in "$top"/docs/*.md
passed=0 failed=0 skipped=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/examples" "$dir/work" "$dir/home" "$dir/run"

# PAGE-N.sh for each example of a page, and what is special in PAGE-N.note
extract()
{
	case $1 in *.md) extract_md "$1"; return ;; esac
	awk -v out="$dir/examples/$(basename "$1" .in)" '
		function plain(s) {
			gsub(/\\-/, "-", s); gsub(/\\&/, "", s); gsub(/\\e/, "\\", s)
			return s
		}
		/^\.Sh / { on = $2 == "EXAMPLES"; next }
		!on { next }
		/^\.\\" / { note = substr($0, 5); next }
		/^\.Bd -literal/ { n++; in_block = 1; file = out "-" n; next }
		/^\.Ed/ {
			in_block = 0
			print note > (file ".note")
			close(file ".sh"); close(file ".note")
			note = ""
			next
		}
		in_block { print plain($0) > (file ".sh"); next }
		/^\.Dl / { n++; print plain(substr($0, 5)) > (out "-" n ".sh"); print note > (out "-" n ".note"); note = "" }
	' "$1"
}

# the same for the shell commands of a guide; the comment is one of HTML
extract_md()
{
	awk -v out="$dir/examples/$(basename "$1")" '
		/^<!-- / && !in_block { note = substr($0, 6, length($0) - 9); next }
		/^```sh$/ { n++; in_block = 1; file = out "-" n; next }
		/^```$/ && in_block {
			in_block = 0
			print note > (file ".note")
			close(file ".sh"); close(file ".note")
			note = ""
			next
		}
		in_block { print > (file ".sh") }
	' "$1"
}

# An arm64 Image of a page of code and 1 MiB of memory (Linux, Documentation/arch/arm64/booting.rst):
# size at 16, flags at 24 (4 KiB pages), magic at 56.
image()
{
	printf '\0\0\0\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\20\0\0\0\0\0\2\0\0\0\0\0\0\0'
	printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ARM\144\0\0\0\0'
	head -c 4032 /dev/zero
}

result()
{
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
		echo "ok - $2"
	else
		failed=$((failed + 1))
		echo "not ok - $2"
		sed 's/^/# /' "$dir/log"
	fi
}

# run_example FILE NOTE
run_example()
{
	want=0
	limit=60
	case $2 in
	exit\ *) want=${2#exit } ;;
	'for ever') want=124 limit=5 ;;
	esac
	shell="sh"
	[ "$2" != bash ] || shell=bash
	timeout $limit $shell -e "$1" >"$dir/log" 2>&1 </dev/null
	rc=$?
	# busybox: 143, the signal
	[ $rc != 143 ] || rc=124
	[ $rc = "$want" ] || echo "exit code $rc" >>"$dir/log"
	[ $rc = "$want" ]
}

for page; do
	extract "$page" || exit 1
done

if [ ! "$guest" ]; then
	# what examples take for granted
	export HOME="$dir/home" XDG_RUNTIME_DIR="$dir/run" REALMTOOL="$program"
	unset XDG_CONFIG_HOME XDG_STATE_HOME
	cat >"$dir/bin/realmtool" <<-'END'
		#!/bin/sh
		[ "$1" = run ] || exec "$REALMTOOL" "$@"
		shift
		exec "$REALMTOOL" config from-args -- "$@"
	END
	chmod +x "$dir/bin/realmtool"
	PATH=$dir/bin:$PATH
	cd "$dir/work" || exit 1
	image >Image
	for f in initrd initrd.img root.img disk.img data.img web.img; do
		head -c 4096 /dev/zero >$f
	done
	mkdir -p keys web.conf.d
	printf '%064d\n' 0 >reference.rim
else
	ln -s "$program" "$dir/bin/realmtool"
	PATH=$dir/bin:$PATH
fi

for f in "$dir"/examples/*.sh; do
	[ -e "$f" ] || break
	note=$(cat "${f%.sh}.note")
	name=$(basename "$f" .sh)
	case $note in
	'not run: '*)
		skipped=$((skipped + 1))
		echo "ok - $name # SKIP ${note#not run: }"
		continue
		;;
	guest | 'for ever') [ "$guest" ] || continue ;;
	file\ *)
		[ ! "$guest" ] || continue
		to=${note#file }
		cp "$f" "$to"
		case $to in
		*.d/*) set -- "${to%%.d/*}" ;;	# a drop-in is read with its file
		*) set -- "$to" ;;
		esac
		"$program" config check "$1" >"$dir/log" 2>&1
		result $? "$name: $to"
		continue
		;;
	*) [ ! "$guest" ] || continue ;;
	esac
	run_example "$f" "$note"
	result $? "$name"
done

[ $skipped = 0 ] && echo "$passed passed, $failed failed" ||
	echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ] && [ $passed != 0 ]
