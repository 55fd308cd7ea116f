// SPDX-License-Identifier: BSD-3-Clause
/*
 * CFI flash. References: JEDEC JESD68.01 (query structure), Intel StrataFlash P30 data sheet 306666
 * (commands, status register, block locking).
 *
 * Both chips get each command at once and always agree, so one state machine stands for the two:
 * commands are taken from the low byte, answers appear in both halves of the bus. All operations
 * end at once: the status is never busy.
 */
#include "vmm/board/flash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/mmio.h"
#include "vmm/core/path.h"

/*
 * #syscalls main,vcpu,io: fallocate msync
 * #syscalls main,vcpu?flash: pread64 pwrite64
 */

#define CHIPS		2
#define BUS_WIDTH	4		/* bytes: CHIPS * 16 bits */
#define MAX_BLOCKS	(MAP_FLASH_MAX / FLASH_BLOCK_SIZE)

/* The write buffer of one chip: 2^6 bytes, 32 words of 16 bits. */
#define BUFFER_LOG2	6
#define BUFFER_WORDS	32		/* bus words, CHIPS * 64 bytes / BUS_WIDTH */

#define CMD_LOCK_SET		0x01
#define CMD_PROGRAM_ALT		0x10
#define CMD_ERASE		0x20
#define CMD_LOCK_DOWN		0x2f
#define CMD_PROGRAM		0x40
#define CMD_CLEAR_STATUS	0x50
#define CMD_LOCK		0x60
#define CMD_READ_STATUS		0x70
#define CMD_READ_ID		0x90
#define CMD_QUERY		0x98
#define CMD_CONFIRM		0xd0	/* also: unlock */
#define CMD_BUFFER		0xe8
#define CMD_READ_ARRAY		0xff

#define SR_LOCKED	0x02
#define SR_PROGRAM	0x10
#define SR_ERASE	0x20
#define SR_SEQUENCE	(SR_PROGRAM | SR_ERASE)
#define SR_READY	0x80

/* Intel, and the number QEMU's "virt" flash has carried for years: drivers have no quirk for it. */
#define ID_MANUFACTURER	0x89
#define ID_DEVICE	0x18

enum state {
	IDLE,
	LOCK_SETUP,
	ERASE_SETUP,
	PROGRAM_SETUP,
	BUFFER_COUNT,		/* the next write is the number of words - 1 */
	BUFFER_DATA,
	BUFFER_CONFIRM,
};

enum mode {
	MODE_ARRAY,
	MODE_STATUS,
	MODE_ID,
	MODE_QUERY,
};

struct flash {
	struct flash_config cfg;
	pthread_mutex_t lock;
	uint8_t *map;
	uint64_t size;

	enum state state;
	enum mode mode;
	bool mapped;			/* what set_mapped() was told last */
	uint8_t status;
	bool locked[MAX_BLOCKS];

	uint8_t buffer[BUFFER_WORDS * BUS_WIDTH];
	uint64_t buffer_base;		/* offset of its first byte in the array */
	unsigned int buffer_words;	/* announced */
	unsigned int buffer_got;	/* of these */
	struct log_rate rate;
};

/* JESD68.01 section 4: identification, system interface, geometry; then Intel's "PRI" table. */
static uint8_t query(const struct flash *f, uint64_t addr)
{
	static const uint8_t table[] = {
		[0x10] = 'Q', 'R', 'Y',
		[0x13] = 0x01, 0x00,		/* command set: Intel/Sharp extended */
		[0x15] = 0x31, 0x00,		/* where its table is */
		[0x1b] = 0x17, 0x20,		/* Vcc 1.7 to 2.0 V */
		[0x1f] = 0x01,			/* word program: 2^1 us, and no longer */
		[0x20] = 0x01,			/* buffer program: the same */
		[0x21] = 0x01,			/* block erase: 2^1 ms, and no longer */
		[0x28] = 0x01, 0x00,		/* 16-bit chips */
		[0x2a] = BUFFER_LOG2, 0x00,
		[0x2c] = 0x01,			/* one region of equal erase blocks */
		[0x31] = 'P', 'R', 'I', '1', '0',
		[0x36] = 0x20, 0x00, 0x00, 0x00, /* feature: individual block locking */
		[0x3b] = 0x01, 0x00,		/* block status: the lock bit */
		[0x3d] = 0x18, 0x00,		/* best Vcc 1.8 V */
	};
	unsigned int last = f->size / FLASH_BLOCK_SIZE - 1;
	unsigned int unit = FLASH_BLOCK_SIZE / CHIPS / 256;

	switch (addr) {
	case 0x27:		/* bytes per chip, as a power of two */
		return __builtin_ctzll(f->size / CHIPS);
	case 0x2d:
		return last & 0xff;
	case 0x2e:
		return last >> 8;
	case 0x2f:
		return unit & 0xff;
	case 0x30:
		return unit >> 8;
	default:
		return addr < sizeof(table) ? table[addr] : 0;
	}
}

static bool is_locked(const struct flash *f, uint64_t off)
{
	return f->cfg.readonly || f->locked[off / FLASH_BLOCK_SIZE];
}

static uint16_t read_id(const struct flash *f, uint64_t off)
{
	switch (off % FLASH_BLOCK_SIZE / BUS_WIDTH) {
	case 0:
		return ID_MANUFACTURER;
	case 1:
		return ID_DEVICE;
	case 2:
		return is_locked(f, off);
	default:
		return 0;
	}
}

/* What one chip puts on its half of the bus. */
static uint16_t chip_word(const struct flash *f, uint64_t off)
{
	switch (f->mode) {
	case MODE_STATUS:
		return f->status;
	case MODE_ID:
		return read_id(f, off);
	default:
		return query(f, off / BUS_WIDTH);
	}
}

/*
 * Not through the mapping, which is there for the guest: a file that was cut short and a disk that
 * fails are an error of the flash here, and SIGBUS there.
 */
static bool array_io(struct flash *f, uint64_t off, uint8_t *buf, size_t len, bool write)
{
	while (len) {
		ssize_t n = write ? pwrite(f->cfg.fd, buf, len, off) :
				    pread(f->cfg.fd, buf, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log_rated(&f->rate, LOG_WARNING, "flash %s: %s", f->cfg.name,
				  n < 0 ? strerror(errno) : "the file is shorter than it was");
			return false;
		}
		buf += n;
		off += n;
		len -= n;
	}
	return true;
}

static uint64_t flash_read(void *dev, uint64_t off, unsigned int len)
{
	struct flash *f = dev;
	uint8_t byte[8];
	uint64_t val = 0;

	pthread_mutex_lock(&f->lock);
	memset(byte, 0xff, sizeof(byte));
	if (f->mode == MODE_ARRAY)
		array_io(f, off, byte, len, false);
	for (unsigned int i = 0; i < len; i++) {
		if (f->mode != MODE_ARRAY)
			byte[i] = chip_word(f, off + i) >> ((off + i) % 2 * 8);
		val |= (uint64_t)byte[i] << (i * 8);
	}
	pthread_mutex_unlock(&f->lock);
	return val;
}

/* Programming turns ones into zeros; only an erase brings ones back. */
static void program(struct flash *f, uint64_t off, const uint8_t *data, unsigned int len)
{
	uint8_t array[sizeof(f->buffer)];

	if (is_locked(f, off)) {
		f->status |= SR_PROGRAM | SR_LOCKED;
		return;
	}
	if (!array_io(f, off, array, len, false)) {
		f->status |= SR_PROGRAM;
		return;
	}
	for (unsigned int i = 0; i < len; i++)
		array[i] &= data[i];
	if (!array_io(f, off, array, len, true))
		f->status |= SR_PROGRAM;
}

static void erase(struct flash *f, uint64_t off)
{
	uint8_t ones[SZ_4K];

	if (is_locked(f, off)) {
		f->status |= SR_ERASE | SR_LOCKED;
		return;
	}
	memset(ones, 0xff, sizeof(ones));
	off = ALIGN_DOWN(off, FLASH_BLOCK_SIZE);
	for (uint64_t at = off; at < off + FLASH_BLOCK_SIZE; at += sizeof(ones)) {
		if (!array_io(f, at, ones, sizeof(ones), true)) {
			f->status |= SR_ERASE;
			return;
		}
	}
}

static void start_buffer(struct flash *f, uint16_t words_less_one)
{
	if (words_less_one >= BUFFER_WORDS) {
		f->status |= SR_SEQUENCE;
		f->state = IDLE;
		return;
	}
	memset(f->buffer, 0xff, sizeof(f->buffer));
	f->buffer_words = words_less_one + 1;
	f->buffer_got = 0;
	f->state = BUFFER_DATA;
}

static void fill_buffer(struct flash *f, uint64_t off, const uint8_t *data, unsigned int len)
{
	/* The first word tells where the buffer goes. */
	if (!f->buffer_got)
		f->buffer_base = off;
	if (len != BUS_WIDTH || off < f->buffer_base ||
	    off - f->buffer_base >= f->buffer_words * BUS_WIDTH ||
	    off / FLASH_BLOCK_SIZE != f->buffer_base / FLASH_BLOCK_SIZE) {
		f->status |= SR_SEQUENCE;
		f->state = IDLE;
		return;
	}
	memcpy(f->buffer + (off - f->buffer_base), data, len);
	if (++f->buffer_got == f->buffer_words)
		f->state = BUFFER_CONFIRM;
}

static void program_buffer(struct flash *f)
{
	/*
	 * All words went into one block, but not necessarily to different addresses: what was
	 * announced may reach beyond the block, and there the buffer still holds ones.
	 */
	uint64_t room = FLASH_BLOCK_SIZE - f->buffer_base % FLASH_BLOCK_SIZE;

	program(f, f->buffer_base, f->buffer, MIN(f->buffer_words * BUS_WIDTH, room));
}

static void command(struct flash *f, uint8_t cmd)
{
	switch (cmd) {
	case CMD_READ_ARRAY:
		f->mode = MODE_ARRAY;
		return;
	case CMD_READ_ID:
		f->mode = MODE_ID;
		return;
	case CMD_QUERY:
		f->mode = MODE_QUERY;
		return;
	case CMD_CLEAR_STATUS:
		f->status = SR_READY;
		return;
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALT:
		f->state = PROGRAM_SETUP;
		break;
	case CMD_ERASE:
		f->state = ERASE_SETUP;
		break;
	case CMD_LOCK:
		f->state = LOCK_SETUP;
		break;
	case CMD_BUFFER:
		f->state = BUFFER_COUNT;
		break;
	case CMD_READ_STATUS:
		break;
	default:
		/* Unknown: the chips ignore it. 0xf0 resets AMD's chips; Linux's probe sends it. */
		return;
	}
	f->mode = MODE_STATUS;
}

static void lock_command(struct flash *f, uint64_t off, uint8_t cmd)
{
	switch (cmd) {
	case CMD_LOCK_SET:
	case CMD_LOCK_DOWN:
		f->locked[off / FLASH_BLOCK_SIZE] = true;
		break;
	case CMD_CONFIRM:
		f->locked[off / FLASH_BLOCK_SIZE] = false;
		break;
	default:
		f->status |= SR_SEQUENCE;
	}
}

/* One write cycle on the 32-bit bus: 1, 2 or 4 bytes, aligned. */
static void bus_write(struct flash *f, uint64_t off, const uint8_t *data, unsigned int len)
{
	uint8_t cmd = data[0];

	switch (f->state) {
	case IDLE:
		command(f, cmd);
		break;
	case LOCK_SETUP:
		lock_command(f, off, cmd);
		f->state = IDLE;
		break;
	case ERASE_SETUP:
		if (cmd == CMD_CONFIRM)
			erase(f, off);
		else
			f->status |= SR_SEQUENCE;
		f->state = IDLE;
		break;
	case PROGRAM_SETUP:
		program(f, off, data, len);
		f->state = IDLE;
		break;
	case BUFFER_COUNT:
		start_buffer(f, len > 1 ? data[0] | data[1] << 8 : data[0]);
		break;
	case BUFFER_DATA:
		fill_buffer(f, off, data, len);
		break;
	case BUFFER_CONFIRM:
		if (cmd == CMD_CONFIRM)
			program_buffer(f);
		else
			f->status |= SR_SEQUENCE;
		f->state = IDLE;
		break;
	}
}

static void update_mapping(struct flash *f)
{
	bool want = f->mode == MODE_ARRAY;

	if (want == f->mapped)
		return;
	f->mapped = want;
	if (f->cfg.set_mapped)
		f->cfg.set_mapped(f->cfg.ctx, want);
}

static void flash_write(void *dev, uint64_t off, uint64_t val, unsigned int len)
{
	struct flash *f = dev;
	uint8_t data[8];

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = val >> (i * 8);

	pthread_mutex_lock(&f->lock);
	if ((len & (len - 1)) || off % len) {
		/* The bus has no such cycle: whatever was under way fails. */
		if (f->state != IDLE)
			f->status |= SR_SEQUENCE;
		f->state = IDLE;
	} else {
		for (unsigned int i = 0; i < len; i += BUS_WIDTH)
			bus_write(f, off + i, data + i, MIN(len, BUS_WIDTH));
	}
	update_mapping(f);
	pthread_mutex_unlock(&f->lock);
}

static const struct mmio_ops flash_ops = {
	.read = flash_read,
	.write = flash_write,
};

static void power_on(struct flash *f)
{
	f->state = IDLE;
	f->mode = MODE_ARRAY;
	f->status = SR_READY;
	/* Unlocked, as lkvm's: P30 chips power up locked, but not every driver knows. */
	memset(f->locked, 0, sizeof(f->locked));
}

static int check_file(int fd, const char *name, uint64_t *size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_set(e, -errno, "flash %s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "flash %s: not a regular file", name);
	*size = st.st_size;
	if (*size < FLASH_BLOCK_SIZE || *size > MAP_FLASH_MAX || (*size & (*size - 1)))
		return err_set(e, -EINVAL,
			       "flash %s: the size is %" PRIu64 " bytes, but it must be a power of "
			       "two from 64 KiB to 16 MiB: pad it with \"truncate -s SIZE\"",
			       name, *size);
	return 0;
}

int flash_open(const char *path, bool readonly, struct err *e)
{
	/* O_NONBLOCK: a FIFO of that name must not hang us; regular files do not mind. */
	int fd = path_open(path, (readonly ? O_RDONLY : O_RDWR) | O_NONBLOCK, 0);
	uint64_t size;
	int rc;

	if (fd < 0)
		return err_set(e, -errno, "Unable to open flash %s: %s", path, strerror(errno));
	rc = check_file(fd, path, &size, e);
	if (rc)
		goto fail;
	if (flock(fd, (readonly ? LOCK_SH : LOCK_EX) | LOCK_NB) && errno == EWOULDBLOCK) {
		rc = err_set(e, -EBUSY, "flash %s: another process uses it: stop that, or use a "
					"copy", path);
		goto fail;
	}
	/* A mapping cannot report a full disk but by SIGBUS, so the blocks are made now. */
	if (!readonly && fallocate(fd, 0, 0, size) && errno == ENOSPC) {
		rc = err_set(e, -ENOSPC, "flash %s: no space for its %" PRIu64 " bytes", path,
			     size);
		goto fail;
	}
	return fd;
fail:
	close(fd);
	return rc;
}

int flash_new(struct mmio_bus *bus, const struct flash_config *cfg, struct flash **out,
	      struct err *e)
{
	struct flash *f;
	void *map;
	int rc;

	*out = NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(e, -ENOMEM, "flash %s: out of memory", cfg->name);
	f->cfg = *cfg;
	f->mapped = true;
	power_on(f);
	rc = check_file(cfg->fd, cfg->name, &f->size, e);
	if (rc)
		goto free_flash;
	map = mmap(NULL, f->size, PROT_READ | (cfg->readonly ? 0 : PROT_WRITE), MAP_SHARED, cfg->fd,
		   0);
	if (map == MAP_FAILED) {
		rc = err_set(e, -errno, "flash %s: cannot map it: %s", cfg->name, strerror(errno));
		goto free_flash;
	}
	f->map = map;
	pthread_mutex_init(&f->lock, NULL);
	rc = mmio_add(bus, cfg->base, f->size, &flash_ops, f, "flash", e);
	if (rc)
		goto unmap;
	*out = f;
	return 0;
unmap:
	pthread_mutex_destroy(&f->lock);
	munmap(f->map, f->size);
free_flash:
	free(f);
	return rc;
}

void flash_free(struct flash *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	munmap(f->map, f->size);
	free(f);
}

void flash_reset(struct flash *f)
{
	pthread_mutex_lock(&f->lock);
	power_on(f);
	update_mapping(f);
	pthread_mutex_unlock(&f->lock);
}

void *flash_map(const struct flash *f)
{
	return f->map;
}

uint64_t flash_size(const struct flash *f)
{
	return f->size;
}
