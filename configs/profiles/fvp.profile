# SPDX-License-Identifier: BSD-3-Clause
# Arm's Base RevC AEM FVP as TF-RMM's and shrinkwrap's documentation start it.
breakpoints = 16
breakpoints-fixed = yes
watchpoints = 16
pmu-counters = 8
sve-vl = 512
ipa-bits = 52
lpa2 = yes
