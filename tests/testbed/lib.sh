# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the scripts of the test bed share. Sourced, never run.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${RT_BUILD:-$TOP/build}		# everything we make stands below this folder
BED=$BUILD/testbed			# results; removed by "testbed clean"
CACHE=$BUILD/cache			# downloads; removed by "testbed clean --all"
PATH=$PATH:/usr/sbin:/sbin		# depmod, for users whose PATH has no sbin
ME=${0##*/}
export LC_ALL=C				# we parse what apt, dpkg and QEMU print
umask 022

tell()
{
	printf '%s: %s\n' "$ME" "$*" >&2
}

# progress; errors go through tell
say()
{
	[ -n "${RT_QUIET:-}" ] || tell "$@"
}

die()
{
	tell "$*"
	exit 1
}

# lock NAME: one at a time per build folder; held until this shell ends or "exec 9>&-".
lock()
{
	mkdir -p "$BUILD"
	exec 9>"$BUILD/.lock-$1"
	flock -n 9 || { say "waiting for another $1 run"; flock 9; }
}

host_arch()
{
	case $(uname -m) in
	x86_64) echo amd64 ;;
	aarch64) echo arm64 ;;
	*) uname -m ;;
	esac
}

# qemu_version COMMAND...: "10.0", "7.2"; nothing if it does not run
qemu_version()
{
	{ "$@" --version 2>/dev/null || true; } |
		 sed -n 's/^QEMU emulator version \([0-9]*\.[0-9]*\).*/\1/p'
}

# find_qemu [VERSION]: sets QEMU_CMD (array) and QEMU_VER. Order: $QEMU, the machine's own if it is
# VERSION (8.2) or later, the one that "deps qemu" unpacked, the machine's own whatever it is.
find_qemu()
{
	local own=qemu-system-aarch64 priv=$BED/qemu lib min=${1:-8.2}

	if [ -n "${QEMU:-}" ]; then
		QEMU_CMD=("$QEMU")
		QEMU_VER=$(qemu_version "${QEMU_CMD[@]}")
		[ -n "$QEMU_VER" ] || die "QEMU=$QEMU does not run"
		return 0
	fi
	QEMU_CMD=("$own")
	QEMU_VER=$(qemu_version "$own")
	if [ -n "$QEMU_VER" ] &&
	   printf '%s\n' "$min" "$QEMU_VER" | sort -VC; then
		return 0
	fi
	if [ -x "$priv/usr/bin/$own" ]; then
		for lib in "$priv"/usr/lib/*-linux-gnu; do
			QEMU_CMD=(env "LD_LIBRARY_PATH=$lib" "QEMU_MODULE_DIR=$lib/qemu"
				  "$priv/usr/bin/$own" -L "$priv/usr/share/qemu")
		done
		QEMU_VER=$(qemu_version "${QEMU_CMD[@]}")
		[ -n "$QEMU_VER" ] && return 0
		QEMU_CMD=("$own")
		QEMU_VER=$(qemu_version "$own")
	fi
	[ -n "$QEMU_VER" ]
}

# quote WORDS...: single-quoted for any POSIX shell
quote()
{
	local w
	for w; do
		printf "'%s' " "${w//\'/\'\\\'\'}"
	done
}

# kernel_dir VARIANT|PATH: prints the folder that "deps kernel" made, or fails
kernel_dir()
{
	[ -e "$BED/kernel/$1/version" ] && printf '%s\n' "$BED/kernel/$1"
}

# module_closure MODULES_DEP NAME...: relative paths of the modules and all they need, in load
# order. Names that are not there (built in, or a leaner kernel) are left out.
module_closure()
{
	local dep=$1
	shift
	awk -v want="$*" '
		function norm(p) {
			sub(/.*\//, "", p); sub(/\.ko.*/, "", p); gsub(/-/, "_", p); return p
		}
		{
			sub(/:$/, "", $1)
			n = norm($1); path[n] = $1; deps[n] = ""
			for (i = NF; i > 1; i--) deps[n] = deps[n] " " $i
		}
		function emit(n,    i, a, k) {
			if (!(n in path) || n in done) return
			done[n] = 1
			k = split(deps[n], a, " ")
			for (i = 1; i <= k; i++) emit(norm(a[i]))
			print path[n]
		}
		END {
			k = split(want, w, " ")
			for (j = 1; j <= k; j++) { gsub(/-/, "_", w[j]); emit(w[j]) }
		}' <(sed 's/:/: /;s/: :/:/' "$dep")
}

# copy_modules KERNELDIR DEST NAME...: unpacked modules and a modules.dep for busybox's modprobe
copy_modules()
{
	local kdir=$1 dest=$2 ver src rel out
	shift 2
	ver=$(cat "$kdir/version")
	src=$kdir/modules/lib/modules/$ver
	mkdir -p "$dest/lib/modules/$ver"
	module_closure "$src/modules.dep" "$@" | while read -r rel; do
		out=$dest/lib/modules/$ver/${rel%.ko*}.ko
		mkdir -p "${out%/*}"
		case $rel in
		*.ko.xz) xz -dc "$src/$rel" >"$out" ;;
		*.ko.zst) zstd -qdc "$src/$rel" >"$out" ;;
		*.ko.gz) gzip -dc "$src/$rel" >"$out" ;;
		*) cp "$src/$rel" "$out" ;;
		esac
	done
	# all lines: modprobe looks for the file of a module only when it loads it
	sed 's/\.ko\.[a-z]*/.ko/g' "$src/modules.dep" >"$dest/lib/modules/$ver/modules.dep"
	cp "$src/modules.builtin" "$dest/lib/modules/$ver/" 2>/dev/null || true
}

# pack_cpio DIR: newc archive of DIR on stdout; root-owned, sorted, fixed times and inodes
pack_cpio()
{
	find "$1" -exec touch -hd @0 {} + &&
	(cd "$1" && find . -mindepth 1 -print0 | sort -z |
		cpio --quiet -0 -o -H newc -R 0:0 --reproducible)
}
