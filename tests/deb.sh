#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The Debian packages: made from the binaries that are there ("make deb"), looked through by lintian,
# unpacked and used. deb.sh [FOLDER with packages]; without one "make deb" makes them. The last line
# is "N passed, N failed[, N skipped]".

set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
passed=0 failed=0 skipped=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

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

skip()
{
	skipped=$((skipped + 1))
	echo "ok - $1 # SKIP $2"
}

command -v dpkg-deb >/dev/null || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
version=$(sed -n 's/^VERSION := //p' Makefile)
if [ $# = 0 ]; then
	make --no-print-directory -j"$(nproc)" deb >"$dir/log" 2>&1
	result $? "make deb"
	set -- build/deb
fi

for deb in "$(realpath "$1")"/realmtool_"${version}"_*.deb; do
	[ -e "$deb" ] || { : >"$dir/log"; result 1 "a package is there"; break; }
	name=$(basename "$deb")
	arch=${name##*_}
	arch=${arch%.deb}
	root=$dir/$arch
	dpkg-deb -x "$deb" "$root" >"$dir/log" 2>&1 &&
		[ "$(dpkg-deb -f "$deb" Version)" = "$version" ] &&
		[ "$(dpkg-deb -f "$deb" Architecture)" = "$arch" ]
	result $? "$arch: version and architecture"

	dpkg-deb -c "$deb" | awk '$2 != "root/root" || $1 ~ /^.....w|^........w/' |
		grep -v '^l' >"$dir/log"
	[ ! -s "$dir/log" ]
	result $? "$arch: all is root's, and only root writes"

	for f in bin/realmtool share/man/man1/realmtool-run.1.gz share/man/man5/realmtool.conf.5.gz \
		share/man/man7/realmtool-measurement.7.gz share/doc/realmtool/examples/minimal.conf \
		share/bash-completion/completions/realmtool share/zsh/vendor-completions/_realmtool; do
		[ -s "$root/usr/$f" ] || echo "no /usr/$f"
	done >"$dir/log"
	[ ! -e "$root/usr/bin/lkvm" ] || echo "/usr/bin/lkvm is of the package kvmtool" >>"$dir/log"
	[ ! -s "$dir/log" ]
	result $? "$arch: what has to be in it"

	(cd "$root" && dpkg-deb -I "$deb" md5sums | md5sum -c --quiet) >"$dir/log" 2>&1
	result $? "$arch: md5sums"

	# the program, and lkvm in the folder that does not get in kvmtool's way
	emulator=
	if [ "$arch" != "$(dpkg --print-architecture)" ]; then
		emulator=$(command -v qemu-aarch64 || command -v qemu-aarch64-static)
	fi
	if [ "$arch" = "$(dpkg --print-architecture)" ] || [ "$emulator" ]; then
		{
			$emulator "$root/usr/bin/realmtool" version | grep -qx "realmtool $version" &&
				$emulator "$root/usr/bin/realmtool" config from-args -- run -k Image -m 64 |
				grep -q 'memory = .*64'
		} >"$dir/log" 2>&1
		result $? "$arch: the program works"
	else
		skip "$arch: the program works" "no qemu-user here"
	fi

	if command -v lintian >/dev/null; then
		lintian --allow-root --fail-on error,warning "$deb" >"$dir/log" 2>&1
		result $? "$arch: lintian"
	else
		skip "$arch: lintian" "no lintian here"
	fi
done

[ $skipped = 0 ] && echo "$passed passed, $failed failed" ||
	echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ] && [ $passed != 0 ]
