# SPDX-License-Identifier: BSD-3-Clause
# Makes the report of the benchmarks from raw.txt: lines GROUP.WHO.KEY=VALUE, one for each run.

{
	eq = index($0, "=")
	key = substr($0, 1, eq - 1)
	val = substr($0, eq + 1)
	if (key ~ /^env\./)
		env[substr(key, 5)] = val
	else
		sample[key, n[key]++] = val
	if (key ~ /^exits\.[a-z]*\.exits_/) {
		sub(/^exits\.[a-z]*\.exits_/, "", key)
		if (!(key in known)) {
			known[key] = 1
			reason[nr_reasons++] = key
		}
	}
}

# sorts the samples of a key, once
function sorted(key,    i, j, t)
{
	if (key in done)
		return
	done[key] = 1
	for (i = 1; i < n[key]; i++)
		for (j = i; j > 0 && sample[key, j] + 0 < sample[key, j - 1] + 0; j--) {
			t = sample[key, j]
			sample[key, j] = sample[key, j - 1]
			sample[key, j - 1] = t
		}
}

function median(key,    h)
{
	sorted(key)
	h = int(n[key] / 2)
	return n[key] % 2 ? sample[key, h] : (sample[key, h - 1] + sample[key, h]) / 2
}

function ratio(a, b)
{
	return n[a] && n[b] && median(b) ? sprintf("%.2f", median(a) / median(b)) : "-"
}

# table(TITLE, GROUP, KEY, DIVISOR, FORMAT): a row for each that was measured
function table(title, group, key, div, fmt,    i, k, f)
{
	f = "  %-26s" fmt fmt fmt "%10s%10s%6d\n"
	printf "\n%s\n", title
	gsub(/\.[0-9]+f/, "s", fmt)
	printf "  %-26s" fmt fmt fmt "%10s%10s%6s\n", "", "median", "min", "max", "/ QEMU", "/ plain", "runs"
	for (i = 1; i <= nr_who; i++) {
		k = group "." who[i] "." key
		if (group "." who[i] ".failed" in n)
			printf "  %-26s failed\n", label[who[i]]
		else if (n[k])
			printf f, label[who[i]], median(k) / div, sample[k, 0] / div, sample[k, n[k] - 1] / div,
				ratio(k, group ".qemu." key), ratio(k, group ".plain." key), n[k]
	}
}

END {
	nr_who = split("exec plain realm qemu lkvm", who, " ")
	label["exec"] = "empty exec (/bin/true)"
	label["plain"] = "realmtool, plain VM"
	label["realm"] = "realmtool, emulated realm"
	label["qemu"] = "QEMU, plain VM"
	label["lkvm"] = "lkvm, plain VM"

	printf "realmtool benchmarks, %s\n\n", env["date"]
	printf "machine    %s; load before %s, after %s\n", env["machine"], env["load_before"], env["load_after"]
	if (env["bed"] != "none")
		printf "test bed   %s\n", env["bed"]
	printf "KVM host   Linux %s, CPU implementer/part %s, %s CPUs\n", env["l1_kernel"], env["l1_cpu"], env["l1_cpus"]
	printf "guest      the same kernel (%.1f MiB), 1 vCPU\n", env["image_bytes"] / 1048576
	printf "realmtool  %s (%s)\n", env["realmtool"], env["commit"]
	printf "QEMU       %s: -M virt,gic-version=3 -accel kvm -cpu host -nodefaults\n", env["qemu"]
	split(env["load_before"], l, " ")
	if (l[1] > 0.5)
		print "\nThe machine was not idle: compare minima rather than medians."

	table("1. A payload that powers off at once (128 MiB, a UART): start to exit, ms (target: 35)", \
		"off", "wall_us", 1000, "%10.1f")
	table("   The same: CPU time, ms", "off", "cpu_us", 1000, "%10.1f")
	if (env["traced"]) {
		table("2. Linux (512 MiB): start to the first entry of the guest, ms", \
			"entry", "entry_us", 1000, "%10.1f")
		table("   The same: CPU time, ms", "entry", "cpu_us", 1000, "%10.1f")
		table("   Bytes that system calls copied in until then; 1.00: kernel and initrd once", \
			"entry", "read_bytes", env["loaded_bytes"], "%10.2f")
		table("   Peak of resident memory until then, guest RAM included; 1.00: kernel and initrd once", \
			"entry", "peak_kib", env["loaded_bytes"] / 1024, "%10.2f")
	} else {
		print "\n2. and 5. not measured: they need KVM's events in /sys/kernel/tracing (root)"
	}
	table("3. Linux (512 MiB, quiet, a UART): start to the guest's init, ms", \
		"linux", "init_us", 1000, "%10.0f")
	table("   The same: start to exit (init powers off at once), ms", "linux", "wall_us", 1000, "%10.0f")
	table("4. Resident memory outside guest RAM, Linux up (UART, one virtio-blk disk), KiB (target: 1536)", \
		"rss", "rss_kib", 1, "%10.0f")
	table("   Of it private to the process, KiB", "rss", "rss_private_kib", 1, "%10.0f")

	if (!env["traced"])
		exit
	printf "\n5. Exits to user space from start to exit (UART, one virtio-blk disk), 1 run\n  %-26s", ""
	for (w = 2; w <= nr_who; w++)
		if (n["exits." who[w] ".wall_us"])
			printf "%10s", who[w]
	printf "\n"
	for (i = 0; i < nr_reasons; i++) {
		printf "  %-26s", reason[i]
		for (w = 2; w <= nr_who; w++)
			if (n["exits." who[w] ".wall_us"])
				printf "%10d", sample["exits." who[w] ".exits_" reason[i], 0]
		printf "\n"
	}
	printf "  %-26s", "(page faults of stage 2)"
	for (w = 2; w <= nr_who; w++)
		if (n["exits." who[w] ".wall_us"])
			printf "%10d", sample["exits." who[w] ".faults", 0]
	printf "\n"
	if (n["exits.realm.rsi-calls"])
		printf "  The realm made %d RSI calls; %d conversions to shared (%d KiB), %d to private (%d KiB)\n", \
			sample["exits.realm.rsi-calls", 0], \
			sample["exits.realm.to-shared", 0], sample["exits.realm.to-shared-kib", 0], \
			sample["exits.realm.to-private", 0], sample["exits.realm.to-private-kib", 0]
}
