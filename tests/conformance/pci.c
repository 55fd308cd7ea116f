// SPDX-License-Identifier: BSD-3-Clause
/*
 * virtio-pci as a driver sees it (section 4.1): ECAM, capabilities, BARs, MSI-X. Every register is
 * found through the capabilities.
 *
 * KVM is played behind struct kvm_sys as far as a PCI device uses it: routes, irqfds, ioeventfds.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/conformance/conf.h"
#include "virtio/pci.h"

#define FUNC		(MAP_ECAM_BASE + (1 << 15))	/* device 1, function 0 */
#define DOORBELL	UINT64_C(0x3ffd0040)
#define VM_FD		1000000		/* no file has this number */
#define MAX_FDS		128
#define MAX_VECTORS	(MAX_QUEUES + 1)
#define CONFIG_VECTOR	0		/* queue n has vector n + 1 */

/* The two fields of virtio 1.2 behind struct virtio_pci_common_cfg (section 4.1.4.3). */
#define COMMON_QUEUE_RESET 0x3a

struct played {
	uint64_t addr;			/* of an ioeventfd */
	uint32_t gsi;			/* of an irqfd */
	int fd;
	bool used;
};

struct vmio {
	struct virtio_pci *pci;
	struct pci_host host;
	struct msi msi;
	struct kvm kvm;
	pthread_mutex_t lock;
	struct kvm_irq_routing *routes;
	struct played irqfd[MAX_FDS], ioeventfd[MAX_FDS];
	uint64_t common, isr, device, notify;	/* addresses, found by setup() */
	uint32_t device_len, multiplier;
	unsigned int msix, vectors, table_bar;
	uint64_t table;
	bool intx;
	_Atomic int level;
	_Atomic unsigned int edges;
};

static struct vm *playing;

/* ---- KVM ---- */

static int set_fd(struct played *p, bool gone, uint64_t addr, uint32_t gsi, int fd)
{
	for (unsigned int i = 0; i < MAX_FDS; i++) {
		if (gone ? !p[i].used || p[i].addr != addr || p[i].gsi != gsi || p[i].fd != fd :
			   p[i].used)
			continue;
		p[i] = (struct played){ addr, gsi, fd, !gone };
		return 0;
	}
	return gone ? -ENOENT : -ENOSPC;
}

static int play_ioctl(int fd, unsigned long req, unsigned long arg)
{
	struct vmio *io = playing->io;
	const struct kvm_irqfd *irq = (const void *)arg;
	const struct kvm_ioeventfd *ev = (const void *)arg;
	const struct kvm_irq_routing *table = (const void *)arg;
	size_t size;
	int ret = -ENOTTY;

	if (fd != VM_FD)
		return -EBADF;
	pthread_mutex_lock(&io->lock);
	switch (req) {
	case KVM_IRQFD:
		ret = set_fd(io->irqfd, irq->flags & KVM_IRQFD_FLAG_DEASSIGN, 0, irq->gsi, irq->fd);
		break;
	case KVM_IOEVENTFD:
		ret = set_fd(io->ioeventfd, ev->flags & KVM_IOEVENTFD_FLAG_DEASSIGN, ev->addr, 0,
			     ev->fd);
		break;
	case KVM_SET_GSI_ROUTING:
		size = sizeof(*table) + table->nr * sizeof(table->entries[0]);
		free(io->routes);
		io->routes = malloc(size);
		if (io->routes)
			memcpy(io->routes, table, size);
		ret = io->routes ? 0 : -ENOMEM;
		break;
	}
	pthread_mutex_unlock(&io->lock);
	return ret;
}

static const struct kvm_sys play = { .ioctl = play_ioctl };

/* Where the kernel knows an address of a guest in a realm. */
static ipa_t kernel_io(const void *ctx, ipa_t ipa)
{
	return vm_addr(ctx, ipa);
}

/* What a vCPU does: KVM takes the write if there is an ioeventfd, else it exits. */
static void poke(struct vm *vm, uint64_t addr, uint64_t val, unsigned int len)
{
	struct vmio *io = vm->io;
	uint64_t one = 1;
	int fd = -1;

	pthread_mutex_lock(&io->lock);
	for (unsigned int i = 0; i < MAX_FDS && len == 2; i++)
		if (io->ioeventfd[i].used && io->ioeventfd[i].addr == vm_addr(vm, addr))
			fd = io->ioeventfd[i].fd;
	if (fd >= 0 && write(fd, &one, sizeof(one)) != sizeof(one))
		abort();
	pthread_mutex_unlock(&io->lock);
	if (fd < 0)
		vm_io(vm, addr, val, len, true);
}

/* Messages that an irqfd with this data has sent since the last look. */
static unsigned int messages(struct vm *vm, uint32_t data)
{
	struct vmio *io = vm->io;
	uint64_t n, sum = 0;

	for (unsigned int i = 0; io->routes && i < io->routes->nr; i++) {
		const struct kvm_irq_routing_entry *r = &io->routes->entries[i];

		if (r->type != KVM_IRQ_ROUTING_MSI || r->u.msi.data != data)
			continue;
		assert_int_equal(r->u.msi.address_lo | (uint64_t)r->u.msi.address_hi << 32,
				 vm_addr(vm, DOORBELL));
		assert_int_equal(r->u.msi.devid, 1 << 3);
		for (unsigned int f = 0; f < MAX_FDS; f++)
			if (io->irqfd[f].used && io->irqfd[f].gsi == r->gsi &&
			    read(io->irqfd[f].fd, &n, sizeof(n)) == sizeof(n))
				sum += n;
	}
	return sum;
}

static void wire(struct irq_line *line, int level)
{
	struct vmio *io = line->ctx;

	atomic_store(&io->level, level);
	if (level)
		atomic_fetch_add(&io->edges, 1);
}

static void attach(struct vm *vm)
{
	struct irq_line line[PCI_NR_DEVICES];
	struct virtio_pci_env env;
	struct vmio *io;
	struct err e;

	playing = vm;
	vm->io = io = calloc(1, sizeof(*io));
	assert_non_null(io);
	pthread_mutex_init(&io->lock, NULL);
	io->kvm = (struct kvm){ .sys = &play, .dev = -1, .vm = VM_FD };
	for (unsigned int i = 0; i < PCI_NR_DEVICES; i++)
		line[i] = (struct irq_line){ .set = wire, .ctx = io, .spi = MAP_PCI_SPI + i };
	assert_int_equal(pci_host_init(&io->host, &vm->bus, line, 1, 0, 0, 0, &e), 0);
	assert_int_equal(msi_init(&io->msi, &io->kvm, kernel_io, vm, &e), 0);
	env = (struct virtio_pci_env){ &io->host, &io->msi, &io->kvm, kernel_io, vm };
	assert_int_equal(virtio_pci_new(vm->dev, &env, &io->pci, &e), 0);
}

static void detach(struct vm *vm)
{
	struct vmio *io = vm->io;

	virtio_pci_free(io->pci);
	pci_host_destroy(&io->host);
	msi_destroy(&io->msi);
	/* Whoever takes a vector takes it away again. */
	for (unsigned int i = 0; i < MAX_FDS; i++)
		assert_false(io->irqfd[i].used);
	pthread_mutex_destroy(&io->lock);
	free(io->routes);
	free(io);
}

/* ---- configuration space ---- */

static uint32_t cfg(struct vm *vm, unsigned int off, unsigned int len)
{
	return vm_io(vm, FUNC + off, 0, len, false);
}

static void cfg_set(struct vm *vm, unsigned int off, unsigned int len, uint32_t val)
{
	vm_io(vm, FUNC + off, val, len, true);
}

static uint64_t bar_base(struct vm *vm, unsigned int bar)
{
	uint32_t low = cfg(vm, PCI_BASE_ADDRESS_0 + 4 * bar, 4);
	uint64_t addr = low & PCI_BASE_ADDRESS_MEM_MASK & UINT32_MAX;

	assert_false(low & PCI_BASE_ADDRESS_SPACE_IO);
	if (low & PCI_BASE_ADDRESS_MEM_TYPE_64)
		addr |= (uint64_t)cfg(vm, PCI_BASE_ADDRESS_0 + 4 * bar + 4, 4) << 32;
	return addr;
}

static void find(struct vm *vm, unsigned int cap)
{
	struct vmio *io = vm->io;
	uint32_t type = cfg(vm, cap + offsetof(struct virtio_pci_cap, cfg_type), 1);
	uint64_t at;

	/* The window in configuration space says what the driver last wrote there. */
	if (type == VIRTIO_PCI_CAP_PCI_CFG)
		return;
	at = bar_base(vm, cfg(vm, cap + offsetof(struct virtio_pci_cap, bar), 1)) +
	     cfg(vm, cap + offsetof(struct virtio_pci_cap, offset), 4);
	switch (type) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		io->common = at;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		io->notify = at;
		io->multiplier = cfg(vm, cap + offsetof(struct virtio_pci_notify_cap,
							notify_off_multiplier), 4);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		io->isr = at;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		io->device = at;
		io->device_len = cfg(vm, cap + offsetof(struct virtio_pci_cap, length), 4);
		break;
	}
}

/* After the device was reset, which takes all vectors away (section 4.1.5.1.2.2). */
static void give_vectors(struct vm *vm)
{
	struct vmio *io = vm->io;

	vm_io(vm, io->common + VIRTIO_PCI_COMMON_MSIX, io->intx ? VIRTIO_MSI_NO_VECTOR :
	      CONFIG_VECTOR, 2, true);
	for (unsigned int q = 0; q < MAX_QUEUES && !io->intx; q++) {
		vm_io(vm, io->common + VIRTIO_PCI_COMMON_Q_SELECT, q, 2, true);
		if (!vm_io(vm, io->common + VIRTIO_PCI_COMMON_Q_SIZE, 0, 2, false))
			break;
		vm_io(vm, io->common + VIRTIO_PCI_COMMON_Q_MSIX, q + 1, 2, true);
		assert_int_equal(vm_io(vm, io->common + VIRTIO_PCI_COMMON_Q_MSIX, 0, 2, false),
				 q + 1);
	}
}

static void setup(struct vm *vm)
{
	struct vmio *io = vm->io;
	unsigned int cap, steps = 0;

	io->intx = false;
	cfg_set(vm, PCI_COMMAND, 2, 0);
	cfg_set(vm, PCI_BASE_ADDRESS_0, 4, MAP_PCI_MEM_BASE);
	for (cap = cfg(vm, PCI_CAPABILITY_LIST, 1); cap;
	     cap = cfg(vm, cap + PCI_CAP_LIST_NEXT, 1)) {
		assert_true(cap >= PCI_STD_HEADER_SIZEOF && cap % 4 == 0 && ++steps < 32);
		if (cfg(vm, cap, 1) == PCI_CAP_ID_VNDR)
			find(vm, cap);
		else if (cfg(vm, cap, 1) == PCI_CAP_ID_MSIX)
			io->msix = cap;
	}
	assert_true(io->common && io->isr && io->notify && io->msix);
	cfg_set(vm, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);

	io->vectors = (cfg(vm, io->msix + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
	io->table_bar = cfg(vm, io->msix + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_BIR;
	io->table = bar_base(vm, io->table_bar) +
		    (cfg(vm, io->msix + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_OFFSET);
	cfg_set(vm, io->msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned int i = 0; i < io->vectors; i++) {
		uint64_t at = io->table + i * PCI_MSIX_ENTRY_SIZE;

		vm_io(vm, at + PCI_MSIX_ENTRY_LOWER_ADDR, DOORBELL, 4, true);
		vm_io(vm, at + PCI_MSIX_ENTRY_UPPER_ADDR, 0, 4, true);
		vm_io(vm, at + PCI_MSIX_ENTRY_DATA, i, 4, true);
		vm_io(vm, at + PCI_MSIX_ENTRY_VECTOR_CTRL, 0, 4, true);
	}
	cfg_set(vm, io->msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	vm_io(vm, io->common + VIRTIO_PCI_COMMON_STATUS, 0, 1, true);
	give_vectors(vm);
}

/* ---- registers ---- */

static uint32_t get(struct vm *vm, unsigned int reg, unsigned int len)
{
	return vm_io(vm, vm->io->common + reg, 0, len, false);
}

static void set(struct vm *vm, unsigned int reg, unsigned int len, uint32_t val)
{
	vm_io(vm, vm->io->common + reg, val, len, true);
}

static void identify(struct vm *vm)
{
	struct vmio *io = vm->io;
	uint32_t size;

	/* Section 4.1.2: a modern device is 0x1040 and its number, of revision 1 or more. */
	assert_int_equal(cfg(vm, PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(cfg(vm, PCI_DEVICE_ID, 2), 0x1040 + vm->kind->id);
	assert_true(cfg(vm, PCI_REVISION_ID, 1) >= 1);
	assert_true(cfg(vm, PCI_SUBSYSTEM_ID, 2) >= 0x40);
	assert_int_equal(cfg(vm, PCI_HEADER_TYPE, 1) & 0x7f, PCI_HEADER_TYPE_NORMAL);
	assert_true(cfg(vm, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	assert_int_equal(cfg(vm, PCI_INTERRUPT_PIN, 1), 1);
	assert_true(io->vectors >= 2);
	assert_true(!vm->kind->config_len || io->device_len >= vm->kind->config_len);
	assert_int_equal(get(vm, VIRTIO_PCI_COMMON_NUMQ, 2), vm->nr_queues);
	/* Alignment of the structures (4.1.4.3 to 4.1.4.6). */
	assert_int_equal((io->common | io->device) & 3, 0);
	assert_true(io->multiplier == 0 || (io->multiplier & 1) == 0);
	/* The size of the BAR shows by the bits that do not change. */
	cfg_set(vm, PCI_COMMAND, 2, 0);
	cfg_set(vm, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	size = -(cfg(vm, PCI_BASE_ADDRESS_0, 4) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK);
	assert_true(size >= PAGE && !(size & (size - 1)));
	setup(vm);
	/* Nobody else is on the bus. */
	assert_int_equal(vm_io(vm, FUNC + (1 << 15), 0, 4, false), UINT32_MAX);
	assert_int_equal(vm_io(vm, FUNC + PCI_CFG_SPACE, 0, 4, false), UINT32_MAX);
	assert_int_equal(vm_io(vm, MAP_ECAM_BASE + (1 << 20), 0, 4, false), UINT32_MAX);
}

static uint32_t features(struct vm *vm, uint32_t word)
{
	set(vm, VIRTIO_PCI_COMMON_DFSELECT, 4, word);
	assert_int_equal(get(vm, VIRTIO_PCI_COMMON_DFSELECT, 4), word);
	return get(vm, VIRTIO_PCI_COMMON_DF, 4);
}

static void accept_features(struct vm *vm, uint32_t word, uint32_t bits)
{
	set(vm, VIRTIO_PCI_COMMON_GFSELECT, 4, word);
	set(vm, VIRTIO_PCI_COMMON_GF, 4, bits);
}

static uint8_t status(struct vm *vm)
{
	return get(vm, VIRTIO_PCI_COMMON_STATUS, 1);
}

static void set_status(struct vm *vm, uint8_t val)
{
	set(vm, VIRTIO_PCI_COMMON_STATUS, 1, val);
	if (!val && !vm->threaded)
		give_vectors(vm);
}

static void sel(struct vm *vm, uint32_t q)
{
	set(vm, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
}

static uint32_t queue_max(struct vm *vm, uint32_t q)
{
	sel(vm, q);
	return get(vm, VIRTIO_PCI_COMMON_Q_SIZE, 2);
}

static void queue_place(struct vm *vm, uint32_t q, uint32_t num, ipa_t desc, ipa_t driver,
			ipa_t device)
{
	sel(vm, q);
	set(vm, VIRTIO_PCI_COMMON_Q_SIZE, 2, num);
	set(vm, VIRTIO_PCI_COMMON_Q_DESCLO, 4, desc);
	set(vm, VIRTIO_PCI_COMMON_Q_DESCHI, 4, desc >> 32);
	set(vm, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, driver);
	set(vm, VIRTIO_PCI_COMMON_Q_AVAILHI, 4, driver >> 32);
	set(vm, VIRTIO_PCI_COMMON_Q_USEDLO, 4, device);
	set(vm, VIRTIO_PCI_COMMON_Q_USEDHI, 4, device >> 32);
}

static void queue_enable(struct vm *vm, uint32_t q)
{
	sel(vm, q);
	set(vm, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static bool queue_enabled(struct vm *vm, uint32_t q)
{
	sel(vm, q);
	return get(vm, VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 1;
}

static void queue_reset(struct vm *vm, uint32_t q)
{
	sel(vm, q);
	set(vm, COMMON_QUEUE_RESET, 2, 1);
	/* Section 4.1.4.3.2: the driver waits until it reads 0. */
	for (int i = 0; i < 1000 && get(vm, COMMON_QUEUE_RESET, 2); i++)
		vm_pump(vm, 1);
}

static void kick(struct vm *vm, uint32_t q)
{
	uint32_t off;

	sel(vm, q);
	off = get(vm, VIRTIO_PCI_COMMON_Q_NOFF, 2);
	/* A queue that is not there has no place: one is made up, behind the last. */
	if (q >= vm->nr_queues)
		off = q;
	poke(vm, vm->io->notify + (uint64_t)off * vm->io->multiplier, q, 2);
}

static uint64_t config(struct vm *vm, uint32_t off, uint64_t val, unsigned int len, bool write)
{
	/* A device without a configuration need not have the capability. */
	if (!vm->io->device)
		return 0;
	return vm_io(vm, vm->io->device + off, val, len, write);
}

static uint32_t generation(struct vm *vm)
{
	return get(vm, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
}

static struct irqs irqs(struct vm *vm)
{
	struct vmio *io = vm->io;
	struct irqs n = { 0 };

	if (io->intx) {
		unsigned int edges = atomic_exchange(&io->edges, 0);
		uint32_t cause = vm_io(vm, io->isr, 0, 1, false);

		assert_int_equal(vm_io(vm, io->isr, 0, 1, false), 0);
		assert_int_equal(atomic_load(&io->level), 0);
		assert_true(!cause || edges);	/* edges from before a reset may be left */
		return (struct irqs){ cause & 1, cause >> 1 & 1 };
	}
	n.config = messages(vm, CONFIG_VECTOR);
	for (unsigned int q = 0; q < vm->nr_queues; q++)
		n.queue += messages(vm, q + 1);
	return n;
}

static void fuzz(struct vm *vm, unsigned int *seed)
{
	static const uint8_t lens[] = { 1, 2, 4, 4, 4, 8 };
	unsigned int len = lens[rand_r(seed) % ARRAY_SIZE(lens)];
	uint64_t val = (uint64_t)rand_r(seed) << 33 ^ rand_r(seed), at;

	if (rand_r(seed) % 2)
		val &= 0xff;
	switch (rand_r(seed) % 8) {
	case 0:
		at = FUNC + rand_r(seed) % 256;
		/* A BAR that moves away ends the game: rarely. */
		if (rand_r(seed) % 8 && at < FUNC + PCI_STD_HEADER_SIZEOF)
			at += PCI_STD_HEADER_SIZEOF;
		break;
	case 1:
		at = vm->io->table + rand_r(seed) % (vm->io->vectors * PCI_MSIX_ENTRY_SIZE);
		break;
	case 2:
		at = vm->io->common + rand_r(seed) % 0x8000;
		break;
	default:
		at = vm->io->common + rand_r(seed) % 0x40;
		break;
	}
	if (rand_r(seed) % 2)
		at &= ~(uint64_t)(len - 1);
	vm_io(vm, at, val, len, rand_r(seed) % 2);
}

const struct transport transport_pci = {
	.name = "pci",
	.attach = attach,
	.detach = detach,
	.setup = setup,
	.identify = identify,
	.features = features,
	.accept = accept_features,
	.status = status,
	.set_status = set_status,
	.queue_max = queue_max,
	.queue_place = queue_place,
	.queue_enable = queue_enable,
	.queue_enabled = queue_enabled,
	.queue_reset = queue_reset,
	.kick = kick,
	.config = config,
	.config_room = 0x200,
	.generation = generation,
	.irqs = irqs,
	.fuzz = fuzz,
};

/* ---- properties of PCI ---- */

static void intx(struct vm *vm)
{
	struct vmio *io = vm->io;
	const struct lane *l = &vm->kind->lane[0];
	uint16_t id;

	cfg_set(vm, io->msix + PCI_MSIX_FLAGS, 2, 0);
	io->intx = true;
	drv_start(vm);
	vm_pump(vm, 0);
	vm->t->irqs(vm);
	for (int i = 0; i < 3; i++) {
		ring_ask_irq(vm, l->q, 0);
		id = ring_add(vm, l->q, &(struct buf){ DATA, l->len, l->in }, 1);
		vm->t->kick(vm, l->q);
		vm_pump(vm, 0);
		drv_poke(vm, l);
		ring_wait(vm, l->q, id);
		vm_pump(vm, 0);
		assert_int_equal(atomic_load(&io->level), 1);
		assert_true(cfg(vm, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
		/* Disabled, the wire falls, and rises again. */
		cfg_set(vm, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
					    PCI_COMMAND_INTX_DISABLE);
		assert_int_equal(atomic_load(&io->level), 0);
		cfg_set(vm, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		assert_int_equal(atomic_load(&io->level), 1);
		assert_true(vm->t->irqs(vm).queue);
	}
	/* A reset of the device takes the wire down, too. */
	ring_ask_irq(vm, l->q, 0);
	id = ring_add(vm, l->q, &(struct buf){ DATA, l->len, l->in }, 1);
	vm->t->kick(vm, l->q);
	drv_poke(vm, l);
	ring_wait(vm, l->q, id);
	vm_pump(vm, 0);
	vm->t->set_status(vm, 0);
	assert_int_equal(atomic_load(&io->level), 0);
	drv_recover(vm);
	vm->t->setup(vm);
	drv_recover(vm);
}

/* Masked it waits, and comes when it is unmasked; without a vector none comes. */
static void masked(struct vm *vm)
{
	struct vmio *io = vm->io;
	const struct lane *l = &vm->kind->lane[0];
	uint64_t ctrl = io->table + (l->q + 1) * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;
	uint64_t pba = bar_base(vm, 0) +
		       (cfg(vm, io->msix + PCI_MSIX_PBA, 4) & PCI_MSIX_PBA_OFFSET);
	uint16_t id;

	for (int i = 0; i < 4; i++) {
		drv_start(vm);
		vm_pump(vm, 0);
		vm->t->irqs(vm);
		if (i == 0)
			vm_io(vm, ctrl, 1, 4, true);
		else if (i == 1)
			cfg_set(vm, io->msix + PCI_MSIX_FLAGS, 2,
				PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
		else if (i == 2)
			cfg_set(vm, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		else
			set(vm, VIRTIO_PCI_COMMON_Q_SELECT, 2, l->q),
			set(vm, VIRTIO_PCI_COMMON_Q_MSIX, 2, VIRTIO_MSI_NO_VECTOR);
		ring_ask_irq(vm, l->q, 0);
		id = ring_add(vm, l->q, &(struct buf){ DATA, l->len, l->in }, 1);
		vm->t->kick(vm, l->q);
		vm_pump(vm, 0);
		drv_poke(vm, l);
		ring_wait(vm, l->q, id);
		vm_pump(vm, 0);
		assert_int_equal(vm->t->irqs(vm).queue, 0);
		assert_int_equal(vm_io(vm, pba, 0, 4, false) >> (l->q + 1) & 1, i < 3);
		vm_io(vm, ctrl, 0, 4, true);
		cfg_set(vm, io->msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
		cfg_set(vm, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		assert_int_equal(vm->t->irqs(vm).queue, i < 3);
	}
	drv_recover(vm);
}

/* Vectors that do not exist read back as none (section 4.1.5.1.2.1). */
static void no_such_vector(struct vm *vm)
{
	static const uint16_t bad[] = { 0x7ff, 0x800, 0x7fff, 0xfffe };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set(vm, VIRTIO_PCI_COMMON_MSIX, 2, bad[i]);
		assert_int_equal(get(vm, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		sel(vm, 0);
		set(vm, VIRTIO_PCI_COMMON_Q_MSIX, 2, bad[i]);
		assert_int_equal(get(vm, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	}
	set(vm, VIRTIO_PCI_COMMON_MSIX, 2, vm->io->vectors);
	assert_int_equal(get(vm, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	sel(vm, vm->nr_queues);
	set(vm, VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	assert_int_equal(get(vm, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	drv_recover(vm);
}

/* The BAR moves while the device runs, and goes away; kicks follow it. */
static void bar_moves(struct vm *vm)
{
	static const uint64_t to[] = {
		MAP_PCI_MEM_BASE + 0x100000, MAP_PCI_MEM_END - 0x8000, MAP_PCI_MEM_BASE + 0x8000,
	};
	struct vmio *io = vm->io;

	drv_start(vm);
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		uint64_t from = bar_base(vm, 0);

		cfg_set(vm, PCI_BASE_ADDRESS_0, 4, to[i]);
		assert_int_equal(bar_base(vm, 0), to[i]);
		assert_int_equal(get(vm, VIRTIO_PCI_COMMON_STATUS, 1), 0xff);
		io->common += to[i] - from;
		io->isr += to[i] - from;
		io->device += to[i] - from;
		io->notify += to[i] - from;
		io->table += to[i] - from;
		drv_good(vm);
	}
	cfg_set(vm, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_int_equal(vm_io(vm, io->common, 0, 4, false), UINT32_MAX);
	assert_int_equal(vm_io(vm, io->common, 0, 8, false), UINT64_MAX);
	kick(vm, 0);
	vm_pump(vm, 0);
	cfg_set(vm, PCI_BASE_ADDRESS_0, 4, 0xffff8000);		/* outside of the window */
	cfg_set(vm, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	vm->t->setup(vm);
	drv_recover(vm);
}

/* The registers through configuration space alone (section 4.1.4.9). */
static void window(struct vm *vm)
{
	unsigned int cap, data;

	for (cap = cfg(vm, PCI_CAPABILITY_LIST, 1); cap; cap = cfg(vm, cap + PCI_CAP_LIST_NEXT, 1))
		if (cfg(vm, cap, 1) == PCI_CAP_ID_VNDR &&
		    cfg(vm, cap + offsetof(struct virtio_pci_cap, cfg_type), 1) ==
		    VIRTIO_PCI_CAP_PCI_CFG)
			break;
	assert_int_not_equal(cap, 0);
	data = cap + sizeof(struct virtio_pci_cap);
	cfg_set(vm, cap + offsetof(struct virtio_pci_cap, bar), 1, 0);
	cfg_set(vm, cap + offsetof(struct virtio_pci_cap, offset), 4,
		vm->io->common - bar_base(vm, 0) + VIRTIO_PCI_COMMON_STATUS);
	cfg_set(vm, cap + offsetof(struct virtio_pci_cap, length), 4, 1);
	cfg_set(vm, data, 1, S_ACK);
	assert_int_equal(status(vm), S_ACK);
	set_status(vm, S_ACK | S_DRIVER);
	assert_int_equal(cfg(vm, data, 1), S_ACK | S_DRIVER);
	/* Bad ones: a BAR that is not there, beyond the end, odd lengths and places. */
	for (unsigned int i = 0; i < 2000; i++) {
		cfg_set(vm, cap + offsetof(struct virtio_pci_cap, bar), 1,
			i % 3 ? 0 : vm_random(vm));
		cfg_set(vm, cap + offsetof(struct virtio_pci_cap, offset), 4,
			i % 2 ? vm_random(vm) : vm_random(vm) % 0x10000);
		cfg_set(vm, cap + offsetof(struct virtio_pci_cap, length), 4,
			i % 5 ? 1u << i % 3 : vm_random(vm));
		cfg(vm, data, 1 << i % 3);
		if (i % 7 == 0) {
			vm_allow(vm, RAM, RAM_SIZE);
			cfg_set(vm, data, 1 << i % 3, vm_random(vm) & 0xff);
		}
	}
	vm->t->setup(vm);
	drv_recover(vm);
}

const struct property props_pci[] = {
	{ "pci_intx", intx, ANY & ~ON_MMIO },
	{ "pci_msix_masked", masked, ANY & ~ON_MMIO },
	{ "pci_msix_no_such_vector", no_such_vector, ANY & ~ON_MMIO },
	{ "pci_bar_moves", bar_moves, ANY & ~ON_MMIO },
	{ "pci_config_window", window, ANY & ~ON_MMIO },
	{ NULL },
};
