// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a kernel file may be
 *
 *   Image      64-byte header with "ARM\x64" at 56 (Linux: Documentation/arch/arm64/booting.rst)
 *   Image.gz   a gzip stream with an Image in it
 *   zboot      a PE file with "zimg" at 4: the kernel's own EFI decompressor in front of a
 *              compressed Image (Linux: drivers/firmware/efi/libstub/zboot-header.S)
 *   flat       bare code without a header, entered at its first byte, 0x80000 above the RAM base
 *              (that is what lkvm does with a file whose magic it does not know; kvm-unit-tests'
 *              .flat files are such files)
 *
 * A flat file has nothing to be recognised by, so all that is known to be something else is
 * refused by name, and its first word must be an A64 instruction.
 *
 * Where things go (part of a realm's measurement; equal to lkvm wherever lkvm boots at all)
 *
 *   kernel     RAM base + text_offset
 *   devicetree 2 MiB below the end of RAM or of its first 256 MiB, 2 MiB aligned
 *   initrd     just below the devicetree, its start on a page
 *   firmware   RAM base or --firmware-address; the devicetree is then on the first multiple of
 *              2 MiB behind it
 *
 * Where this leaves no room (tiny RAM, an initrd of hundreds of MiB) lkvm gives up. Here the
 * devicetree moves to the last 64 KiB of RAM and the initrd is again just below it.
 */
#include "vmm/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdt/dt.h"
#include "vmm/board/memmap.h"
#include "vmm/core/err.h"
#include "vmm/core/log.h"
#include "vmm/core/path.h"
#include "vmm/core/trace.h"
#include "vmm/unzip.h"

/* #syscalls main,vcpu,aux: read pread64 memfd_create */

#define HEAD_SIZE	0x9000		/* as far as the magic of an ISO 9660 image */
#define FLAT_OFFSET	0x80000ULL	/* also of kernels before 3.17: image_size is 0 */
#define PIPE_MAX	SZ_1G		/* read from a pipe, where the end is not known before */
#define KERNEL_WINDOW	(32 * SZ_1G)	/* booting.rst: kernel and initrd in one such window */

#define MIB(n)		(((n) + SZ_1M - 1) / SZ_1M)

/* The arm64 Image header, little-endian, by byte offset. */
enum {
	IMG_TEXT_OFFSET = 8,
	IMG_SIZE = 16,
	IMG_FLAGS = 24,
	IMG_MAGIC = 56,
	IMG_PE_OFFSET = 60,
	IMG_HEADER = 64,
};
#define IMG_FLAG_BE	1

/* The zboot header, little-endian, by byte offset. */
enum {
	ZBOOT_MAGIC = 4,
	ZBOOT_OFFSET = 8,
	ZBOOT_SIZE = 12,
	ZBOOT_TYPE = 24,
	ZBOOT_TYPE_END = 56,
	ZBOOT_HEADER = 64,
};

static uint16_t get16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* ---- opening ---------------------------------------------------------------------------------*/

/*
 * A pipe can be read only once, but a reboot reads all files again, and a plan reads them at any
 * offset: its content is kept in a memfd that takes the place of the descriptor.
 */
static int keep_pipe(int *fd, const char *what, const char *path, struct err *e)
{
	uint64_t total = 0;
	char buf[SZ_64K];
	int mem, ret;

	mem = memfd_create(what, MFD_CLOEXEC);
	if (mem < 0)
		return err_set(e, -errno, "%s %s: memory for a pipe: %s", what, path,
			       strerror(errno));
	for (;;) {
		ssize_t n = read(*fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			ret = err_set(e, -errno, "%s %s cannot be read: %s", what, path,
				      strerror(errno));
			goto fail;
		}
		if (n == 0)
			break;
		total += n;
		if (total > PIPE_MAX) {
			ret = err_set(e, -EFBIG,
				      "%s %s: more than %" PRIu64 " MiB from a pipe: put it in "
				      "a file",
				      what, path, PIPE_MAX / SZ_1M);
			goto fail;
		}
		for (ssize_t done = 0; done < n;) {
			ssize_t w = write(mem, buf + done, n - done);

			if (w < 0 && errno == EINTR)
				continue;
			if (w <= 0) {
				ret = err_set(e, w ? -errno : -EIO, "%s %s: no memory for it: %s",
					      what, path, strerror(w ? errno : EIO));
				goto fail;
			}
			done += w;
		}
	}
	close(*fd);
	*fd = mem;
	return 0;

fail:
	close(mem);
	return ret;
}

static int open_one(int *fd, const char *what, const char *option, const char *path,
		    struct err *e)
{
	struct stat st;
	int ret;

	if (!path)
		return 0;
	*fd = path_open(path, O_RDONLY | O_NOCTTY, 0);
	if (*fd < 0)
		return err_set(e, -errno, "Unable to open %s %s: %s: check what %s names", what,
			       path, strerror(errno), option);
	if (fstat(*fd, &st) < 0)
		return err_set(e, -errno, "Unable to open %s %s: %s", what, path, strerror(errno));
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		if (st.st_size == 0)	/* files of proc and sysfs have no size, but content */
			break;
		return 0;
	case S_IFIFO:
	case S_IFSOCK:
		break;
	case S_IFDIR:
		return err_set(e, -EISDIR, "Unable to open %s %s: it is a directory: give a file",
			       what, path);
	default:
		return err_set(e, -EINVAL, "Unable to open %s %s: it is a device: give a file",
			       what, path);
	}
	ret = keep_pipe(fd, what, path, e);
	if (ret < 0)
		return ret;
	if (fstat(*fd, &st) < 0 || st.st_size == 0)
		return err_set(e, -EINVAL, "%s %s is empty", what, path);
	return 0;
}

int loader_open(struct loader_files *f, struct err *e)
{
	int ret;

	f->kernel = f->initrd = f->firmware = f->dtb = -1;
	if (f->kernel_path && f->firmware_path)
		return err_set(e, -EINVAL, "--kernel and --firmware were both given: the firmware "
			       "loads its kernel by itself; give only one of them");
	if (!f->kernel_path && !f->firmware_path)
		return err_set(e, -EINVAL, "No kernel: give one with --kernel FILE, or a firmware "
			       "with --firmware FILE");
	if (f->firmware_path && f->initrd_path)
		log_warning("Ignoring initrd file when loading a firmware image");

	ret = open_one(&f->kernel, "kernel", "--kernel", f->kernel_path, e);
	if (!ret)
		ret = open_one(&f->firmware, "firmware", "--firmware", f->firmware_path, e);
	if (!ret && !f->firmware_path)
		ret = open_one(&f->initrd, "initrd", "--initrd", f->initrd_path, e);
	if (!ret)
		ret = open_one(&f->dtb, "devicetree", "--dtb", f->dtb_path, e);
	if (ret)
		loader_close(f);
	return ret;
}

void loader_close(struct loader_files *f)
{
	int *fd[] = { &f->kernel, &f->initrd, &f->firmware, &f->dtb };

	for (size_t i = 0; i < ARRAY_SIZE(fd); i++) {
		if (*fd[i] >= 0)
			close(*fd[i]);
		*fd[i] = -1;
	}
}

/* A piece that is a whole file; its place is decided later. */
static int whole_file(struct plan_piece *c, const char *name, int fd, const char *path,
		      struct err *e)
{
	struct stat st;

	*c = (struct plan_piece){ .fd = fd, .path = path, .measured = true };
	strcpy(c->name, name);
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s %s: %s", name, path, strerror(errno));
	if (st.st_size <= 0)
		return err_set(e, -EINVAL, "%s %s is empty", name, path);
	c->len = st.st_size;
	if (c->len > INT64_MAX - SZ_1G)
		return err_set(e, -EFBIG, "%s %s is too large", name, path);
	c->span = ALIGN_UP(c->len, GRANULE_SIZE);
	return 0;
}

/* ---- recognising -----------------------------------------------------------------------------*/

static const struct magic {
	uint16_t off;
	uint8_t len;
	const char *bytes;
	const char *what;
} not_a_kernel[] = {
	{ 0, 4, "\x7f" "ELF", "an ELF file (give arch/arm64/boot/Image instead of vmlinux)" },
	{ 0x202, 4, "HdrS", "an x86 kernel (bzImage)" },
	{ 0x24, 4, "\x18\x28\x6f\x01", "a 32-bit Arm kernel (zImage)" },
	{ 56, 4, "RSC\x05", "a RISC-V kernel" },
	{ 0, 2, "MZ", "a PE file, but not an arm64 kernel" },
	{ 0, 2, "#!", "a script" },
	{ 0, 5, "07070", "a cpio archive (an initrd? give it with -i)" },
	{ 0, 2, "\xc7\x71", "a cpio archive (an initrd? give it with -i)" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "compressed with zstd: decompress it first" },
	{ 0, 6, "\xfd" "7zXZ\0", "compressed with xz: decompress it first" },
	{ 0, 3, "BZh", "compressed with bzip2: decompress it first" },
	{ 0, 4, "\x04\x22\x4d\x18", "compressed with lz4: decompress it first" },
	{ 0, 4, "\x02\x21\x4c\x18", "compressed with lz4: decompress it first" },
	{ 0, 4, "\x5d\0\0\0", "compressed with lzma: decompress it first" },
	{ 0, 5, "\x89LZO\0", "compressed with lzop: decompress it first" },
	{ 0, 4, "\xd0\x0d\xfe\xed", "a devicetree or FIT image" },
	{ 0, 4, "\x27\x05\x19\x56", "a U-Boot image: give the Image inside" },
	{ 0, 8, "ANDROID!", "an Android boot image: give the Image inside" },
	{ 0, 4, "PK\x03\x04", "a zip archive" },
	{ 0, 8, "!<arch>\n", "an ar archive" },
	{ 257, 5, "ustar", "a tar archive" },
	{ 0, 4, "\xcf\xfa\xed\xfe", "a Mach-O file" },
	{ 0, 4, "QFI\xfb", "a disk image (give it with -d)" },
	{ 0, 4, "hsqs", "a squashfs file system (give it with -d)" },
	{ 512, 8, "EFI PART", "a disk image (give it with -d)" },
	{ 0x438, 2, "\x53\xef", "an ext file system (give it with -d)" },
	{ 0x8001, 5, "CD001", "a CD image (give it with -d)" },
};

static const char *known_magic(const uint8_t *head, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(not_a_kernel); i++) {
		const struct magic *m = &not_a_kernel[i];

		/* At 0x438 of a flat payload two bytes prove little: ext also has s_state there. */
		if (m->off == 0x438 && (n < 0x43c || get16(head + 0x43a) > 7))
			continue;
		if (n >= (size_t)m->off + m->len && !memcmp(head + m->off, m->bytes, m->len))
			return m->what;
	}
	return NULL;
}

static bool is_text(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] == 0x7f || (p[i] < 0x20 && !strchr("\t\n\r\f\v\b\x1b", p[i])) || !p[i])
			return false;
	return true;
}

/* Top-level A64 encodings, Arm ARM C4.1: these values of op0 are reserved or unallocated. */
static bool is_a64(uint32_t insn)
{
	unsigned int op0 = (insn >> 25) & 0xf;

	return op0 != 0 && op0 != 1 && op0 != 3;
}

static int check_flat(const struct plan_piece *c, const uint8_t *head, size_t n, struct err *e)
{
	const char *what = known_magic(head, n);

	if (what)
		return err_set(e, -ENOEXEC, "kernel %s is not a kernel for arm64: it is %s",
			       c->path, what);
	if (is_text(head, n))
		return err_set(e, -ENOEXEC,
			       "kernel %s is not a kernel for arm64: it is a text file", c->path);
	if (n < 4 || !is_a64(get32(head)))
		return err_set(e, -ENOEXEC, "kernel %s is not a kernel for arm64: neither an Image "
			       "nor code (its first word is not an instruction)", c->path);
	return 0;
}

/*
 * The end of the sections that the PE header of an Image with an EFI stub lists: the file must
 * reach that far. 0: there is no such header. (image_size cannot tell: it includes the BSS.)
 */
static int pe_end(const struct plan_piece *c, const uint8_t *head, uint64_t *end, struct err *e)
{
	uint32_t pe = get32(head + IMG_PE_OFFSET);
	uint64_t table;
	uint8_t coff[24];
	unsigned int n;
	int ret;

	*end = 0;
	if (head[0] != 'M' || head[1] != 'Z' || !pe)
		return 0;
	if ((uint64_t)pe + sizeof(coff) > c->len) {
		*end = (uint64_t)pe + sizeof(coff);
		return 0;
	}
	ret = plan_read(c, pe, coff, sizeof(coff), e);
	if (ret < 0)
		return ret;
	if (memcmp(coff, "PE\0", 4))
		return 0;
	n = get16(coff + 6);			/* NumberOfSections */
	table = (uint64_t)pe + sizeof(coff) + get16(coff + 20);	/* SizeOfOptionalHeader */
	for (unsigned int i = 0; i < n && i < 16; i++) {
		uint8_t sec[40];

		if (table + (i + 1) * sizeof(sec) > c->len) {
			*end = table + (i + 1) * sizeof(sec);
			return 0;
		}
		ret = plan_read(c, table + i * sizeof(sec), sec, sizeof(sec), e);
		if (ret < 0)
			return ret;
		/* SizeOfRawData and PointerToRawData */
		*end = MAX(*end, (uint64_t)get32(sec + 16) + get32(sec + 20));
	}
	return 0;
}

/* Is it an Image? Then set span and *text_offset. @what: how to call it in messages. */
static int parse_image(struct plan_piece *c, const uint8_t *head, const char *what,
		       uint64_t *text_offset, struct err *e)
{
	uint64_t image_size, end;
	int ret;

	if (c->len < IMG_HEADER)
		return err_set(e, -EINVAL, "%s %s is cut short: %" PRIu64 " bytes do not hold the "
			       "header of an Image", what, c->path, c->len);
	if (get64(head + IMG_FLAGS) & IMG_FLAG_BE)
		return err_set(e, -ENOTSUP, "%s %s is a big-endian kernel: build it without "
			       "CONFIG_CPU_BIG_ENDIAN", what, c->path);
	ret = pe_end(c, head, &end, e);
	if (ret < 0)
		return ret;
	if (c->len < end)
		return err_set(e, -EINVAL,
			       "%s %s is cut short: %" PRIu64 " of %" PRIu64 " bytes: copy "
			       "it again",
			       what, c->path, c->len, end);

	image_size = get64(head + IMG_SIZE);
	*text_offset = image_size ? get64(head + IMG_TEXT_OFFSET) : FLAT_OFFSET;
	if (!IS_ALIGNED(*text_offset, GRANULE_SIZE))
		return err_set(e, -EINVAL,
			       "%s %s: text_offset %#" PRIx64 " in its header is not a "
			       "multiple of 4 KiB: the file is damaged",
			       what, c->path, *text_offset);
	if (image_size > INT64_MAX)
		return err_set(e, -EINVAL,
			       "%s %s: image_size %#" PRIx64 " in its header is absurd: "
			       "the file is damaged",
			       what, c->path, image_size);
	c->span = ALIGN_UP(MAX(image_size, c->len), GRANULE_SIZE);
	return 0;
}

static bool is_image(const uint8_t *head, size_t n)
{
	/* Magic at 56..59: a file that ends before 64 is an Image that was cut short. */
	return n >= IMG_PE_OFFSET && !memcmp(head + IMG_MAGIC, "ARM\x64", 4);
}

typedef int unzip_fn(int fd, uint64_t off, uint64_t len, uint64_t limit, void **buf, size_t *size,
		     struct err *e);

/* Replace the compressed piece by the Image inside. */
static int unpack(struct plan_piece *c, unzip_fn *unzip, uint64_t off, uint64_t len, uint64_t limit,
		  const char *what, uint64_t *text_offset, struct err *e)
{
	size_t size;
	void *buf;
	int ret;

	ret = unzip(c->fd, off, len, limit, &buf, &size, e);
	if (ret < 0) {
		err_prefix(e, "%s %s", what, c->path);
		return ret;
	}
	c->buf = buf;
	c->len = size;
	c->owned = true;
	c->fd = -1;
	if (!is_image(buf, size))
		ret = err_set(e, -ENOEXEC,
			      "%s %s is not a kernel for arm64: what it holds is not an "
			      "Image",
			      what, c->path);
	else
		ret = parse_image(c, buf, what, text_offset, e);
	if (ret < 0) {
		free(buf);
		c->buf = NULL;
		c->owned = false;
	}
	return ret;
}

static int unpack_zboot(struct plan_piece *c, const uint8_t *head, size_t n, uint64_t limit,
			uint64_t *text_offset, const char **kind, struct err *e)
{
	char type[ZBOOT_TYPE_END - ZBOOT_TYPE + 1] = "";
	uint32_t off, len;
	unzip_fn *fn;

	if (n < ZBOOT_HEADER)
		return err_set(e, -EINVAL,
			       "zboot kernel %s is cut short: %zu bytes do not hold its "
			       "header",
			       c->path, n);
	off = get32(head + ZBOOT_OFFSET);
	len = get32(head + ZBOOT_SIZE);
	memcpy(type, head + ZBOOT_TYPE, sizeof(type) - 1);
	for (char *t = type; *t; t++)		/* it goes into messages */
		if (*t < 0x20 || *t > 0x7e)
			*t = '?';

	if (off < ZBOOT_HEADER || !len)
		return err_set(e, -EINVAL,
			       "zboot kernel %s: no payload (offset %#x, %u bytes): the "
			       "file is damaged",
			       c->path, off, len);
	if ((uint64_t)off + len > c->len)
		return err_set(e, -EINVAL,
			       "zboot kernel %s is cut short: its payload ends at %#" PRIx64
			       ", the file at %#" PRIx64 ": copy it again",
			       c->path, (uint64_t)off + len, c->len);
	if (!strcmp(type, "gzip")) {
		*kind = "zboot (gzip)";
		fn = unzip_gzip;
	} else if (!strcmp(type, "zstd") || !strcmp(type, "zstd22")) {
		*kind = "zboot (zstd)";
		fn = unzip_zstd;
	} else {
		return err_set(
			e, -ENOTSUP,
			"zboot kernel %s: compression \"%s\" is not supported: "
			"build it with CONFIG_KERNEL_GZIP or CONFIG_KERNEL_ZSTD, or give the "
			"uncompressed Image",
			c->path, type);
	}
	return unpack(c, fn, off, len, limit, "zboot kernel", text_offset, e);
}

/* Find out what the kernel file is; *c gets its content, span and IPA. */
static int load_kernel(const struct loader_in *in, struct plan_piece *c, const char **kind,
		       struct err *e)
{
	uint64_t text_offset = FLAT_OFFSET;
	uint8_t *head;
	size_t n;
	int ret;

	ret = whole_file(c, "kernel", in->files.kernel, in->files.kernel_path, e);
	if (ret < 0)
		return ret;
	head = calloc(1, HEAD_SIZE);
	if (!head)
		return err_set(e, -ENOMEM, "kernel %s: out of memory", c->path);
	n = MIN(c->len, HEAD_SIZE);
	ret = plan_read(c, 0, head, n, e);
	if (ret < 0)
		goto out;

	if (n >= 2 && head[0] == 0x1f && head[1] == 0x8b) {
		*kind = "Image.gz";
		ret = unpack(c, unzip_gzip, 0, c->len, in->ram_size, "kernel", &text_offset, e);
	} else if (n >= 8 && !memcmp(head, "MZ", 2) && !memcmp(head + ZBOOT_MAGIC, "zimg", 4)) {
		ret = unpack_zboot(c, head, n, in->ram_size, &text_offset, kind, e);
	} else if (is_image(head, n)) {
		*kind = "Image";
		ret = parse_image(c, head, "kernel", &text_offset, e);
	} else {
		*kind = "flat";
		ret = check_flat(c, head, n, e);
	}
	if (ret < 0)
		goto out;
	if (text_offset >= in->ram_size || c->span > in->ram_size - text_offset) {
		ret = err_set(e, -ENOSPC,
			      "kernel %s does not fit in RAM: it needs %" PRIu64 " MiB, "
			      "there are %" PRIu64 ": give more with -m",
			      c->path,
			      text_offset > UINT64_MAX - c->span - SZ_1M
				      ? UINT64_MAX / SZ_1M
				      : MIB(text_offset + c->span),
			      in->ram_size / SZ_1M);
		goto out;
	}
	c->ipa = in->ram_base + text_offset;
out:
	free(head);
	return ret;
}

static int load_firmware(const struct loader_in *in, struct plan_piece *c, struct err *e)
{
	ipa_t addr = in->firmware_addr ? in->firmware_addr : in->ram_base;
	int ret;

	ret = whole_file(c, "firmware", in->files.firmware, in->files.firmware_path, e);
	if (ret < 0)
		return ret;
	if (!IS_ALIGNED(addr, GRANULE_SIZE))
		return err_set(e, -EINVAL,
			       "--firmware-address %" PRIipa ": not a multiple of 4 KiB", addr);
	if (addr < in->ram_base || addr - in->ram_base >= in->ram_size)
		return err_set(e, -EINVAL, "--firmware-address %" PRIipa ": not in RAM (%" PRIipa
			       " to %" PRIipa ")", addr, in->ram_base, in->ram_base + in->ram_size);
	if (c->span > in->ram_size - (addr - in->ram_base))
		return err_set(e, -ENOSPC,
			       "firmware %s (%" PRIu64 " MiB at %" PRIipa ") does not fit "
			       "in RAM, which ends at %" PRIipa ": give more with -m",
			       c->path, MIB(c->len), addr, in->ram_base + in->ram_size);
	c->ipa = addr;
	return 0;
}

/* ---- laying out ------------------------------------------------------------------------------*/

/* Where the devicetree belongs, see the top of this file. false: no room even for it alone. */
static bool usual_dtb(const struct loader_in *in, ipa_t behind, ipa_t *dtb)
{
	uint64_t top = MIN(in->ram_size, MAP_DTB_WINDOW);

	if (in->files.firmware >= 0) {
		*dtb = ALIGN_UP(behind, SZ_2M);
		return *dtb <= in->ram_base + in->ram_size &&
			in->ram_base + in->ram_size - *dtb >= MAP_DTB_SIZE;
	}
	if (top < MAP_DTB_FROM_TOP + MAP_DTB_SIZE)
		return false;
	/* lkvm's arithmetic: for RAM of whole 2 MiB it ends MAP_DTB_FROM_TOP below the top. */
	*dtb = ALIGN_UP(in->ram_base + top - MAP_DTB_FROM_TOP - MAP_DTB_SIZE, SZ_2M);
	return true;
}

static bool last_dtb(const struct loader_in *in, ipa_t *dtb)
{
	ipa_t end =
		MIN(in->ram_base + in->ram_size, ALIGN_DOWN(in->ram_base, SZ_1G) + KERNEL_WINDOW);

	if (end - in->ram_base < MAP_DTB_SIZE)
		return false;
	*dtb = ALIGN_DOWN(end - MAP_DTB_SIZE, MAP_DTB_SIZE);
	return *dtb >= in->ram_base;
}

/* Do devicetree and initrd (size 0: none) fit between what is loaded already and @dtb? */
static bool initrd_below(ipa_t dtb, uint64_t size, ipa_t behind, ipa_t *start)
{
	if (dtb < behind || size > dtb - behind)
		return false;
	*start = ALIGN_DOWN(dtb - size, GRANULE_SIZE);
	return *start >= behind;
}

static bool clear_of(ipa_t dtb, ipa_t start, ipa_t end)
{
	return dtb >= end || dtb + MAP_DTB_SIZE <= start;
}

/*
 * The initrd of a machine with the user's own devicetree goes where that says. The start need not
 * be on a page there (lkvm's is on 4 bytes), but a piece's is: then it is padded in front.
 */
static int place_by_user(const struct loader_in *in, struct loader_out *out, struct plan_piece *c,
			 const struct dt_user *dt, struct err *e)
{
	const char *dtb_path = in->files.dtb_path;
	uint64_t pad = dt->initrd_start % GRANULE_SIZE;
	uint8_t *buf;
	int ret;

	if (!dt->initrd_end)
		return err_set(e, -EINVAL, "devicetree %s has no linux,initrd-start and "
			       "linux,initrd-end in /chosen, but an initrd was given: add them or "
			       "leave out -i", dtb_path);
	if (dt->initrd_start >= dt->initrd_end)
		return err_set(e, -EINVAL,
			       "devicetree %s: linux,initrd-start %" PRIipa " is not below "
			       "linux,initrd-end %" PRIipa,
			       dtb_path, dt->initrd_start, dt->initrd_end);
	if (dt->initrd_start < in->ram_base || dt->initrd_end > in->ram_base + in->ram_size)
		return err_set(e, -EINVAL,
			       "devicetree %s: the initrd of its /chosen (%" PRIipa " to %" PRIipa
			       ") is not in RAM (%" PRIipa " to %" PRIipa ")",
			       dtb_path, dt->initrd_start, dt->initrd_end, in->ram_base,
			       in->ram_base + in->ram_size);
	if (c->len > dt->initrd_end - dt->initrd_start)
		return err_set(e, -ENOSPC,
			       "initrd %s does not fit: it has %" PRIu64 " bytes, /chosen of "
			       "devicetree %s has room for %" PRIu64,
			       c->path, c->len, dtb_path, dt->initrd_end - dt->initrd_start);
	out->initrd_start = dt->initrd_start;
	out->initrd_end = dt->initrd_end;
	c->ipa = dt->initrd_start - pad;
	/* The range is reserved as a whole; what the file does not fill stays as RAM starts. */
	c->span = ALIGN_UP(dt->initrd_end - c->ipa, GRANULE_SIZE);
	if (!pad)
		return 0;

	buf = calloc(1, pad + c->len);
	if (!buf)
		return err_set(e, -ENOMEM, "initrd %s: out of memory", c->path);
	ret = plan_read(c, 0, buf + pad, c->len, e);
	if (ret < 0) {
		free(buf);
		return ret;
	}
	c->buf = buf;
	c->owned = true;
	c->fd = -1;
	c->len += pad;
	return 0;
}

static int read_dtb(const struct loader_in *in, struct loader_out *out, struct dt_user *dt,
		    struct err *e)
{
	const char *path = in->files.dtb_path;
	struct plan_piece c;
	int ret;

	ret = whole_file(&c, "devicetree", in->files.dtb, path, e);
	if (ret < 0)
		return ret;
	if (c.len > MAP_DTB_SIZE)
		return err_set(e, -EFBIG,
			       "devicetree %s does not fit: it has %" PRIu64 " bytes, there "
			       "is room for %" PRIu64,
			       path, c.len, MAP_DTB_SIZE);
	out->user_dtb = malloc(c.len);
	if (!out->user_dtb)
		return err_set(e, -ENOMEM, "devicetree %s: out of memory", path);
	out->user_dtb_size = c.len;
	ret = plan_read(&c, 0, out->user_dtb, c.len, e);
	if (ret < 0)
		return ret;
	ret = dt_parse_user(out->user_dtb, c.len, dt, e);
	if (ret < 0)
		err_prefix(e, "devicetree %s", path);
	return ret;
}

/* How much RAM, in MiB, holds all this, with the devicetree in its last 64 KiB. */
static uint64_t mib_needed(const struct loader_in *in, ipa_t behind, uint64_t initrd)
{
	uint64_t n = behind - in->ram_base + MAP_DTB_SIZE + GRANULE_SIZE;

	n = initrd < INT64_MAX ? n + initrd : INT64_MAX;
	return ALIGN_UP(n, SZ_2M) / SZ_1M;
}

static int lay_out(const struct loader_in *in, struct loader_out *out, struct plan_piece *image,
		   struct plan_piece *initrd, const struct dt_user *dt, struct err *e)
{
	ipa_t behind = image->ipa + image->span, dtb, start = 0;
	bool usual, last;
	int ret;

	if (initrd && dt) {
		ret = place_by_user(in, out, initrd, dt, e);
		if (ret < 0)
			return ret;
	}
	for (int try = 0; try < 2; try++) {
		bool ok = try ? last_dtb(in, &dtb) : usual_dtb(in, behind, &dtb);

		if (!ok)
			continue;
		if (initrd && dt)
			ok = dtb >= behind &&
			     clear_of(dtb, initrd->ipa, initrd->ipa + initrd->span);
		else
			ok = initrd_below(dtb, initrd ? initrd->len : 0, behind, &start);
		if (!ok)
			continue;
		out->dtb_ipa = dtb;
		if (initrd && !dt) {
			initrd->ipa = start;
			out->initrd_start = start;
			out->initrd_end = start + initrd->len;
		}
		return 0;
	}

	/* Say which of the two has no room. */
	usual = usual_dtb(in, behind, &dtb) && dtb >= behind;
	last = last_dtb(in, &dtb) && dtb >= behind;
	/* without an initrd it has its place if there is one */
	if (!initrd || (!usual && !last))
		return err_set(e, -ENOSPC,
			       "devicetree does not fit: %s %s ends at %" PRIipa ", RAM at %" PRIipa
			       ": give more RAM, at least -m %" PRIu64,
			       image->name, image->path, behind, in->ram_base + in->ram_size,
			       mib_needed(in, behind, initrd && !dt ? initrd->len : 0));
	if (dt)
		return err_set(e, -ENOSPC,
			       "initrd %s does not fit: where devicetree %s wants it (%" PRIipa
			       " to %" PRIipa ") is the devicetree's own place (%" PRIipa ")",
			       initrd->path, in->files.dtb_path, initrd->ipa,
			       initrd->ipa + initrd->span, dtb);
	return err_set(
		e, -ENOSPC,
		"initrd %s does not fit: it has %" PRIu64 " MiB, the kernel ends at %" PRIipa
		" and the devicetree begins at %" PRIipa ": give more RAM, at least -m %" PRIu64,
		initrd->path, MIB(initrd->len), behind, dtb, mib_needed(in, behind, initrd->len));
}

static const struct trace_kind load_kind = {
	.cat = "launch", .text = "piece", .arg = { "#ipa", "bytes" },
};

int loader_plan(const struct loader_in *in, struct loader_out *out, struct err *e)
{
	uint64_t began = trace_begin();
	struct plan_piece image = { .fd = -1 }, initrd = { .fd = -1 };
	bool has_initrd = in->files.firmware < 0 && in->files.initrd >= 0;
	bool has_dtb = in->files.dtb >= 0;
	struct dt_user dt = { 0 };
	int ret;

	memset(out, 0, sizeof(*out));
	if (!in->ram_size || in->ram_size > UINT64_MAX - in->ram_base - KERNEL_WINDOW)
		return err_set(e, -EINVAL, "RAM: %" PRIu64 " bytes at %" PRIipa " are not possible",
			       in->ram_size, in->ram_base);
	if (in->files.firmware >= 0) {
		out->kind = "firmware";
		ret = load_firmware(in, &image, e);
	} else if (in->files.kernel >= 0) {
		ret = load_kernel(in, &image, &out->kind, e);
	} else {
		ret = err_set(e, -EINVAL, "No kernel: give one with --kernel FILE");
	}
	if (ret < 0)
		goto fail;
	trace_span(&load_kind, "load", began, image.name, image.ipa, image.len, 0);
	if (has_initrd) {
		began = trace_begin();
		ret = whole_file(&initrd, "initrd", in->files.initrd, in->files.initrd_path, e);
		if (ret < 0)
			goto fail;
		trace_span(&load_kind, "load", began, initrd.name, initrd.ipa, initrd.len, 0);
	}
	if (has_dtb) {
		ret = read_dtb(in, out, &dt, e);
		if (ret < 0)
			goto fail;
	}
	ret = lay_out(in, out, &image, has_initrd ? &initrd : NULL, has_dtb ? &dt : NULL, e);
	if (ret < 0)
		goto fail;

	ret = plan_add(&out->plan, &image, e);
	if (ret < 0)
		goto fail;
	image.owned = false;		/* the plan's now */
	if (has_initrd) {
		ret = plan_add(&out->plan, &initrd, e);
		if (ret < 0)
			goto fail;
		initrd.owned = false;
	}
	out->plan.pc = image.ipa;
	out->plan.x[0] = out->dtb_ipa;	/* booting.rst: x1 to x3 are zero */
	ret = plan_check(&out->plan, in->ram_base, in->ram_size, e);
	if (ret < 0)
		goto fail;
	log_debug("%s %s: %" PRIu64 " bytes at %" PRIipa ", devicetree at %" PRIipa
		  ", initrd %" PRIipa " to %" PRIipa,
		  out->kind, image.path, image.len, image.ipa, out->dtb_ipa, out->initrd_start,
		  out->initrd_end);
	return 0;

fail:
	if (image.owned)
		free((void *)image.buf);
	if (initrd.owned)
		free((void *)initrd.buf);
	loader_free(out);
	return ret;
}

int loader_add_dtb(struct loader_out *out, const void *dtb, size_t size, struct err *e)
{
	struct plan_piece c = {
		.name = "dtb",
		.ipa = out->dtb_ipa,
		.len = MAP_DTB_SIZE,
		.span = MAP_DTB_SIZE,
		.fd = -1,
		.owned = true,
		.measured = true,
	};
	uint8_t *buf;
	int ret;

	trace_mark(&load_kind, "load", c.name, c.ipa, size, 0);
	if (!size || size > MAP_DTB_SIZE)
		return err_set(e, -EINVAL, "devicetree: %zu bytes do not fit in %" PRIu64, size,
			       MAP_DTB_SIZE);
	buf = calloc(1, MAP_DTB_SIZE);
	if (!buf)
		return err_set(e, -ENOMEM, "devicetree: out of memory");
	memcpy(buf, dtb, size);
	c.buf = buf;
	ret = plan_add(&out->plan, &c, e);
	if (ret < 0) {
		free(buf);
		return ret;
	}
	/* The layout is within RAM already; this sorts. */
	return plan_check(&out->plan, 0, UINT64_MAX, e);
}

void loader_free(struct loader_out *out)
{
	plan_clear(&out->plan);
	free(out->user_dtb);
	memset(out, 0, sizeof(*out));
}
