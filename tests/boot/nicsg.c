// SPDX-License-Identifier: BSD-3-Clause
/*
 * nicsg NIC: switches scatter/gather off, and with it segmentation offload (ethtool -K NIC sg off).
 * Each frame is one buffer then, from an allocator that lets none cross a page.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>

int main(int argc, char **argv)
{
	struct ethtool_value off = { .cmd = ETHTOOL_SSG };
	struct ifreq ifr = { .ifr_data = (void *)&off };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc != 2 || strlen(argv[1]) >= sizeof(ifr.ifr_name)) {
		fprintf(stderr, "usage: nicsg NIC\n");
		return 2;
	}
	strcpy(ifr.ifr_name, argv[1]);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &ifr) < 0) {
		fprintf(stderr, "nicsg: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	return 0;
}
