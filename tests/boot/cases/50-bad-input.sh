# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# Input that must be refused: one line that names the thing, the reason and the remedy; exit code 128;
# nothing left behind (inside.sh looks for that after each case).

K='-k hello.flat'
here() { cp "$G/hello.flat" .; }

case_bad_kernel_missing()
{
	bad 'Fatal: Unable to open kernel nowhere/Image' run -k nowhere/Image
	bad '[Nn]o kernel' run
	bad 'director' run -k "$G"
	: >empty
	bad 'empty' run -k empty
	bad 'both|exclude' run -k "$G/hello.flat" --firmware "$G/hello.flat"
	bad 'Unable to open firmware nowhere' run --firmware nowhere
}

case_bad_kernel_unreadable()
{
	in_bed
	cp "$G/hello.flat" "$RT" .
	chmod 755 .
	chmod 000 hello.flat
	BIN=su
	bad 'Unable to open kernel .*hello.flat.*[Pp]ermission' user -c "cd $PWD; ./realmtool run -k hello.flat"
}

case_bad_kernel_truncated()
{
	head -c 40 "$KERNEL" >short
	bad 'cut short|not a kernel' run -k short
	head -c 1000000 "$KERNEL" >short
	bad 'cut short' run -k short
	head -c 1000000 "$TOP/f/Image.gz" >short
	bad 'cut short' run -k short
	head -c 1000000 "$TOP/f/Image.gzip" >short
	bad 'cut short' run -k short
}

case_bad_kernel_wrong()
{
	echo 'this is a text' >text
	bad 'not a kernel' run -k text
	bad 'not a kernel' run -k "$RT"
	bad 'not a kernel' run -k "$TOP/initrd"
	gzip -c text >text.gz
	bad 'not a kernel' run -k text.gz
	head -c 100000 /dev/zero >zeros
	bad 'not a kernel' run -k zeros
	bad 'device' run -k /dev/null
}

case_bad_zboot()
{
	cp "$TOP/f/Image.gzip" z
	# the payload's middle
	head -c 4096 /dev/zero | dd of=z bs=4096 seek=1000 conv=notrunc 2>/dev/null
	bad 'damaged|checksum|CRC' run -k z
	if [ -e "$TOP/f/Image.zstd" ]; then
		cp "$TOP/f/Image.zstd" z
		head -c 4096 /dev/zero | dd of=z bs=4096 seek=1000 conv=notrunc 2>/dev/null
		bad 'damaged|checksum' run -k z
	fi
	bad 'lzma' run -k "$TOP/f/hello.lzma"
	# the payload's length beyond the file
	cp "$TOP/f/hello.gzip" z
	printf '\377\377\377\177' | dd of=z bs=1 seek=12 conv=notrunc 2>/dev/null
	bad 'cut short|damaged' run -k z
	cp "$TOP/f/hello.gzip" z
	printf '\377\377\377\377' | dd of=z bs=1 seek=8 conv=notrunc 2>/dev/null
	bad 'cut short|damaged' run -k z
}

case_bad_initrd()
{
	here
	bad 'Unable to open initrd nowhere' run $K -i nowhere
	truncate -s 600M big
	bad 'initrd.*(fit|room)' run $K -m 512 -i big
}

case_bad_dtb()
{
	here
	bad 'nowhere' run $K --dtb nowhere
	head -c 100000 /dev/urandom >big.dtb
	bad 'fit|devicetree' run $K --dtb big.dtb
	head -c 1000 /dev/urandom >junk.dtb
	bad 'devicetree' run $K --dtb junk.dtb
	bad 'nowhere' run $K --dump-dtb nowhere/x.dtb
}

case_bad_ram()
{
	here
	bad '(more|-m|RAM)' run -k "$KERNEL" -m 16
	bad '2 MiB' run $K -m 513 --realm=emulated
	bad '\-m|--mem|memory|RAM' run $K -m 0
	bad 'ipa-bits' run $K -m 5G --realm=emulated --ipa-bits 33
	bad 'IPA' run $K -m 1P
	bad 'IPA' run $K -m 1P --realm=emulated
	bad 'ipa-bits' run $K --ipa-bits 12
	bad 'ipa-bits' run $K --ipa-bits 65
	bad '.' run $K -m 18446744073709551615
	bad '.' run $K -m 99999999999999999999P
	bad '.' run $K -m 512@1
	bad '.' run $K -m 512@0
}

case_bad_disk()
{
	here
	bad 'nowhere.img' run $K -d nowhere.img
	mkdir dir
	bad 'dir' run $K -d dir
	bad 'scsi' run $K -d scsi:1:2
	truncate -s 1M d.img
	bad 'rw' run $K -d d.img,rw
	bad '.' run $K -d ''
	bad '.' run $K -d d.img,ro,
	: >empty.img
	truncate -s 1000 odd.img
	set --
	i=0
	while [ $i -lt 61 ]; do
		set -- "$@" -d d.img,ro
		i=$((i + 1))
	done
	bad 'too many|room' run $K --virtio-transport mmio "$@"
	in_bed
	bad '/dev/null' run $K -d /dev/null
}

case_bad_disk_locked()
{
	here
	truncate -s 1M d.img
	bg run $MACHINE -k "$G/echo.flat" -d d.img
	await ready
	first=$bg
	mv "$T/err" "$T/err-first"
	mv "$T/out" "$T/out-first"
	bad 'd.img.*(lock|use)' run $K -d d.img
	bad 'd.img.*(lock|use)' run $K -d d.img,ro
	# two readers are no harm
	printf q >&9
	bg=$first
	bg_end
	bg run $MACHINE -k "$G/echo.flat" -d d.img,ro
	await ready
	first=$bg
	mv "$T/err" "$T/err-first2"
	mv "$T/out" "$T/out-first2"
	rt run $MACHINE $K -d d.img,ro
	tap_check hello.vm
	bad 'd.img.*(lock|use)' run $K -d d.img
	printf q >&9
	bg=$first
	bg_end
	# the same file twice in one machine
	bad 'd.img.*(lock|use|twice)' run $K -d d.img -d d.img
}

case_bad_kvm_missing()
{
	in_bed
	here
	mv /dev/kvm /dev/kvm-away
	# shellcheck disable=SC2064 # now
	trap 'mv /dev/kvm-away /dev/kvm' EXIT
	bad '/dev/kvm' run $K
	bad '/dev/kvm' run $K --realm=emulated
}

case_bad_kvm_forbidden()
{
	in_bed
	here
	cp "$RT" .
	chmod 755 .
	chmod 600 /dev/kvm
	trap 'chmod 660 /dev/kvm' EXIT
	BIN=su
	bad '/dev/kvm.*[Pp]ermission' user -c "cd $PWD; ./realmtool run -k hello.flat"
}

# as an ordinary user of group kvm it runs
case_user()
{
	in_bed
	here
	cp "$RT" .
	chmod 755 .
	BIN=su
	rt user -c "cd $PWD; ./realmtool run -c 1 -m 64 -k hello.flat"
	tap_check hello.vm
	rt user -c "cd $PWD; ./realmtool run -c 1 -m 64 --realm=emulated -k hello.flat"
	tap_check hello.realm
}

# what this host's KVM lacks
case_bad_capability()
{
	in_bed
	here
	bad 'offers no realms.*check.*--realm=emulated' run $K --realm
	bad 'offers no realms' run $K --realm=kvm
	bad '.' run $K -c 513
	bad '.' run $K --sve-max-vl 2048
}

case_bad_options()
{
	here
	bad 'kernle.*kernel' run --kernle x
	bad 'ralm.*realm' run $K --ralm=emulated
	bad 'rum.*run' rum
	bad 'before the command' --kernel x
	bad 'twice' run $K -m 64 -m 128
	bad 'twice' run $K $K
	bad 'twice' run $K -c 1 --cpus 2
	bad '2x' run $K -c 2x
	bad '.' run $K -c 0
	bad '.' run $K -c -1
	bad '.' run $K -c ''
	bad '.' run $K -c 1000000
	bad '10Q' run $K -m 10Q
	bad '64 *' run $K -m '64 '
	bad '33a' run $K --ipa-bits 33a
	bad '.' run $K -m
	bad 'realm' run $K --realm=foo
	bad 'gicv2' run $K --irqchip gicv2
	bad 'irqchip' run $K --irqchip foo
	bad 'console' run $K --console foo
	bad 'loglevel' run $K --loglevel loud
	bad 'sve-max-vl' run $K --sve-max-vl 100
	bad 'tty' run $K --tty 9
	bad 'gdb' run $K --gdb 0
	bad 'name' run $K --name ../x
	bad 'nowhere' run $K --flash nowhere
	bad 'nowhere' run $K --hugetlbfs nowhere
	bad '.' run $K --emulated-strict
	bad '.' run $K another
	bad '.' run $K --network mode=user
	bad 'too long' run $K -p "$(head -c 3000 /dev/zero | tr '\0' x)"
	bad 'vcpu-affinity' run $K --vcpu-affinity 0-x
}
