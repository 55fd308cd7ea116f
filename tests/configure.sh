#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Finds out what the compiler knows to harden a binary, which libraries link with $CC $CFLAGS
# $LDFLAGS (STATIC=1: statically), and writes a makefile fragment:
#   HARDEN flags   LINK_AS what kind of program   HAVE -DHAVE_x=1 for what is there   LIBS what to link
# Only libfdt is required. Usage: CC=... configure.sh OUTPUT
set -u
out=$1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# try_link HEADER CALL LIBS...
try_link() {
	printf '#include <stddef.h>\n#include <stdint.h>\n#include <%s>\nint main(void) { return (long)(%s) == 42; }\n' \
		"$1" "$2" > "$tmp/t.c"
	shift 2
	# shellcheck disable=SC2086 # flags are lists
	$CC $CFLAGS -o "$tmp/t" "$tmp/t.c" $LDFLAGS "$@" > "$tmp/log" 2>&1
}

# try FLAG...: the compiler takes these, and what it makes links
try() {
	# shellcheck disable=SC2086 # flags are lists
	printf '#include <stdio.h>\nint main(void) { return 0; }\n' > "$tmp/t.c" &&
		$CC "$@" $CFLAGS -Werror -o "$tmp/t" "$tmp/t.c" $LDFLAGS > "$tmp/log" 2>&1
}

# What hardens a binary, as far as this compiler has it. A position independent executable, static
# or not; sanitizers bring what they need themselves.
harden= link=
case $($CC -dumpmachine) in
aarch64-*) branches=-mbranch-protection=standard ;;
x86_64-*) branches=-fcf-protection=full ;;
*) branches= ;;
esac
for f in -fstack-protector-strong -fstack-clash-protection $branches; do
	! try $f || harden="$harden $f"
done
if [ "${STATIC:-0}" = 1 ]; then
	link=-static
	! try -fPIE -static-pie || { harden="$harden -fPIE" link=-static-pie; }
elif try -fPIE -pie; then
	harden="$harden -fPIE" link=-pie
fi
if [ -z "${SAN:-}" ]; then
	! try -ftrivial-auto-var-init=zero || harden="$harden -ftrivial-auto-var-init=zero"
	# it needs optimisation; who gives a level of their own gets that
	case " $CFLAGS " in
	*_FORTIFY_SOURCE*) ;;
	*)
		for n in 3 2; do
			if try -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$n; then
				harden="$harden -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$n"
				break
			fi
		done ;;
	esac
fi
CFLAGS="$harden $CFLAGS"
LDFLAGS="$LDFLAGS $link"

have= libs=
if ! try_link libfdt.h 'fdt_check_header(NULL)' -lfdt; then
	cat "$tmp/log" >&2
	echo "configure: libfdt does not link with $CC: install libfdt-dev, set LIBFDT_DIR to a built" \
		"libfdt, or run tests/testbed/deps host build" >&2
	exit 1
fi
libs=-lfdt
probe() { # NAME HEADER CALL LIB
	if try_link "$2" "$3" "$4"; then
		have="$have -DHAVE_$1=1"
		libs="$libs $4"
	fi
}
probe URING liburing.h 'io_uring_queue_exit' -luring
probe CRYPTO openssl/sha.h 'SHA256' -lcrypto
# tinycbor of a Debian that has none was unpacked (tests/testbed/deps tinycbor); of another architecture
# it stands in the sysroot that the Makefile knows.
extra=
machine=$(uname -m)
dir=build/sysroot/$(echo "$machine" | sed s/aarch64/arm64/)
case $($CC -dumpmachine) in
"$machine"-*)
	if [ -e "$dir/.tinycbor" ]; then
		extra=yes
		CFLAGS="$CFLAGS -isystem $dir/usr/include"
		LDFLAGS="$LDFLAGS -L$dir/usr/lib/$machine-linux-gnu"
	fi ;;
esac
probe CBOR tinycbor/cbor.h 'cbor_encode_tag(NULL, 0)' -ltinycbor
probe ZLIB zlib.h 'inflate' -lz
probe ZSTD zstd.h 'ZSTD_decompressStream' -lzstd
probe JANSSON jansson.h 'json_loads("", 0, NULL) != NULL' -ljansson
probe CONFUSE confuse.h 'cfg_parse_buf(NULL, NULL)' -lconfuse
# bookworm's static libcrypto wants nothing more; a shared build needs no list either.
printf 'HARDEN :=%s\nLINK_AS := %s\nHAVE :=%s\nLIBS := %s\n' "$harden" "$link" "$have" "$libs" > "$out"
if [ -n "$extra" ]; then
	printf 'SYS_CFLAGS += -isystem %s/usr/include\nSYS_LDFLAGS += -L%s/usr/lib/%s-linux-gnu\n' \
		"$dir" "$dir" "$machine" >> "$out"
fi
