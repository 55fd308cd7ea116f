#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Finds out which libraries link with $CC $CFLAGS $LDFLAGS and writes a makefile fragment:
#   HAVE  -DHAVE_x=1 for what is there      LIBS  what to link
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
printf 'HAVE :=%s\nLIBS := %s\n' "$have" "$libs" > "$out"
if [ -n "$extra" ]; then
	printf 'SYS_CFLAGS += -isystem %s/usr/include\nSYS_LDFLAGS += -L%s/usr/lib/%s-linux-gnu\n' \
		"$dir" "$dir" "$machine" >> "$out"
fi
