#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The contract with shrinkwrap: its component "kvmtool" is built by a few fixed calls of make, and
# its artifact is kvmtool/lkvm. The same calls, in a copy of the sources, in folders like its own.
#
#   tests/shrinkwrap.sh [DIR]     DIR gets the lkvm that was built, as DIR/realmtool
#
# With SHRINKWRAP=DIR, a checkout of shrinkwrap, that merges configs/shrinkwrap/realmtool.yaml.
# Last line: "N passed, N failed[, N skipped]".

set -uo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/testbed/lib.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH O SAN V CC CROSS_COMPILE CFLAGS LDFLAGS LIBFDT_DIR WERROR STATIC

that()
{
	local name=$1
	shift
	if "$@" >"$tmp/out" 2>&1; then
		passed=$((passed + 1))
		echo "ok - $name"
	else
		failed=$((failed + 1))
		echo "not ok - $name"
		tail -n 30 "$tmp/out" | sed 's/^/# /'
	fi
}

skip()
{
	skipped=$((skipped + 1))
	echo "ok - $1 # SKIP $2"
}

# ---- the build ----------------------------------------------------------------------------------

src=$tmp/source/cca-3world/kvmtool

# The copy has no build folder: no libraries unpacked for this project, and no config.mk of another
sources()
{
	mkdir -p "$src/kvmtool" "$src/dtc/libfdt" &&
		(cd "$TOP" && tar -c --exclude=./build --exclude=./.git --exclude=./realmtool --exclude=./lkvm .) |
			tar -x -C "$src/kvmtool"
}

# what "make -C dtc libfdt" leaves; Debian's arm64 library in its place
libfdt()
{
	local root=$BUILD/sysroot/arm64/usr lib
	[ "$(host_arch)" != arm64 ] || root=/usr
	lib=$root/lib/aarch64-linux-gnu/libfdt.a
	[ -e "$lib" ] || { echo "no $lib: tests/testbed/deps sysroot"; return 1; }
	cp "$root"/include/fdt.h "$root"/include/libfdt.h "$root"/include/libfdt_env.h "$lib" \
		"$src/dtc/libfdt/"
}

cross=aarch64-linux-gnu-
[ "$(host_arch)" != arm64 ] || cross=

# In a shell of its own, as shrinkwrap's script of the component: it exports CROSS_COMPILE, for the
# "toolchain" of the component, then runs the lines of "build".
build()
{
	cat >"$tmp/build.sh" <<-END
		set -e
		cd $src
		export CROSS_COMPILE=$cross
		export CC=\${CROSS_COMPILE}gcc
		export ARCH=arm64
		export LIBFDT_DIR=$src/dtc/libfdt
		make -j$(nproc) -C kvmtool
	END
	bash "$tmp/build.sh"
}

# "artifacts: LKVM": copied as a file, its name kept
artifact()
{
	mkdir -p "$tmp/package/cca-3world" &&
		cp "$src/kvmtool/lkvm" "$tmp/package/cca-3world/lkvm" &&
		[ -f "$tmp/package/cca-3world/lkvm" ] && [ ! -L "$tmp/package/cca-3world/lkvm" ]
}

# an arm64 program that needs no library of the root file system it is put into
static_arm64()
{
	local machine
	# e_machine, at 18, is 183 (AArch64)
	machine=$(od -An -tu2 -j18 -N2 "$tmp/package/cca-3world/lkvm" | tr -d ' ')
	[ "$machine" = 183 ] || { echo "e_machine is $machine"; return 1; }
	# no PT_INTERP: the name of the loader would be in the first page
	! head -c 4096 "$tmp/package/cca-3world/lkvm" | grep -qa 'ld-linux'
}

libfdt_alone()
{
	! grep HAVE_ "$src/kvmtool/build/arm64/config.mk"
}

# A second call, as after a change of another component
again()
{
	[ -z "$(bash "$tmp/build.sh" 2>&1 | grep -E '^  (CC|LD)')" ]
}

that "the sources, without anything built" sources
that "a libfdt in a folder of its own" libfdt
that "CC, ARCH=arm64, LIBFDT_DIR, make" build
that "kvmtool/lkvm is there to be copied" artifact
that "it is a static arm64 program" static_arm64
that "of all libraries, libfdt alone is in it" libfdt_alone
that "a second call builds nothing" again
if [ "$(uname -m)" = aarch64 ]; then
	that "it runs" "$tmp/package/cca-3world/lkvm" --version
elif command -v qemu-aarch64 >/dev/null; then
	that "it runs" qemu-aarch64 "$tmp/package/cca-3world/lkvm" --version
else
	skip "it runs" "no qemu-aarch64 here"
fi
if [ -n "${1:-}" ] && [ -e "$tmp/package/cca-3world/lkvm" ]; then
	mkdir -p "$1" && cp "$tmp/package/cca-3world/lkvm" "$1/realmtool"
fi

# ---- the overlay --------------------------------------------------------------------------------

overlay=$TOP/configs/shrinkwrap/realmtool.yaml

# CPAN::Meta::YAML comes with perl; it knows the plain YAML that this is. It takes no %YAML line.
yaml()
{
	sed '/^%YAML/d; /^---$/d' "$overlay" | perl -MCPAN::Meta::YAML -e '
		my $y = CPAN::Meta::YAML->read_string(join "", <STDIN>)->[0];
		my $r = $y->{build}{kvmtool}{repo}{kvmtool};
		$r->{remote} eq "\${btvar:REALMTOOL_REMOTE}" or die "remote";
		$r->{revision} eq "\${btvar:REALMTOOL_REVISION}" or die "revision";
		exists $y->{buildex}{btvars}{$_} or die $_ for qw(REALMTOOL_REMOTE REALMTOOL_REVISION);
		join(",", sort keys %$y) eq "build,buildex,description" or die "more than the overlay needs"'
}

# shrinkwrap ARG...: of the checkout, with its own configs
shrinkwrap()
{
	local s
	for s in "$SHRINKWRAP/shrinkwrap/shrinkwrap" "$SHRINKWRAP/bin/shrinkwrap"; do
		[ ! -x "$s" ] || { "$s" "$@"; return; }
	done
	PYTHONPATH=$SHRINKWRAP/src python3 -m shrinkwrap "$@"
}

# merged ACTION OPTION...: the component kvmtool of cca-3world with the overlay
merged()
{
	local action=$1
	shift
	shrinkwrap --runtime null process --action "$action" --overlay "$overlay" "$@" cca-3world.yaml |
		awk '/^build:/ { on = 1; next } /^[a-z]/ { on = 0 } on && /^  [a-z]/ { part = $1 } on && part == "kvmtool:"'
}

merges()
{
	merged merge >"$tmp/merged" || return
	cat "$tmp/merged"
	grep -qF "remote: $1" "$tmp/merged" && grep -qF "revision: $2" "$tmp/merged" &&
		! grep -q 'remote:.*kvmtool' "$tmp/merged"
}

# what this test does is what shrinkwrap does
same_contract()
{
	local line
	for line in 'export CC=$${CROSS_COMPILE}gcc' 'export ARCH=arm64' \
		'export LIBFDT_DIR=${param:sourcedir}/dtc/libfdt' 'make -j${param:jobs} -C kvmtool' \
		'${param:sourcedir}/kvmtool/lkvm'; do
		grep -qF -- "$line" "$tmp/merged" || { echo "shrinkwrap has no more: $line"; return 1; }
	done
}

resolves()
{
	merged resolveb --btvar REALMTOOL_REMOTE=https://example.org/r.git >"$tmp/resolved" || return
	cat "$tmp/resolved"
	grep -qF 'remote: https://example.org/r.git' "$tmp/resolved" && grep -qF 'revision: main' "$tmp/resolved"
}

that "the overlay says what it should" yaml
if [ -z "${SHRINKWRAP:-}" ]; then
	skip "shrinkwrap merges it" "SHRINKWRAP= names no checkout"
elif ! shrinkwrap --version >"$tmp/out" 2>&1; then
	that "the shrinkwrap in $SHRINKWRAP runs" false
else
	if shrinkwrap process --help 2>&1 | grep -q -e --btvar; then
		that "shrinkwrap merges it" merges '${btvar:REALMTOOL_REMOTE}' '${btvar:REALMTOOL_REVISION}'
		that "shrinkwrap resolves its variables" resolves
	else
		# one of the first: as the README of the overlay says
		sed '/^buildex:/,/^$/d; s,\${btvar:REALMTOOL_REMOTE},https://example.org/r.git,
			s,\${btvar:REALMTOOL_REVISION},main,' "$overlay" >"$tmp/realmtool.yaml"
		overlay=$tmp/realmtool.yaml
		that "shrinkwrap merges it" merges https://example.org/r.git main
		skip "shrinkwrap resolves its variables" "this one has none yet"
	fi
	that "the calls of make are those of this test" same_contract
fi

[ $skipped = 0 ] && echo "$passed passed, $failed failed" ||
	echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
