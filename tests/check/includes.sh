#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Checks that includes point downwards (ARCHITECTURE.md, "Rooms") and never in a loop. Run in the
# top folder; prints what is wrong, exit code 1 if there is something.

set -u

sources()
{
	find vmm realm fdt virtio vfio -name '*.[ch]' -print | LC_ALL=C sort
}

# A room may include itself and the rooms named here, all of which lie below it. Devices know the
# ground floor only, and their PCI transport the bus, so they can be tested without a realm.
# shellcheck disable=SC2016 # the $ are awk's
sources | xargs awk '
	BEGIN {
		below["vmm/core"] = ""
		below["realm"] = "vmm/core"
		below["vmm/board"] = "vmm/core"
		below["fdt"] = "vmm/board vmm/core"
		below["virtio"] = "vmm/board vmm/core"
		below["vfio"] = "vmm/board realm vmm/core"
		below["vmm"] = "virtio vfio fdt vmm/board realm vmm/core"
	}
	function room(path)
	{
		sub(/\/[^\/]*$/, "", path)
		return path
	}
	/^[ \t]*#[ \t]*include[ \t]*"/ {
		split($0, part, "\"")
		to = part[2]
		a = room(FILENAME)
		b = room(to)
		at = FILENAME ":" FNR ": "
		if (!(a in below)) {
			print at "the folder " a " is no room: say in this check what it may include"
			bad = 1
		} else if (!(b in below)) {
			print at "\"" to "\" does not name its room"
			bad = 1
		} else if (a != b && index(" " below[a] " ", " " b " ") == 0) {
			print at a "/ must not include " b "/"
			bad = 1
		}
	}
	END { exit bad }' || bad=1

# tsort knows a loop when it sees one
# shellcheck disable=SC2016
loop=$(sources | xargs awk '
	/^[ \t]*#[ \t]*include[ \t]*"/ { split($0, part, "\""); print FILENAME, part[2] }' |
	tsort 2>&1 >/dev/null) || {
	echo "files that include each other:"
	printf '%s\n' "$loop"
	bad=1
}
exit "${bad:-0}"
