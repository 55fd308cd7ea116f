# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2154 # rc, G, T, ... come from lib.sh and inside.sh
# The examples in configs/, as they are: what a case adds is a drop-in or an option. They are run
# without privileges, but for that with a device of the host.

# example NAME KERNEL: NAME.conf is here, with a kernel beside it
example()
{
	cp "$TOP/configs/$1.conf" .
	cp "$2" Image
	cp "$TOP/initrd" initrd
}

case_config_minimal()
{
	plain_user
	example minimal "$G/hello.Image"
	rt config check minimal.conf
	[ "$rc" = 0 ] || fail "check: exit code $rc: $(head -n 1 "$T/err")"
	rt run minimal.conf --realm=emulated
	tap_check hello.realm
	grep -q '# args \[console=ttyS0\]' "$T/out" || fail "$(grep '# args' "$T/out")"

	# by its name, from another folder, with a drop-in
	mkdir -p conf/realmtool/minimal.conf.d away
	mv minimal.conf Image initrd conf/realmtool/
	echo 'realm { mode = emulated } boot { params += "more %n" }' >conf/realmtool/minimal.conf.d/a.conf
	XDG_CONFIG_HOME=$PWD/conf
	export XDG_CONFIG_HOME
	cd away || exit 1
	rt run minimal
	tap_check hello.realm
	grep -q '# args \[console=ttyS0 more minimal\]' "$T/out" || fail "$(grep '# args' "$T/out")"
}

# measured once, launched with nothing else
case_config_measured()
{
	plain_user
	example realm-measured "$G/hello.Image"
	rt measure -v realm-measured.conf
	[ "$rc" = 0 ] || fail "measure: $(tail -n 1 "$T/err")"
	cp "$T/out" reference.rim
	mkdir realm-measured.conf.d
	echo 'realm { expect-rim = @../reference.rim }' >realm-measured.conf.d/expect.conf
	rt run realm-measured.conf --realm=emulated
	tap_check hello.realm
	rt run realm-measured.conf --realm=emulated -m 1G
	[ "$rc" = 3 ] || fail "exit code $rc with more memory: $(tail -n 1 "$T/err")"
	echo another >>initrd
	rt measure realm-measured.conf
	[ "$rc" = 3 ] || fail "exit code $rc with another initrd"
	grep -q initrd "$T/err" || fail "it does not say what differs: $(tail -n 1 "$T/err")"
}

case_config_vm()
{
	plain_user
	example vm "$G/hello.Image"
	rt run vm.conf
	tap_check hello.vm
}

case_config_ci()
{
	plain_user
	example ci "$G/hello.Image"
	truncate -s 1M work.img results.img
	rt run ci.conf
	tap_check hello.realm
	grep -q "# realm 1 .* cpus 2 " "$T/out" || fail "$(grep "# realm" "$T/out")"
}

# service KERNEL: passt must not be root
service()
{
	as_user
	outside
	example service "$1"
	pattern 7 4194304 >root.img
	truncate -s 1M data.img
	mkdir service.conf.d
	echo 'boot { params += "quiet rt.test=report" }' >service.conf.d/test.conf
	chmod -R a+rwX .
	rt run "$PWD/service.conf" --realm=emulated
	tunctl -d ext0 >/dev/null
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	[ ! -e agent.sock ] || fail "agent.sock is left"
	no_passt
}

# the payload's words are on the serial port, which is no terminal here
case_config_service()
{
	service "$G/off.Image"
}

case_long_config_service()
{
	service "$KERNEL"
	answers
	want rsi 1.0
	want disk_sha256 "$(sha root.img)"
	grep -q '^done' "$T/rt" || fail "the guest did not come to its end"
}

case_config_uefi()
{
	need_firmware
	plain_user
	cp "$TOP/configs/uefi.conf" .
	cp "$FW" KVMTOOL_EFI.fd
	cp "$TOP/f/uefi.img" system.img
	truncate -s 16M uefi-vars.fd
	bg run uefi.conf
	uefi_shell
	printf 'reset -s\r' >&9
	bg_end
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
}

# all errors at once, each with its place
case_config_errors()
{
	plain_user
	cat >bad.conf <<-'END'
		machine {
			cpsu = 2
		}
		realm { mode = kvn }
		disk "a" { queues = 3 }
	END
	rt config check bad.conf
	[ "$rc" = 1 ] || fail "exit code $rc"
	cat >want <<-'END'
		bad.conf:2: unknown key cpsu: did you mean cpus?
		bad.conf:4: option realm.mode: "kvn" is unknown: did you mean kvm? (one of kvm, emulated)
		bad.conf:5: option disk "a": this section names no file
	END
	cmp -s "$T/err" want || fail "$(diff want "$T/err" | head -n 4)"
	bad '^Fatal: bad.conf:2: .*one of 3 errors' run bad.conf
	# what is not there is told, and is no error
	cat >gone.conf <<-'END'
		boot { kernel = Image }
		disk "a" {
			path = a.img
		}
		vsock { cid = 3
			path = v.sock }
		run { trace = t.json }
	END
	: >Image
	rt config check gone.conf
	[ "$rc" = 0 ] || fail "exit code $rc where a disk is missing"
	echo 'gone.conf:3: warning: disk.path: a.img: No such file or directory' | cmp -s - "$T/err" ||
		fail "$(head -n 3 "$T/err" | tr '\n' '|')"
	grep -qx 'gone.conf: no errors, 1 file is missing' "$T/out" || fail "$(cat "$T/out")"
	: >a.img
	rt config check gone.conf
	[ ! -s "$T/err" ] || fail "$(head -n 1 "$T/err")"
	bad 'no such config file' run none.conf
	bad 'no such config file' run ./none.conf
}

# from a command line to a file, from the file the same guest
case_config_from_args()
{
	plain_user
	rt config from-args -o made.conf -- lkvm run --realm=emulated -c 1 -k "$G/hello.flat" -p 'a "b" %' --rng
	[ "$rc" = 0 ] || fail "exit code $rc: $(tail -n 1 "$T/err")"
	rt measure made.conf
	[ "$rc" = 0 ] || fail "measure: $(tail -n 1 "$T/err")"
	mv "$T/out" one
	BIN=$LKVM
	rt measure --realm=emulated -c 1 -k "$G/hello.flat" -p 'a "b" %' --rng
	cmp -s one "$T/out" || fail "another measurement"
	BIN=$RT
	rt run made.conf
	tap_check hello.realm
	bad 'give another name' config from-args -o made.conf -- -k x
	rt config show --map made.conf
	[ "$rc" = 0 ] || fail "map: exit code $rc: $(tail -n 1 "$T/err")"
	grep -q '^0x080000000 .*RAM, all of it RIPAS RAM' "$T/out" || fail "$(cat "$T/out")"
}

# the host of the vfio cases (38-vfio.sh), the payload of its edu device
case_vfio_config()
{
	in_vfio_bed
	vfio 10.0
	example device "$G/edu.Image"
	mkdir device.conf.d
	echo 'vfio "nic" { device = 0000:00:10.0 }' >device.conf.d/here.conf
	rt run device.conf --realm=emulated
	tap_check edu.realm
}
