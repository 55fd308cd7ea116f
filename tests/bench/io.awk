# SPDX-License-Identifier: BSD-3-Clause
# Makes the report of the I/O benchmarks from raw.txt: lines GROUP.WHO.NAME.KEY=VALUE.

{
	eq = index($0, "=")
	v[substr($0, 1, eq - 1)] = substr($0, eq + 1)
}

function has(k)
{
	return k in v
}

# a figure, or a dash
function fig(fmt, wide, ok, x)
{
	return sprintf("%" wide "s", ok ? sprintf(fmt, x) : "-")
}

function ratio(a, b)
{
	return fig("%.2f", 9, has(a) && has(b) && v[b] > 0, v[a] / (v[b] > 0 ? v[b] : 1))
}

# Requests of a job: what fio moved, or how many of that size there were.
function ios(k)
{
	return k ~ /128k/ ? v[k ".kib"] / 128 : v[k ".kib"] / 4
}

function job(name,    i, k, c, n, m)
{
	printf "\n%-14s %9s %9s %9s %9s %9s %9s %9s %9s\n", name, "IOPS", "/ QEMU", "CPU s/M", "/ QEMU", \
		"exits", "mmio exit", "user exit", "syscalls"
	for (i = 1; i <= nr; i++) {
		k = "blk." who[i] "." name
		c = "blk." who[i] ".count-" name
		if (!has(k ".iops")) {
			if (has("blk." who[i] ".failed"))
				printf "  %-12s failed\n", who[i]
			continue
		}
		n = ios(k)
		m = ios(c)
		v[k ".cpu"] = n ? v[k ".cpu_us"] / n : 0
		printf "  %-12s %9d %s %s %s %s %s %s %s\n", who[i], v[k ".iops"], \
			ratio(k ".iops", "blk.qemu." name ".iops"), fig("%.1f", 9, n, v[k ".cpu"]), \
			ratio(k ".cpu", "blk.qemu." name ".cpu"), \
			fig("%.2f", 9, n, (v[k ".exits"] - v[k ".wfi"]) / (n ? n : 1)), \
			fig("%.3f", 9, n, v[k ".mmio_user"] / (n ? n : 1)), \
			fig("%.3f", 9, m, v[c ".uexits"] / (m ? m : 1)), \
			fig("%.3f", 9, m, v[c ".syscalls"] / (m ? m : 1))
	}
}

function net(name, title, unit, div,    i, k, c, peer, gb)
{
	printf "\n%-14s %9s %9s %9s %9s %9s %9s %9s\n", title, unit, "/ QEMU", "CPU %", "/ QEMU", "exits/s", \
		"user ex/s", "syscall/s"
	for (i = 1; i <= nr; i++) {
		k = "net." who[i] "." name
		c = "net." who[i] ".count-" name
		if (!has(k ".got")) {
			if (has("net." who[i] ".failed"))
				printf "  %-12s failed\n", who[i]
			continue
		}
		peer = "net." (who[i] ~ /vhost/ ? "qemu-vhost" : "qemu") "." name
		v[k ".cpu"] = 100 * v[k ".cpu_us"] / v[k ".us"]
		if (!((peer ".cpu") in v) && has(peer ".us"))
			v[peer ".cpu"] = 100 * v[peer ".cpu_us"] / v[peer ".us"]
		printf "  %-12s %9.1f %s %9.1f %s %9d %9d %9d\n", who[i], v[k ".got"] / div, \
			ratio(k ".got", peer ".got"), v[k ".cpu"], ratio(k ".cpu", peer ".cpu"), \
			(v[k ".exits"] - v[k ".wfi"]) * 1e6 / v[k ".us"], \
			v[c ".uexits"] * 1e6 / v[k ".us"], v[c ".syscalls"] * 1e6 / v[k ".us"]
	}
}

END {
	nr = split("qemu plain plain-mmio plain-packed realm realm-mmio qemu-vhost plain-vhost realm-vhost", \
		   who, " ")
	printf "\nDisk and network beside QEMU %s (virtio-blk-pci with an iothread and io_uring on the same RAM disk,\n", \
		v["env.qemu"]
	print "O_DIRECT; virtio-net-pci on a tap). realmtool: virtio-pci, -mmio and -packed where it says so."
	print "CPU s/M: seconds of the VMM's CPU time, without the guest's own, per million requests. exits: of KVM per"
	print "request, WFI apart; mmio exit: those to user space for MMIO; user exit: to user space for any reason."
	job("randread-1")
	job("randwrite-1")
	job("randread-32")
	job("randwrite-32")
	job("read-128k")
	job("write-128k")
	net("up", "guest to host", "Mbit/s", 1000)
	net("down", "host to guest", "Mbit/s", 1000)
	net("rr", "round trip", "us", 1000)
}
