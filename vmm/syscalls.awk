# SPDX-License-Identifier: BSD-3-Clause
#
# Collects the #syscalls comments of the sources into a table in C.
#   awk -f syscalls.awk NUMBERS SOURCE...
# NUMBERS has the lines "#define __NR_name ..." of the machine that is built for.
#
# The comment stands beside the code that makes the calls:
#   #syscalls KIND[,KIND][?GROUP[,GROUP]]: CALL...
# KIND is main, vcpu, io, aux or all; main gets what any other has, because threads inherit its
# filter. With GROUPs it holds only for guests that need one of them (enum seccomp_group). CALL is
#   name             with whatever arguments
#   name=A|B         the argument that tells what it does is one of these constants
#   name!A           that argument has none of the bits A
#   name&A           it has all of the bits A
#   name@pid         its first argument is the number of this process
#   name#ENOSYS      is not made, but answered with this error
# What libraries and other machines' C libraries call instead stands there too: a name that this
# machine does not have is left out, if it is one of those that only some machines have.

BEGIN {
	kinds["main"] = "M"; kinds["vcpu"] = "V"; kinds["io"] = "I"; kinds["aux"] = "A"
	kinds["all"] = "M | V | I | A"
	# which argument, from 0
	arg["ioctl"] = arg["fcntl"] = 1
	arg["mmap"] = arg["mprotect"] = arg["madvise"] = 2
	arg["prctl"] = arg["socket"] = arg["socketpair"] = arg["clone"] = arg["seccomp"] = 0
	arg["setsockopt"] = arg["getsockopt"] = 2
	arg["memfd_create"] = 1
	arg["prlimit64"] = 0
	split("open stat lstat newfstatat access poll select epoll_wait epoll_create pipe dup2 " \
	      "readlink unlink rename mkdir rmdir symlink link chmod chown lchown mknod creat " \
	      "eventfd signalfd getdents getpgrp getrlimit renameat", list, " ")
	for (i in list)
		some[list[i]] = 1
}

function fail(text)
{
	printf "%s:%d: #syscalls: %s\n", FILENAME, FNR, text > "/dev/stderr"
	bad = 1
}

# Prints one line of the table.
function rule(who, groups, name, op, where, value, text)
{
	printf "\t{ \"%s\", __NR_%s, %s, %s, %s, %s, %s, %s },\n", name, name, who, groups, op,
		where, value, text
	n++
}

function call(who, groups, text,	name, op, values, v, i, count)
{
	if (!match(text, /[=!&@#]/)) {
		name = text
		op = ""
	} else {
		name = substr(text, 1, RSTART - 1)
		op = substr(text, RSTART, 1)
		values = substr(text, RSTART + 1)
	}
	if (!(name in number)) {
		if (!(name in some))
			fail("\"" name "\" is no system call")
		return
	}
	if (op == "")
		return rule(who, groups, name, "SECCOMP_ANY", 0, 0, "NULL")
	if (op == "#")
		return rule(who, groups, name, "SECCOMP_ERRNO", 0, values, "NULL")
	if (op == "@") {
		if (values != "pid")
			fail("\"" text "\": @pid is all there is")
		return rule(who, groups, name, "SECCOMP_PID", 0, 0, "NULL")
	}
	if (!(name in arg)) {
		fail("\"" text "\": which argument of " name " that is stands nowhere")
		return
	}
	if (op == "!")
		return rule(who, groups, name, "SECCOMP_NONE_OF", arg[name], values, "NULL")
	if (op == "&")
		return rule(who, groups, name, "SECCOMP_ALL_OF", arg[name], values, "NULL")
	count = split(values, v, "|")
	for (i = 1; i <= count; i++)
		rule(who, groups, name, "SECCOMP_EQUAL", arg[name], v[i], "\"" v[i] "\"")
}

/^#define __NR_[a-z_0-9]+ / {
	name = substr($2, 6)
	if (FILENAME == ARGV[1] && name != "syscalls" && name !~ /^arch_specific/) {
		number[name] = 1
		next
	}
}

FILENAME != ARGV[1] && !begun {
	print "/* made by vmm/syscalls.awk */"
	print "static const struct seccomp_rule rules[] = {"
	begun = 1
}

FILENAME != ARGV[1] && /^[ \t]*(\/\*|\*)[ \t]*#syscalls / {
	line = $0
	sub(/.*#syscalls /, "", line)
	sub(/[ \t]*\*\/[ \t]*$/, "", line)
	if (!match(line, /:/)) {
		fail("no colon after the kinds")
		next
	}
	head = substr(line, 1, RSTART - 1)
	count = split(substr(line, RSTART + 1), item, " ")
	groups = "0"
	if (match(head, /\?/)) {
		many = split(substr(head, RSTART + 1), g, ",")
		head = substr(head, 1, RSTART - 1)
		groups = ""
		for (i = 1; i <= many; i++)
			groups = groups (i > 1 ? " | " : "") "SECCOMP_" toupper(g[i])
	}
	who = "M"
	many = split(head, k, ",")
	for (i = 1; i <= many; i++) {
		if (!(k[i] in kinds))
			fail("\"" k[i] "\" is no kind of thread")
		else
			who = who " | " kinds[k[i]]
	}
	for (i = 1; i <= count; i++)
		call(who, groups, item[i])
}

END {
	print "};"
	print "static const struct seccomp_name names[] = {"
	for (name in number)
		printf "\t{ __NR_%s, \"%s\" },\n", name, name
	print "};"
	exit bad || !n
}
