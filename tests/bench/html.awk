# SPDX-License-Identifier: BSD-3-Clause
# Makes the page of report.sh: -v folder=FOLDER. Runs in any POSIX awk.

function esc(s)
{
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	gsub(/>/, "\\&gt;", s)
	gsub(/"/, "\\&quot;", s)
	return s
}

# load(FILE, GROUP): lines KEY=VALUE, several of a key are samples
function load(file, group,    line, eq, k, nr)
{
	nr = 0
	while ((getline line < file) > 0) {
		eq = index(line, "=")
		if (!eq)
			continue
		k = group "/" substr(line, 1, eq - 1)
		sample[k, n[k]++] = substr(line, eq + 1)
		nr++
		if (k ~ /^main\/exits\.[a-z]*\.exits_/) {
			sub(/.*\.exits_/, "", k)
			if (!(k in known)) {
				known[k] = 1
				reason[++nr_reasons] = k
			}
		}
	}
	close(file)
	return nr
}

function has(k)
{
	return (k in n) && n[k] > 0
}

function first(k)
{
	return has(k) ? sample[k, 0] : ""
}

function sort(k,    i, j, t)
{
	for (i = 1; i < n[k]; i++)
		for (j = i; j > 0 && sample[k, j] + 0 < sample[k, j - 1] + 0; j--) {
			t = sample[k, j]
			sample[k, j] = sample[k, j - 1]
			sample[k, j - 1] = t
		}
}

function median(k,    h)
{
	h = int(n[k] / 2)
	return n[k] % 2 ? sample[k, h] : (sample[k, h - 1] + sample[k, h]) / 2
}

# four figures of which the last may be rounded, without an exponent
function figure(x)
{
	if (x >= 100 || x <= -100 || x == int(x))
		return sprintf("%d", x + 0.5)
	return sprintf(x >= 10 ? "%.1f" : x >= 1 ? "%.2f" : "%.3f", x)
}

# A step of the axis: 1, 2 or 5 times a power of ten, about five of them up to @max.
function tick(max,    p, m)
{
	p = 10 ^ int(log(max / 5) / log(10) - (max < 5 ? 1 : 0))
	m = max / 5 / p
	return p * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10)
}

function axis(max, height,    s, x, t)
{
	t = tick(max)
	for (s = 0; s <= max * 1.0001; s += t) {
		x = LEFT + s / max * WIDE
		printf "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>", x, TOP, x, height - 18
		printf "<text class=\"tick\" x=\"%.1f\" y=\"%d\">%s</text>\n", x, height - 4, figure(s)
	}
}

function begin_plot(title, unit, height)
{
	printf "<figure><figcaption>%s <span class=\"unit\">%s</span></figcaption>\n", esc(title), esc(unit)
	printf "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", LEFT + WIDE + RIGHT, height, \
		esc(title)
}

function label(y, text)
{
	printf "<text class=\"who\" x=\"%d\" y=\"%.1f\">%s</text>", LEFT - 8, y + 4, esc(text)
}

# dots(TITLE, UNIT, GROUP, KEY, DIVISOR, TARGET): each run a dot, the median a bar across
function dots(title, unit, group, key, div, target,    i, j, k, rows, max, y, x, m, height)
{
	rows = 0
	max = target
	for (i = 1; i <= nr_vmm; i++) {
		k = "main/" group "." vmm[i] "." key
		if (!has(k))
			continue
		sort(k)
		rows++
		if (sample[k, n[k] - 1] / div > max)
			max = sample[k, n[k] - 1] / div
	}
	if (!rows || max <= 0)
		return
	max *= 1.02
	height = TOP + rows * ROW + 22
	begin_plot(title, unit ", median beside it", height)
	axis(max, height)
	if (target) {
		x = LEFT + target / max * WIDE
		printf "<line class=\"target\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"><title>target: %s</title></line>\n", \
			x, TOP, x, height - 18, figure(target)
	}
	y = TOP + ROW / 2
	for (i = 1; i <= nr_vmm; i++) {
		k = "main/" group "." vmm[i] "." key
		if (!has(k))
			continue
		label(y, name[vmm[i]])
		for (j = 0; j < n[k]; j++)
			printf "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"><title>%s</title></circle>", \
				vmm[i], LEFT + sample[k, j] / div / max * WIDE, y, figure(sample[k, j] / div)
		m = median(k) / div
		x = LEFT + m / max * WIDE
		printf "<line class=\"median\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", x, y - 8, x, y + 8
		printf "<text class=\"value\" x=\"%d\" y=\"%.1f\">%s</text>\n", LEFT + WIDE + 8, y + 4, figure(m)
		y += ROW
	}
	print "</svg></figure>"
}

# bar_add(LABEL, CLASS, VALUE), then bars(TITLE, UNIT)
function bar_add(text, class, value)
{
	bar_text[++nr_bars] = text
	bar_class[nr_bars] = class
	bar_value[nr_bars] = value + 0		# not as text
}

function bars(title, unit,    i, max, y, height, rows)
{
	max = 0
	rows = nr_bars
	nr_bars = 0
	for (i = 1; i <= rows; i++)
		if (bar_value[i] > max)
			max = bar_value[i]
	if (!rows || max <= 0)
		return
	height = TOP + rows * BAR + 22
	begin_plot(title, unit, height)
	axis(max, height)
	y = TOP + BAR / 2
	for (i = 1; i <= rows; i++) {
		label(y, bar_text[i])
		printf "<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"2\"><title>%s: %s</title></rect>", \
			bar_class[i], LEFT, y - BAR / 2 + 3, bar_value[i] / max * WIDE, BAR - 6, esc(bar_text[i]), \
			figure(bar_value[i])
		printf "<text class=\"value\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", LEFT + WIDE + 8, y + 4, \
			figure(bar_value[i])
		y += BAR
	}
	print "</svg></figure>"
}

# what a device of realmtool or QEMU is coloured as
function colour(w)
{
	return w ~ /^qemu/ ? "qemu" : w ~ /^realm/ ? "realm" : w ~ /^host/ ? "exec" : "plain"
}

function device(group, job, title, key, unit, div,    i, k)
{
	for (i = 1; i <= nr_who; i++) {
		k = "io/" group "." who[i] "." job "." key
		if (has(k))
			bar_add(who[i], colour(who[i]), first(k) / div)
	}
	bars(title, unit)
}

function text(file, title,    line, any)
{
	any = 0
	while ((getline line < file) > 0) {
		if (!any++)
			printf "<details><summary>%s</summary><pre>\n", esc(title)
		print esc(line)
	}
	close(file)
	if (any)
		print "</pre></details>"
}

function section(title)
{
	printf "<h2>%s</h2>\n", esc(title)
}

function fact(what, value)
{
	if (value != "")
		printf "<tr><th>%s</th><td>%s</td></tr>\n", esc(what), esc(value)
}

function head()
{
	print "<!DOCTYPE html>"
	print "<html lang=\"en\"><head><meta charset=\"utf-8\">"
	print "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
	print "<title>realmtool benchmarks</title><style>"
	print ":root { color-scheme: light dark; --bg: #fff; --fg: #1b1f24; --soft: #5b6570; --grid: #dfe3e8;"
	print "  --plain: #1f6fb5; --realm: #c4581a; --qemu: #7a828b; --lkvm: #2c8a57; --exec: #a9b0b8; }"
	print "@media (prefers-color-scheme: dark) { :root { --bg: #14171b; --fg: #e6e9ed; --soft: #9aa4af;"
	print "  --grid: #2d333a; --plain: #5aa6e6; --realm: #ee8c4f; --qemu: #98a1ab; --lkvm: #5cc48c; --exec: #6b747e; } }"
	print "body { background: var(--bg); color: var(--fg); font: 15px/1.5 system-ui, sans-serif; margin: 2em auto;"
	print "  max-width: 60em; padding: 0 1em; }"
	print "h1 { font-size: 1.6em; margin-bottom: .2em } h2 { font-size: 1.2em; margin: 2em 0 .4em }"
	print "table { border-collapse: collapse } th { text-align: left; font-weight: normal; color: var(--soft);"
	print "  padding-right: 1.5em; vertical-align: top; white-space: nowrap }"
	print "figure { margin: 1.2em 0 } figcaption { font-weight: 600 } .unit { font-weight: normal; color: var(--soft) }"
	print "svg { width: 100%; height: auto; display: block } svg text { fill: var(--fg); font: 12px system-ui, sans-serif }"
	print ".who { text-anchor: end } text.tick { text-anchor: middle; fill: var(--soft); font-size: 11px }"
	print ".value { font-variant-numeric: tabular-nums } .grid { stroke: var(--grid) }"
	print ".median { stroke: var(--fg); stroke-width: 2 } .target { stroke: var(--soft); stroke-dasharray: 4 3 }"
	print "circle { fill-opacity: .55 }"
	split("plain realm qemu lkvm exec", c, " ")
	for (i = 1; i <= 5; i++)
		printf ".%s { fill: var(--%s) }\n", c[i], c[i]
	print "pre { overflow-x: auto; font-size: 12px; line-height: 1.4 } summary { cursor: pointer; color: var(--soft) }"
	print ".note { color: var(--soft) }"
	print "</style></head><body>"
}

function main_part(    i, j, k, l)
{
	section("Launch, boot and memory")
	split(first("main/env.load_before"), l, " ")
	if (l[1] > 0.5)
		print "<p class=\"note\">The machine was not idle: compare the leftmost dots rather than medians.</p>"
	dots("A payload that powers off at once: start to exit", "ms", "off", "wall_us", 1000, 35)
	dots("The same: CPU time", "ms", "off", "cpu_us", 1000, 0)
	dots("Linux: start to the first entry of the guest", "ms", "entry", "entry_us", 1000, 0)
	dots("Linux: start to the guest's init", "ms", "linux", "init_us", 1000, 0)
	dots("Resident memory outside guest RAM, Linux up", "KiB", "rss", "rss_kib", 1, 1536)
	for (i = 1; i <= nr_reasons; i++)
		for (j = 1; j <= nr_vmm; j++) {
			k = "main/exits." vmm[j] ".exits_" reason[i]
			if (has(k))
				bar_add(reason[i] ", " vmm[j], vmm[j], first(k))
		}
	bars("Exits to user space from start to exit", "one boot of Linux")
}

function io_part(    i, j, job, title)
{
	section("Disk and network")
	nr_who = split("qemu plain plain-mmio plain-packed realm realm-mmio qemu-vhost plain-vhost realm-vhost", who, " ")
	j = split("randread-1 randwrite-1 randread-32 randwrite-32 read-128k write-128k", job, " ")
	split("4 KiB read, depth 1|4 KiB written, depth 1|4 KiB read, depth 32|4 KiB written, depth 32|" \
	      "128 KiB read|128 KiB written", title, "|")
	for (i = 1; i <= j; i++)
		device("blk", job[i], "Disk: " title[i], "iops", "requests per second", 1)
	device("net", "up", "Network: guest to host", "got", "Mbit/s", 1000)
	device("net", "down", "Network: host to guest", "got", "Mbit/s", 1000)
	device("net", "rr", "Network: request and answer", "got", "us, less is better", 1000)
}

function vfio_part(    i, j, w, a, b, job, side, k)
{
	section("Assigned devices")
	a = split("read-1 write-1 read-16 write-16", job, " ")
	b = split("host plain realm", side, " ")
	for (i = 1; i <= a; i++)
		for (j = 1; j <= b; j++) {
			k = "vfio/" side[j] "." job[i]
			if (has(k))
				bar_add(job[i] ", " side[j], colour(side[j]), first(k))
		}
	bars("NVMe, 4 KiB", "requests per second")
	a = split("first_share first_take one_share one_take many_share many_take", job, " ")
	b = split("none iommufd group static", side, " ")
	for (i = 1; i <= a; i++)
		for (j = 1; j <= b; j++) {
			k = "vfio/" side[j] "." job[i]
			w = job[i] ", " (side[j] == "none" ? "no device" : side[j])
			if (has(k))
				bar_add(w, side[j] == "none" ? "exec" : "realm", first(k) / 1000)
		}
	bars("A realm converts 64 MiB", "ms, less is better")
}

# Lines of vbench: NAME... FIGURE/s ...; a plot for each first word.
function native_part(    line, i, f, family, last, what)
{
	last = ""
	while ((getline line < (folder "/bench/native.txt")) > 0) {
		f = split(line, what, " ")
		for (i = 2; i <= f && what[i] !~ /^[0-9.]+\/s$/; i++)
			;
		if (i > f)
			continue
		family = what[1]
		if (last == "")
			section("Device engines, without KVM")
		else if (family != last)
			bars(last, "requests per second")
		last = family
		sub(/ +[0-9.]+\/s.*/, "", line)
		sub(/^[^ ]+ +/, "", line)
		sub(/\/s$/, "", what[i])
		bar_add(line, "plain", what[i] + 0)
	}
	close(folder "/bench/native.txt")
	if (last != "")
		bars(last, "requests per second")
}

BEGIN {
	LEFT = 190
	WIDE = 540
	RIGHT = 70
	TOP = 6
	ROW = 26
	BAR = 20
	nr_vmm = split("exec plain realm qemu lkvm", vmm, " ")
	name["exec"] = "empty exec (/bin/true)"
	name["plain"] = "realmtool, plain VM"
	name["realm"] = "realmtool, emulated realm"
	name["qemu"] = "QEMU, plain VM"
	name["lkvm"] = "lkvm, plain VM"
	have_main = load(folder "/bench/raw.txt", "main")
	have_io = load(folder "/bench-io/raw.txt", "io")
	have_vfio = load(folder "/bench-vfio/raw.txt", "vfio")

	head()
	print "<h1>realmtool benchmarks</h1>"
	print "<table>"
	fact("date", first("main/env.date"))
	fact("machine", first("main/env.machine"))
	fact("load before, after", has("main/env.load_before") ? first("main/env.load_before") ", " \
		first("main/env.load_after") : "")
	fact("test bed", first("main/env.bed") == "none" ? "" : first("main/env.bed"))
	fact("KVM host", has("main/env.l1_kernel") ? "Linux " first("main/env.l1_kernel") ", " \
		first("main/env.l1_cpus") " CPUs" : "")
	fact("realmtool", has("main/env.realmtool") ? first("main/env.realmtool") " (" \
		first("main/env.commit") ")" : "")
	fact("QEMU", first("main/env.qemu"))
	print "</table>"
	if (have_main)
		main_part()
	if (have_io)
		io_part()
	if (have_vfio)
		vfio_part()
	native_part()
	section("As text")
	text(folder "/bench/report.txt", "Launch, boot, memory and measurement")
	text(folder "/bench/native.txt", "Device engines")
	text(folder "/bench-io/report.txt", "Disk and network")
	text(folder "/bench-vfio/report.txt", "Assigned devices")
	print "</body></html>"
}
