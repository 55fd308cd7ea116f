# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the benchmarks share. Sourced after tests/testbed/lib.sh.

needed()
{
	readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

# copy_libs TREE FILE DIR: the libraries that FILE needs, and those that they need
copy_libs()
{
	local so at

	for so in $(needed "$2"); do
		[ ! -e "$3/$so" ] || continue
		at=$(find "$1/usr/lib" -name "$so" -print -quit)
		[ -n "$at" ] || die "${2##*/} needs $so, which is not in its packages"
		ln -s "$(realpath "$at")" "$3/$so"
		copy_libs "$1" "$3/$so" "$3"
	done
}

# with_libs TREE PROGRAM DIR: a program of "deps tree TREE" and its libraries, not all of its packages:
# DIR/PROGRAM, DIR/lib and the dynamic linker, DIR/ld.so
with_libs()
{
	local tree=$BED/tree/$1

	mkdir -p "$3/lib"
	ln -s "$(realpath "$tree/$2")" "$3/${2##*/}"
	ln -s "$(realpath "$tree/usr/lib/ld-linux-aarch64.so.1")" "$3/ld.so"
	copy_libs "$tree" "$tree/$2" "$3/lib"
}
