# SPDX-License-Identifier: BSD-3-Clause
# QEMU (TCG) with -cpu max,x-rme=on,sme=off, version 8.2 and later, and TF-RMM on its virt machine.
breakpoints = 6
breakpoints-fixed = yes
watchpoints = 4
pmu-counters = 6
sve-vl = 2048
ipa-bits = 52
lpa2 = yes
