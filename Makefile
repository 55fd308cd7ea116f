# SPDX-License-Identifier: BSD-3-Clause
#
# make                 build for this machine into build/<arch>/
# make ARCH=arm64      cross-build a static arm64 binary
# make run             boot a Debian kernel as a realm in front of you (sets itself up)
# make rehearse        KERNEL= INITRD= DISK= CMDLINE=: an image of yours, for CI (docs/ci.md)
# make test            all tests (sets itself up); make unit: the native ones only
# make fuzz [TARGET=x] [SECONDS=n], make fuzz-cov: fuzzing, and what it covers
# make bench, make check, make install, make deb, make clean
#
# Understood from outside: CC, CROSS_COMPILE, ARCH, LIBFDT_DIR (a built libfdt), CFLAGS, LDFLAGS,
# PREFIX, DESTDIR, STATIC=0|1, WERROR=0|1, V=1.

HOST_ARCH := $(patsubst aarch64,arm64,$(shell uname -m))
ARCH ?= $(HOST_ARCH)
override ARCH := $(patsubst aarch64,arm64,$(ARCH))
VERSION := 0.1.0

# Nothing from the builder's environment may end in the binary but what is named here.
O ?= build/$(ARCH)$(if $(SAN),-$(SAN))
PREFIX ?= /usr/local
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
WERROR ?= 1

ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(SAN)),clang,gcc)
ifeq ($(ARCH),arm64)
ifneq ($(HOST_ARCH),arm64)
CROSS_COMPILE ?= aarch64-linux-gnu-
endif
endif
CC := $(CROSS_COMPILE)$(CC)
endif

# The sanitizers cannot be linked statically.
STATIC ?= $(if $(filter arm64,$(ARCH)),$(if $(SAN),0,1),0)

# The static libraries of another architecture are unpacked, not installed (tests/testbed/deps).
SYSROOT := $(if $(filter-out $(HOST_ARCH),$(ARCH)),$(wildcard build/sysroot/$(ARCH)))
ifneq ($(SYSROOT),)
SYS_CFLAGS := -isystem $(SYSROOT)/usr/include -isystem $(SYSROOT)/usr/include/aarch64-linux-gnu
SYS_LDFLAGS := -L$(SYSROOT)/usr/lib/aarch64-linux-gnu
endif
ifneq ($(LIBFDT_DIR),)
SYS_CFLAGS += -I$(LIBFDT_DIR)
SYS_LDFLAGS += -L$(LIBFDT_DIR)
endif

# The sanitizers take more time to compile than more optimisation gains.
CFLAGS ?= $(if $(SAN),-O1,-O2) -g$(if $(filter fuzz,$(SAN)),line-tables-only)
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wno-unused-parameter -Wno-missing-field-initializers $(if $(filter 1,$(WERROR)),-Werror)
# HARDEN: of what hardens a binary, what this compiler knows (tests/configure.sh)
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -fno-common -ffunction-sections \
	-fdata-sections -pthread $(WARN) $(HARDEN) $(CFLAGS) $(SYS_CFLAGS) $(SAN_FLAGS) \
	-DREALMTOOL_VERSION='"$(VERSION)"'
ALL_LDFLAGS = $(SYS_LDFLAGS) -pthread -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack \
	$(SAN_FLAGS) $(LDFLAGS) $(LINK_AS)

ifeq ($(SAN),asan)
# gcc knows too little of what is printed to warn of its length with -O1
SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
	-Wno-format-truncation
endif
ifeq ($(SAN),tsan)
# it knows no fences, and says so of each: where one matters the accesses on both sides are atomic
SAN_FLAGS := -fsanitize=thread -fno-omit-frame-pointer -Wno-tsan -Wno-format-truncation
endif
ifeq ($(SAN),fuzz)
# for libFuzzer, with the counters that llvm-cov reads
SAN_FLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer -fprofile-instr-generate -fcoverage-mapping
endif

ROOMS := vmm/core realm fdt vmm/board virtio vfio vmm
LIB_SRC := $(filter-out vmm/main.c,$(foreach d,$(ROOMS),$(sort $(wildcard $(d)/*.c))))
LIB_OBJ := $(LIB_SRC:%.c=$(O)/%.o)
LIB := $(O)/librealmtool.a
BIN := $(O)/realmtool

NO_BUILD := clean cbmc check kut fvp rehearse help man run test test-long bench bench-io bench-vfio deb \
	fuzz fuzz-smoke fuzz-cov fuzz-replay
ifneq ($(filter-out $(NO_BUILD),$(or $(MAKECMDGOALS),all)),)
include $(O)/config.mk
endif

.PHONY: all
.DEFAULT_GOAL := all
all: $(BIN) link

# ./realmtool and ./lkvm point at the last build; lkvm is the name old scripts look for.
.PHONY: link
link: $(BIN)
	$(Q)ln -sfn $(BIN) realmtool
	$(Q)ln -sfn $(BIN) lkvm

# Which libraries are there is found by linking, so it holds for every compiler and sysroot.
$(O)/config.mk: tests/configure.sh Makefile
	$(Q)mkdir -p $(O)
	$(Q)CC="$(CC)" CFLAGS="$(SYS_CFLAGS) $(CFLAGS)" \
		LDFLAGS="$(SYS_LDFLAGS) $(LDFLAGS)" STATIC=$(STATIC) SAN=$(SAN) \
		sh tests/configure.sh $@

# Objects are made anew when the flags change, not only when a file does.
FLAGS_NOW = $(CC) $(ALL_CFLAGS) $(HAVE) $(ALL_LDFLAGS) $(LIBS)
$(O)/flags: FORCE
	$(Q)mkdir -p $(O)
	$(Q)printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' > $@
.PHONY: FORCE
FORCE:

$(O)/%.o: %.c $(O)/flags $(O)/config.mk
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC      $<")
	$(Q)$(CC) $(ALL_CFLAGS) $(HAVE) -MMD -MP -c -o $@ $<

# The table of system calls comes from the #syscalls comments of all sources.
SYSCALLS := $(O)/vmm/syscalls_table.h
$(SYSCALLS): vmm/syscalls.awk $(LIB_SRC) $(O)/flags
	@mkdir -p $(@D)
	$(Q)printf '#include <sys/syscall.h>\n' | $(CC) $(SYS_CFLAGS) -E -dM - > $@.numbers
	$(Q)LC_ALL=C awk -f $< $@.numbers $(LIB_SRC) > $@.new || { rm -f $@.new; exit 1; }
	$(Q)cmp -s $@.new $@ && rm -f $@.new && touch $@ || mv $@.new $@
$(O)/vmm/syscalls.o: $(SYSCALLS)
$(O)/vmm/syscalls.o: ALL_CFLAGS += -DSYSCALLS_TABLE='"$(SYSCALLS)"'

# what the assembler includes is not seen by -MMD
$(O)/vmm/profile.o: $(wildcard configs/profiles/*.profile)
$(O)/vmm/cmd_completion.o: $(wildcard completions/*)

$(LIB): $(LIB_OBJ)
	$(if $(Q),@echo "  AR      $@")
	$(Q)rm -f $@ && $(CROSS_COMPILE)ar rcs $@ $^

# From the objects, not from the archive: whoever gives only CC need not have its ar too.
$(BIN): $(O)/vmm/main.o $(LIB_OBJ)
	$(if $(Q),@echo "  LD      $@")
	$(Q)$(CC) -o $@ $^ $(ALL_LDFLAGS) $(LIBS)

-include $(LIB_OBJ:.o=.d) $(O)/vmm/main.d

# ---- native unit tests: one program per file of tests/unit ------------------------------------
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(UNIT_SRC:%.c=$(O)/%)
TEST_SUPPORT := $(patsubst %.c,$(O)/%.o,$(sort $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c)) \
	$(wildcard tests/fakekvm/*.c tests/fakevfio/*.c)))

$(O)/tests/unit/test_%: $(O)/tests/unit/test_%.o $(TEST_SUPPORT) $(LIB)
	$(if $(Q),@echo "  LD      $@")
	$(Q)$(CC) -o $@ $(filter-out %.a,$^) $(LIB) $(ALL_LDFLAGS) $(LIBS) -lcmocka

-include $(UNIT_SRC:%.c=$(O)/%.d) $(TEST_SUPPORT:.o=.d)

# the conformance driver: all devices, transports and rings of virtio, one program
CONFORM_OBJ := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/conformance/*.c)))
CONFORM := $(O)/tests/conformance/conformance

$(CONFORM): $(CONFORM_OBJ) $(LIB)
	$(if $(Q),@echo "  LD      $@")
	$(Q)$(CC) -o $@ $(CONFORM_OBJ) $(LIB) $(ALL_LDFLAGS) $(LIBS) -lcmocka

-include $(CONFORM_OBJ:.o=.d)

# Whole runs on a host whose calls fail: what realmtool's objects call of libc becomes tests/fault's
# own, whose functions shim.o names; nobody else's calls do.
FAULT_OBJ := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/fault/*.c)))
FAULT := $(O)/tests/fault/test_fault

$(O)/tests/fault/libfault.a: $(LIB) $(O)/tests/fault/shim.o
	$(if $(Q),@echo "  OBJCOPY $@")
	$(Q)$(CROSS_COMPILE)nm --defined-only $(O)/tests/fault/shim.o | \
		sed -n 's/.* T shim_\(.*\)/\1 shim_\1/p' >$(@D)/names
	$(Q)$(CROSS_COMPILE)objcopy --redefine-syms=$(@D)/names $< $@

$(FAULT): $(FAULT_OBJ) $(TEST_SUPPORT) $(O)/tests/fault/libfault.a
	$(if $(Q),@echo "  LD      $@")
	$(Q)$(CC) -o $@ $^ $(ALL_LDFLAGS) $(LIBS) -lcmocka

-include $(FAULT_OBJ:.o=.d)

comma := ,
# The models of the tests are no subject of a fuzzer, and are slow with its counters in them.
$(TEST_SUPPORT): private SAN_FLAGS := $(subst fuzzer-no-link$(comma),,$(filter-out -fprofile% -fcoverage%,$(SAN_FLAGS)))

# ---- fuzzing: a target per file fuzz_*.c, see tests/fuzz/run.sh ---------------------------------
# ENGINE=libfuzzer wants SAN=fuzz; ENGINE=standalone replays files, with any compiler and any SAN, and
# is what AFL++ runs.
ENGINE ?= libfuzzer
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(patsubst tests/fuzz/fuzz_%.c,$(O)/tests/fuzz/fuzz_%, \
	$(if $(TARGET),$(TARGET:%=tests/fuzz/fuzz_%.c),$(FUZZ_SRC)))
FUZZ_OBJ := $(O)/tests/fuzz/fuzz.o $(if $(filter standalone,$(ENGINE)),$(O)/tests/fuzz/standalone.o)
FUZZ_SUPPORT := $(patsubst %.c,$(O)/%.o,$(filter-out $(FUZZ_SRC) tests/fuzz/fuzz.c tests/fuzz/standalone.c, \
	$(sort $(wildcard tests/fuzz/*.c))))
TEST_LIB := $(O)/tests/libtests.a

$(TEST_LIB): $(TEST_SUPPORT) $(FUZZ_SUPPORT)
	$(if $(Q),@echo "  AR      $@")
	$(Q)rm -f $@ && $(CROSS_COMPILE)ar rcs $@ $^

$(O)/tests/fuzz/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(FUZZ_OBJ) $(TEST_LIB) $(LIB)
	$(if $(Q),@echo "  LD      $@")
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(TEST_LIB) $(LIB) $(ALL_LDFLAGS) $(LIBS) -lcmocka \
		$(if $(filter libfuzzer,$(ENGINE)),-fsanitize=fuzzer)

-include $(FUZZ_SRC:%.c=$(O)/%.d) $(FUZZ_OBJ:.o=.d) $(FUZZ_SUPPORT:.o=.d)

# fuzz: for SECONDS each, or the one that TARGET names; fuzz-smoke: ten seconds each, in CI;
# fuzz-cov: a minute each, and each file of a target is covered well; fuzz-replay: the seeds and what
# once broke a target, with any compiler
SECONDS := 60
fuzz-smoke: SECONDS := 10
fuzz-cov: FUZZ_LIMIT := --limit 70
.PHONY: fuzz fuzz-smoke fuzz-cov fuzz-replay fuzz-bin
fuzz-bin: $(FUZZ_BIN)
fuzz fuzz-smoke fuzz-cov:
	$(Q)sh tests/fuzz/run.sh --usable
	$(Q)$(MAKE) --no-print-directory SAN=fuzz fuzz-bin
	$(Q)sh tests/fuzz/run.sh --seconds $(SECONDS) $(FUZZ_LIMIT) \
		$(if $(filter command line,$(origin O)),$(O),build/$(ARCH)-fuzz)/tests/fuzz $(TARGET)
fuzz-replay:
	$(Q)$(MAKE) --no-print-directory SAN=asan ENGINE=standalone fuzz-bin
	$(Q)sh tests/fuzz/run.sh --replay \
		$(if $(filter command line,$(origin O)),$(O),build/$(ARCH)-asan)/tests/fuzz $(TARGET)

.SECONDARY:
.PHONY: unit-binaries unit
unit-binaries: $(UNIT_BIN) $(CONFORM) $(FAULT)
unit:
	$(Q)$(MAKE) --no-print-directory SAN=asan unit-binaries
	$(Q)sh tests/unit/run.sh build/$(HOST_ARCH)-asan/tests/unit

.PHONY: run
run:
	$(Q)tests/testbed/deps host build test
	$(Q)MODE='$(MODE)' KERNEL='$(KERNEL)' INITRD='$(INITRD)' CMDLINE='$(subst ','\'',$(CMDLINE))' \
		tests/testbed/demo

# ---- native benchmark of the device engines: no KVM, no sanitizers ------------------------------
VBENCH_OBJ := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/bench/vbench*.c)) tests/unit/vdriver.c)
VBENCH := $(O)/tests/bench/vbench

$(VBENCH): $(VBENCH_OBJ) $(LIB)
	$(if $(Q),@echo "  LD      $@")
	$(Q)$(CC) -o $@ $(VBENCH_OBJ) $(LIB) $(ALL_LDFLAGS) $(LIBS) -lcmocka

-include $(VBENCH_OBJ:.o=.d)

VFIOBENCH := $(O)/tests/bench/vfiobench

$(VFIOBENCH): $(O)/tests/bench/vfiobench.o $(LIB)
	$(if $(Q),@echo "  LD      $@")
	$(Q)$(CC) -o $@ $(O)/tests/bench/vfiobench.o $(LIB) $(ALL_LDFLAGS) $(LIBS)

-include $(O)/tests/bench/vfiobench.d

.PHONY: bench-native
bench-native: $(VBENCH) $(VFIOBENCH)
	$(Q)$(VBENCH)
	$(Q)$(VFIOBENCH)

.PHONY: test test-long bench bench-io bench-vfio
test:
	$(Q)sh tests/run.sh
test-long:
	$(Q)sh tests/run.sh --long
bench:
	$(Q)sh tests/bench/run.sh
	$(Q)$(MAKE) --no-print-directory bench-native >build/bench/native.txt; rc=$$?; \
		cat build/bench/native.txt; exit $$rc
	$(Q)bash tests/bench/io.sh
	$(Q)bash tests/bench/vfio.sh
	$(Q)bash tests/bench/report.sh
bench-io:
	$(Q)bash tests/bench/io.sh
bench-vfio:
	$(Q)bash tests/bench/vfio.sh

# kvm-unit-tests with realmtool as their lkvm; KUT names a checkout (tests/kut.sh says how to build it)
.PHONY: kut
kut:
	$(Q)KUT='$(KUT)' tests/kut.sh $(KUT_ARGS)

# a CCA machine by script: MACHINE=, the files it needs and REALM='...'; docs/ci.md has the exit codes
MACHINE ?= base-revc-rme
.PHONY: fvp rehearse
fvp:
	$(Q)tests/fvp/run --machine '$(MACHINE)' $(foreach f,BL1 FIP FIRMWARE KERNEL DTB INITRD ROOTFS SHARE CMDLINE \
		PREPARE REALMTOOL MODE REALM LOG, \
		$(if $($f),--$(shell echo $f | tr A-Z a-z) '$(subst ','\'',$($f))')) $(FVP_ARGS)

# an image as an emulated realm on the test bed's host
rehearse:
	$(Q)tests/testbed/deps host build test
	$(Q)tests/testbed/rehearse $(foreach f,KERNEL INITRD DTB DISK CMDLINE FOR CPUS MEM MODE TIMEOUT LOG, \
		$(if $($f),--$(shell echo $f | tr A-Z a-z) '$(subst ','\'',$($f))')) $(REHEARSE_ARGS)

# proofs for all values: ring indices, the door to guest memory, the RIPAS map; each finds its bug, too
.PHONY: cbmc
cbmc:
	$(Q)tests/testbed/deps cbmc
	$(Q)tests/cbmc/run.sh
	$(Q)tests/cbmc/run.sh --seeded

.PHONY: check
check:
	$(Q)sh tests/check.sh

# ---- manual pages: their option part comes from the one table of options ------------------------
# The table is compiled for the machine that builds, so this works for every ARCH.
HOSTCC ?= cc
OPTMAN_SRC := man/optman.c vmm/options.c vmm/options_dev.c vmm/config.c vmm/ctl_options.c \
	$(addprefix vmm/cmd_,check.c config.c measure.c token.c) \
	$(addprefix vmm/core/,opt.c parse.c err.c log.c json.c)
MAN := $(wildcard man/*.[17]) $(patsubst man/%.in,build/man/%,$(wildcard man/*.[15].in))

build/man/optman: $(OPTMAN_SRC) $(wildcard vmm/*.h vmm/core/*.h vmm/board/*.h realm/*.h)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu11 -D_GNU_SOURCE -I. -pthread -ffunction-sections -Wl,--gc-sections \
		-o $@ $(OPTMAN_SRC)

build/man/%.1: man/%.1.in build/man/optman
	$(Q)build/man/optman $(patsubst realmtool-%,%,$*) > $@.options
	$(Q)sed -e '/^OPTIONS$$/{r $@.options' -e 'd;}' $< > $@

build/man/%.5: man/%.5.in build/man/optman
	$(Q)build/man/optman keys > $@.keys
	$(Q)sed -e '/^KEYS$$/{r $@.keys' -e 'd;}' $< > $@

.PHONY: man
man: $(MAN)

.PHONY: install
install: all man
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin share/man/man1 share/man/man5 share/man/man7 \
		share/bash-completion/completions share/zsh/site-functions \
		share/fish/vendor_completions.d)
	install -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/realmtool
	ln -sfn realmtool $(DESTDIR)$(PREFIX)/bin/lkvm
	install -m 644 $(filter %.1,$(MAN)) $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(filter %.5,$(MAN)) $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 $(filter %.7,$(MAN)) $(DESTDIR)$(PREFIX)/share/man/man7/
	install -m 644 completions/realmtool.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/realmtool
	ln -sfn realmtool $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lkvm
	install -m 644 completions/realmtool.zsh \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_realmtool
	install -m 644 completions/realmtool.fish \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/
	ln -sfn realmtool.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lkvm.fish
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,lib/systemd/system lib/sysusers.d share/realmtool)
	sed 's,BINDIR,$(PREFIX)/bin,' configs/systemd/realmtool@.service.in \
		>$(DESTDIR)$(PREFIX)/lib/systemd/system/realmtool@.service
	install -m 644 configs/systemd/realmtool.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/realmtool.conf
	install -m 644 configs/systemd/vfio.conf $(DESTDIR)$(PREFIX)/share/realmtool/realmtool-vfio.conf
	install -d $(DESTDIR)$(PREFIX)/share/doc/realmtool/examples
	install -m 644 configs/*.conf $(DESTDIR)$(PREFIX)/share/doc/realmtool/examples/

# ---- Debian packages: arm64, static, and the native tools for another machine -------------------
# Neither root nor debhelper; what is built already is not built again.
DEB_ARCHS := arm64 $(filter-out arm64,$(HOST_ARCH))

.PHONY: deb
deb: man
	$(Q)for a in $(DEB_ARCHS); do \
		$(MAKE) --no-print-directory ARCH=$$a && \
		packaging/mkdeb $(VERSION) $$(echo $$a | sed s/x86_64/amd64/) \
			build/$$a/realmtool build/deb || exit; \
	done

.PHONY: clean
clean:
	rm -rf build/$(ARCH) build/*-asan build/*-tsan build/*-fuzz build/man build/deb \
		build/only-libfdt build/check build/test realmtool lkvm

.PHONY: help
help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n '2,12p'
